"""SMB3 shares through smbprotocol: `SmbPool.share` gives a `FileSystem`. Nothing is mounted."""

from vhdx.storage.credentials import Credentials
from vhdx.storage.smb.files import SmbFileSystem
from vhdx.storage.smb.pool import SmbPool
from vhdx.storage.smb.settings import SmbSettings
from vhdx.storage.smb.wire import Wire

__all__ = ["Credentials", "SmbFileSystem", "SmbPool", "SmbSettings", "Wire"]
