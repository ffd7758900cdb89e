"""Resolves the locations of one command to files, over connections that it owns."""

import posixpath
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from vhdx.chain.parents import ParentPolicy
from vhdx.cli.account import Account
from vhdx.errors import Error
from vhdx.location import Address, LocalAddress, Place, ShareAddress, locate, new_pool, parse
from vhdx.location.registry import transport_of
from vhdx.storage.credentials import Credentials

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool
    from vhdx.verbs.contract import Engine


@dataclass
class Reach:
    """Access of one command to files: credentials, connections, parent directories. Close it, or use ``with``."""

    account: Account = field(default_factory=Account)
    encrypt: bool = False
    parents_in: Sequence[str] = ()
    _stack: ExitStack = field(default_factory=ExitStack)
    _pool: "SmbPool | None" = None
    _known: dict[tuple[str, int, str, str], Credentials] = field(default_factory=dict, repr=False)

    def place(self, location: str) -> Place:
        """The file system and path of a location. Raises Error, OSError."""
        address = parse(location)
        if not isinstance(address, ShareAddress):
            return locate(location, encrypt=self.encrypt)
        if self._pool is None:
            self._pool = self._stack.enter_context(new_pool())
        auth = self._account_of(address)
        return locate(location, auth=auth, pool=self._pool, encrypt=self.encrypt)

    def _account_of(self, address: ShareAddress) -> Credentials:
        """The credentials; obtained once per server and user."""
        key = (address.server.casefold(), address.port, address.user, address.domain)
        if key not in self._known:
            self._known[key] = self.account.credentials(address)
        return self._known[key]

    def beside(self, place: Place, location: str) -> str:
        """The path of another location in the file system of *place*. Raises Error when it is in a different one."""
        return _path_in(place.address, parse(location), f"{location} and {place.files.describe(place.path)}")

    def policy(self, place: Place, *, also: str | None = None) -> ParentPolicy:
        """The directories in which parents of *place* may be; *also* is an additional one."""
        directories = tuple(map(partial(_directory, place), self.parents_in))
        return ParentPolicy(directories=directories if also is None else (*directories, also))

    def engine(self, place: Place, *, also: str | None = None) -> "Engine":
        """An engine with that policy."""
        from vhdx.verbs.engine import NativeEngine  # noqa: PLC0415  who only looks at one file needs no verbs

        return NativeEngine(policy=self.policy(place, also=also))

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _directory(place: Place, name: str) -> str:
    """A directory of ``--parents-in`` in the file system of *place*; on a share it may be a path on that share."""
    if not isinstance(place.address, LocalAddress) and transport_of(name) is None:
        path = posixpath.normpath(name.replace("\\", "/").strip("/") or ".")
    else:
        # Locations name files, so parse the location of a file in the directory.
        inside = parse(name.rstrip("/\\") + "/_")
        path = posixpath.dirname(_path_in(place.address, inside, f"--parents-in {name}")) or "."
    try:
        place.files.list("" if path == "." else path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Error(f"--parents-in {name}: directory does not exist") from error
    return path


def _path_in(home: Address, other: Address, what: str) -> str:
    if home.home == other.home:
        return other.path
    raise Error(f"{what}: must both be local or on the same share")
