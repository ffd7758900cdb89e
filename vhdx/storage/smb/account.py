"""Who logs on to a server, and how its connections behave."""

from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; the password never shows in a representation."""

    username: str
    password: str = field(repr=False)
    domain: str = ""

    @property
    def account(self) -> str:
        """The name as the server wants it."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username


@dataclass(frozen=True, slots=True)
class SmbSettings:
    """How a connection behaves. Times are in seconds.

    A server that has been silent for *timeout* and did not answer when asked for a sign of life is taken for dead; an
    operation that takes long on a live server is waited for. Messages are always signed or encrypted.
    """

    encrypt: bool = False
    timeout: float = 15.0
    connect_timeout: float = 10.0
    request_size: int = MIB
    depth: int = 8  # requests in flight for one call
