"""The shares of a list as file systems: each connected when first used, then kept.

Whoever puts the program together says how a share is connected; `by_smb` is the way of production.
"""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from smbfs_driver.shares.shares import Share
from smbfs_driver.shares.unc import UncName
from vhdx.errors import Error
from vhdx.storage.base import FileSystem, Space

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool

Connect = Callable[[Share], FileSystem]
"""Makes a share's files reachable. Raises Error where log-on or share are wrong, OSError where the server is gone."""


class ShareConnections:
    """The file systems of *shares*. Safe to use from many threads; one slow server holds up only its own shares."""

    def __init__(self, shares: Sequence[Share], connect: Connect) -> None:
        self.shares = tuple(shares)
        self._connect = connect
        self._connected: dict[Share, FileSystem] = {}
        self._locks = {share: threading.Lock() for share in self.shares}

    def find(self, address: str) -> Share:
        """The listed share of an address like ``//server/share``. Raises Error where it is not listed."""
        wanted = UncName.parse(address)
        for share in self.shares:
            if share.unc == wanted:
                return share
        raise Error(f"{address}: not in the list of shares")

    def files(self, share: Share) -> FileSystem:
        """The files of a listed share. Raises as the connecting does; the next call tries again."""
        with self._locks[share]:
            if share not in self._connected:
                self._connected[share] = self._connect(share)
            return self._connected[share]

    def capacity(self, share: Share) -> Space:
        """Total and free bytes of a listed share. Raises as the connecting does."""
        return self.files(share).space()


def by_smb(pool: "SmbPool") -> Connect:
    """Connect shares through *pool*, which stays the caller's to close."""
    # Here, because everything else in this package works without smbprotocol.
    from vhdx.storage.smb import SmbSettings  # noqa: PLC0415

    def connect(share: Share) -> FileSystem:
        settings = SmbSettings(encrypt=share.encrypt, minimum=share.minimum, maximum=share.maximum)
        try:
            return pool.share(
                share.server, share.share, port=share.port, credentials=share.credentials, settings=settings
            )
        except ModuleNotFoundError as error:
            raise Error(f"{share.address}: {error}") from error

    return connect
