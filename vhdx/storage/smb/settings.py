"""How the connections to a server behave."""

from dataclasses import dataclass

from vhdx.errors import Error
from vhdx.storage.dialect import NEWEST, OLDEST_BY_DEFAULT, Dialect, span

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SmbSettings:
    """How a connection behaves. Times are in seconds.

    A server that has been silent for *timeout* and did not answer when asked for a sign of life is taken for dead; an
    operation that takes long on a live server is waited for. Messages are always signed or encrypted, but for a guest,
    who has no key to do it with. Dialects older than *minimum* or newer than *maximum* are not spoken, and with
    *encrypt* none that cannot do it.
    """

    encrypt: bool = False
    timeout: float = 15.0
    connect_timeout: float = 10.0
    request_size: int = MIB
    depth: int = 8  # requests in flight for one call
    minimum: Dialect = OLDEST_BY_DEFAULT
    maximum: Dialect = NEWEST

    def dialects(self) -> list[Dialect]:
        """The dialects that may be spoken, the oldest first. Raises Error where none is left."""
        bounds = span(self.minimum, self.maximum)
        found = [dialect for dialect in Dialect if self.minimum <= dialect <= self.maximum]
        if not found:
            raise Error(f"no dialect lies between SMB {self.minimum.label} and SMB {self.maximum.label}")
        fit = [dialect for dialect in found if dialect.encrypts or not self.encrypt]
        if not fit:
            raise Error(f"{bounds} cannot encrypt, as is asked for; allow SMB 3.0 or newer, or do without encryption")
        return fit
