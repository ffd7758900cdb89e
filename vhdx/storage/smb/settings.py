"""How the connections to a server behave."""

from dataclasses import dataclass

MIB = 1 << 20


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
