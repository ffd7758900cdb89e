"""Virtual hard disks (VHDX), read and written in place on local files and on SMB3 shares.

Names are loaded when they are first used: looking into a local file needs neither smbprotocol nor anything that only
writers need.
"""

from importlib import import_module

TYPE_CHECKING = False  # typing takes longer to load than all of this; type checkers know the name
if TYPE_CHECKING:
    from vhdx.chain.chain import Chain
    from vhdx.chain.parents import ParentPolicy
    from vhdx.check import Finding, Severity
    from vhdx.disk import Disk, DiskExtent
    from vhdx.disk import create_disk as create
    from vhdx.disk import open_disk as open
    from vhdx.errors import (
        AnotherFormat,
        Cancelled,
        Error,
        FormatError,
        HasChildren,
        InUse,
        LeadsOutside,
        OutOfSpace,
        ParentMismatch,
        ParentNotFound,
        Poisoned,
        ReadOnly,
        UnequalSizes,
        Unrecognised,
        UnsupportedFeature,
        WouldLoseData,
        WrongParent,
    )
    from vhdx.extents import Presence
    from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ImageInfo, LogState, ParentLink
    from vhdx.salvage.report import LostRange, Salvaged, SalvageNote
    from vhdx.storage.base import Access
    from vhdx.storage.credentials import Credentials
    from vhdx.storage.local import LocalFileSystem
    from vhdx.storage.smb import SmbFileSystem, SmbPool
    from vhdx.verbs.contract import Engine
    from vhdx.verbs.engine import NativeEngine
    from vhdx.verbs.merge_plan import Direction, MergePlan
    from vhdx.verbs.shrink import Shrink
    from vhdx.view import DiskFile

_HOMES = {
    "vhdx.chain.chain": ["Chain"],
    "vhdx.check": ["Finding", "Severity"],
    "vhdx.disk": ["Disk", "DiskExtent", "create", "open"],
    "vhdx.verbs.engine": ["NativeEngine"],
    "vhdx.errors": [
        "AnotherFormat",
        "Cancelled",
        "Error",
        "FormatError",
        "HasChildren",
        "InUse",
        "LeadsOutside",
        "OutOfSpace",
        "ParentMismatch",
        "ParentNotFound",
        "Poisoned",
        "ReadOnly",
        "UnequalSizes",
        "Unrecognised",
        "UnsupportedFeature",
        "WouldLoseData",
        "WrongParent",
    ],
    "vhdx.extents": ["Presence"],
    "vhdx.image.base": ["CreateOptions", "DiskType", "ImageFormat", "ImageInfo", "LogState", "ParentLink"],
    "vhdx.verbs.merge_plan": ["Direction", "MergePlan"],
    "vhdx.chain.parents": ["ParentPolicy"],
    "vhdx.salvage.report": ["LostRange", "SalvageNote", "Salvaged"],
    "vhdx.storage.base": ["Access"],
    "vhdx.storage.local": ["LocalFileSystem"],
    "vhdx.storage.credentials": ["Credentials"],
    "vhdx.storage.smb": ["SmbFileSystem", "SmbPool"],
    "vhdx.verbs.shrink": ["Shrink"],
    "vhdx.verbs.contract": ["Engine"],
    "vhdx.view": ["DiskFile"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_NAMES_AT_HOME = {"open": "open_disk", "create": "create_disk"}
"""Names that would hide a built-in function, or say too little, in the module where they are defined."""

__all__ = [
    "Access",
    "AnotherFormat",
    "Cancelled",
    "Chain",
    "CreateOptions",
    "Credentials",
    "Direction",
    "Disk",
    "DiskExtent",
    "DiskFile",
    "DiskType",
    "Engine",
    "Error",
    "Finding",
    "FormatError",
    "HasChildren",
    "ImageFormat",
    "ImageInfo",
    "InUse",
    "LeadsOutside",
    "LocalFileSystem",
    "LogState",
    "LostRange",
    "MergePlan",
    "NativeEngine",
    "OutOfSpace",
    "ParentLink",
    "ParentMismatch",
    "ParentNotFound",
    "ParentPolicy",
    "Poisoned",
    "Presence",
    "ReadOnly",
    "SalvageNote",
    "Salvaged",
    "Severity",
    "Shrink",
    "SmbFileSystem",
    "SmbPool",
    "UnequalSizes",
    "Unrecognised",
    "UnsupportedFeature",
    "WouldLoseData",
    "WrongParent",
    "create",
    "open",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME_OF[name]), _NAMES_AT_HOME.get(name, name))
    except ModuleNotFoundError as error:
        if _HOME_OF[name] != "vhdx.storage.smb":
            raise
        raise ModuleNotFoundError(
            f"{name} needs {error.name}: install this package with its extra, vhdx[smb]", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
