"""SMB 2 and 3 shares without mounting: `SmbPool.share` returns a `FileSystem`."""

from vhdx.storage.credentials import Credentials
from vhdx.storage.smb.files import SmbFileSystem
from vhdx.storage.smb.pool import SmbPool
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.wire import Wire

__all__ = ["Credentials", "SmbFileSystem", "SmbPool", "SmbSettings", "Wire"]
