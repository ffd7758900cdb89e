"""The contract of transports: parse a location and connect to its file system."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from vhdx.storage.base import FileSystem
from vhdx.storage.credentials import Credentials

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool


@dataclass(frozen=True, slots=True)
class TransportMeans:
    """Credentials, a connection pool and the encryption setting for connecting."""

    auth: Credentials | None = None
    pool: "SmbPool | None" = None
    encrypt: bool = False


class Address(Protocol):
    """A parsed location."""

    @property
    def path(self) -> str:
        """The path in its file system, separated by ``/`` and not percent-encoded."""

    @property
    def home(self) -> Hashable:
        """Equal for two addresses in the same file system."""

    def text(self, path: str) -> str:
        """The location of another path in the same file system, without the user name."""

    def reach(self, means: TransportMeans) -> "Place":
        """Connect to the file system. Raises Error for missing or misplaced credentials, OSError."""


@dataclass(frozen=True, slots=True)
class Transport:
    """A transport. *form* is the syntax of its locations, for messages.

    *claims* returns whether the text of a location belongs to this transport; *parse* raises Error if it is invalid.
    """

    form: str
    claims: Callable[[str], bool]
    parse: Callable[[str], Address]


@dataclass(frozen=True, slots=True)
class Place:
    """A file system and a path in it; *pool*, if any, is closed with the place."""

    address: Address
    files: FileSystem
    path: str
    pool: "SmbPool | None" = None

    def close(self) -> None:
        """Close the connections that belong to this place. Idempotent."""
        if self.pool is not None:
            self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
