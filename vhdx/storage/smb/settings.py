"""Settings of an SMB connection."""

from dataclasses import dataclass

from vhdx.errors import Error
from vhdx.storage.dialect import NEWEST, OLDEST_BY_DEFAULT, Dialect, span

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SmbSettings:
    """Settings of a connection. Times are in seconds.

    A server that sends no verified message for *timeout*, not even a response to an ECHO, is dead. A live server has
    *request_timeout* for each request, and *long_timeout* where its disk may take long: FLUSH, server-side copy and
    zeroing, resize, rename and remove. To both is added the time that the bytes in flight take at 64 KiB/s.
    *connect_timeout* applies to each address of the server, then to each response of the log-on, which takes at most
    four times that in total. docs/shares.md tells the bounds of a call.

    Messages are always signed or encrypted, except in a guest session, which has no keys. Only dialects from *minimum*
    to *maximum* are offered; with *encrypt*, only those that support encryption.
    """

    encrypt: bool = False
    timeout: float = 15.0
    request_timeout: float = 120.0
    long_timeout: float = 900.0
    connect_timeout: float = 10.0
    request_size: int = MIB
    depth: int = 8  # requests in flight for one call
    minimum: Dialect = OLDEST_BY_DEFAULT
    maximum: Dialect = NEWEST

    def dialects(self) -> list[Dialect]:
        """The dialects to offer, oldest first. Raises Error if there are none."""
        bounds = span(self.minimum, self.maximum)
        found = [dialect for dialect in Dialect if self.minimum <= dialect <= self.maximum]
        if not found:
            raise Error(f"there is no dialect from SMB {self.minimum.label} to SMB {self.maximum.label}")
        fit = [dialect for dialect in found if dialect.encrypts or not self.encrypt]
        if not fit:
            raise Error(f"{bounds} does not support encryption; allow SMB 3.0 or newer, or do not require encryption")
        return fit
