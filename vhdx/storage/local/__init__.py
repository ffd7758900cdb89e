"""Files of this machine."""

from vhdx.storage.local.files import LocalFileSystem

__all__ = ["LocalFileSystem"]
