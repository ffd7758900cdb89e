"""What a transport is to whoever names files by a location: how its locations read, and how their files are reached."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from vhdx.storage.base import FileSystem
from vhdx.storage.credentials import Credentials

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool


@dataclass(frozen=True, slots=True)
class TransportMeans:
    """What the caller has for reaching files: who logs on, connections to be used, and whether to encrypt."""

    auth: Credentials | None = None
    pool: "SmbPool | None" = None
    encrypt: bool = False


class Address(Protocol):
    """What a location says, before anybody has looked."""

    @property
    def path(self) -> str:
        """The path in its file system, with ``/`` between names and not escaped."""

    @property
    def home(self) -> Hashable:
        """Equal for two addresses in one file system."""

    def text(self, path: str) -> str:
        """The location of another path in the same file system, without a user."""

    def reach(self, means: TransportMeans) -> "Place":
        """Its file system, connected to. Raises Error for means that are missing, or not for it; OSError."""


@dataclass(frozen=True, slots=True)
class Transport:
    """One way to reach files. *form* is how its locations read, for messages.

    *claims* tells from the text of a location whether it is one of this transport; *parse* raises Error where it is
    none after all.
    """

    form: str
    claims: Callable[[str], bool]
    parse: Callable[[str], Address]


@dataclass(frozen=True, slots=True)
class Place:
    """A file system and a path in it; *pool* is there when the connections close with the place."""

    address: Address
    files: FileSystem
    path: str
    pool: "SmbPool | None" = None

    def close(self) -> None:
        """End the connections that were made for this place. Idempotent."""
        if self.pool is not None:
            self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
