"""Local files."""

from vhdx.storage.local.files import LocalFileSystem

__all__ = ["LocalFileSystem"]
