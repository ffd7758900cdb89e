"""The configured shares as file systems; each is connected on first use and then kept.

The function that connects a share is injected; `by_smb` is the one for production.
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
"""Connects to a share. Raises Error for invalid settings, OSError if the server, the log-on or the share fails."""


class ShareConnections:
    """The file systems of *shares*. Thread-safe; a slow server delays only its own shares."""

    def __init__(self, shares: Sequence[Share], connect: Connect) -> None:
        self.shares = tuple(shares)
        self._connect = connect
        self._connected: dict[Share, FileSystem] = {}
        self._locks = {share: threading.Lock() for share in self.shares}

    def find(self, address: str) -> Share:
        """The share at ``//server/share``. Raises Error if it is not in the list."""
        wanted = UncName.parse(address)
        for share in self.shares:
            if share.unc == wanted:
                return share
        raise Error(f"{address}: not in the list of shares")

    def files(self, share: Share) -> FileSystem:
        """The files of a share. Raises as `Connect` does; the next call tries again."""
        with self._locks[share]:
            if share not in self._connected:
                self._connected[share] = self._connect(share)
            return self._connected[share]

    def capacity(self, share: Share) -> Space:
        """Total and free bytes of a share. Raises as `Connect` does."""
        return self.files(share).space()


def by_smb(pool: "SmbPool") -> Connect:
    """Connect shares through *pool*, which the caller must close."""
    # Imported here, because the rest of this package works without smbprotocol.
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
