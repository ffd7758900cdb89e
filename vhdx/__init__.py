"""Virtual hard disks (VHDX), read and written in place on local files and on SMB3 shares.

Names are loaded when they are first used: looking into a local file needs neither smbprotocol nor anything that only
writers need.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.chain import Chain
    from vhdx.engine import Engine, NativeEngine
    from vhdx.errors import (
        Cancelled,
        Error,
        FormatError,
        InUse,
        OutOfSpace,
        ParentMismatch,
        ParentNotFound,
        Poisoned,
        ReadOnly,
        UnsupportedFeature,
    )
    from vhdx.image.base import CreateOptions, DiskType, ImageInfo, LogState, ParentLink
    from vhdx.parents import ParentPolicy
    from vhdx.storage.base import Access
    from vhdx.storage.credentials import Credentials
    from vhdx.storage.local import LocalFileSystem
    from vhdx.storage.smb import SmbFileSystem, SmbPool

_HOMES = {
    "vhdx.chain": ["Chain"],
    "vhdx.engine": ["Engine", "NativeEngine"],
    "vhdx.errors": [
        "Cancelled",
        "Error",
        "FormatError",
        "InUse",
        "OutOfSpace",
        "ParentMismatch",
        "ParentNotFound",
        "Poisoned",
        "ReadOnly",
        "UnsupportedFeature",
    ],
    "vhdx.image.base": ["CreateOptions", "DiskType", "ImageInfo", "LogState", "ParentLink"],
    "vhdx.parents": ["ParentPolicy"],
    "vhdx.storage.base": ["Access"],
    "vhdx.storage.local": ["LocalFileSystem"],
    "vhdx.storage.credentials": ["Credentials"],
    "vhdx.storage.smb": ["SmbFileSystem", "SmbPool"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Access",
    "Cancelled",
    "Chain",
    "CreateOptions",
    "Credentials",
    "DiskType",
    "Engine",
    "Error",
    "FormatError",
    "ImageInfo",
    "InUse",
    "LocalFileSystem",
    "LogState",
    "NativeEngine",
    "OutOfSpace",
    "ParentLink",
    "ParentMismatch",
    "ParentNotFound",
    "ParentPolicy",
    "Poisoned",
    "ReadOnly",
    "SmbFileSystem",
    "SmbPool",
    "UnsupportedFeature",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME_OF[name]), name)
    except ModuleNotFoundError as error:
        if _HOME_OF[name] != "vhdx.storage.smb":
            raise
        raise ModuleNotFoundError(
            f"{name} needs {error.name}: install this package with its extra, vhdx[smb]", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
