"""Opening images with OpenVirtualDisk."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from vhdx.errors import Error
from vhdx.virtdisk.constants import RW_DEPTH_DEFAULT, AccessMask, Device, OpenFlag, OpenVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.library import Library
from vhdx.virtdisk.numbers import u32
from vhdx.virtdisk.structures import OPEN_VIRTUAL_DISK_PARAMETERS, guid, storage_type
from vhdx.virtdisk.text import wide


@dataclass(frozen=True, slots=True)
class ByMask:
    """Version 1: what the handle may do, and how many layers, the image first, may be written to."""

    mask: AccessMask = AccessMask.ALL
    rw_depth: int = RW_DEPTH_DEFAULT


@dataclass(frozen=True, slots=True)
class ByPurpose:
    """Version 2, or 3 with a *snapshot* of a VHD set: Windows 8 and later."""

    read_only: bool = False
    info_only: bool = False
    resiliency: UUID | None = None
    snapshot: UUID | None = None


Access = ByMask | ByPurpose


def open_disk(
    library: Library, path: str, access: Access | None = None, *, device: Device = Device.UNKNOWN,
    flags: OpenFlag = OpenFlag.NONE,
) -> VirtualDisk:  # fmt: skip
    """Open an image and, unless a flag says otherwise, its parents; for reading and writing by default.

    Raises what `failure` makes of Windows' answer.
    """
    access = ByPurpose() if access is None else access
    mask = access.mask if isinstance(access, ByMask) else AccessMask.NONE  # the only one of later versions
    handle = ctypes.c_void_p()
    library.call(
        path, "OpenVirtualDisk", ctypes.byref(storage_type(device)), wide("path", path), mask, flags,
        ctypes.byref(open_parameters(access)), ctypes.byref(handle),
    )  # fmt: skip
    return VirtualDisk(library, path, handle.value or 0)


def open_chain(
    library: Library, paths: Sequence[str], access: Access | None = None, *, device: Device = Device.UNKNOWN,
    flags: OpenFlag = OpenFlag.NONE,
) -> VirtualDisk:  # fmt: skip
    """Open a chain whose files are named, the newest first, instead of looked for.

    Raises Error for no path, and what `failure` makes of Windows' answers.
    """
    if not paths:
        raise Error("paths is empty: name at least one image")
    disk = open_disk(library, paths[0], access, device=device, flags=flags | OpenFlag.CUSTOM_DIFF_CHAIN)
    try:
        for path in paths[1:]:
            library.call(path, "AddVirtualDiskParent", disk.handle, wide("path", path))
    except BaseException:
        disk.close()
        raise
    return disk


def open_parameters(access: Access) -> OPEN_VIRTUAL_DISK_PARAMETERS:
    """The structure for OpenVirtualDisk. Raises Error for a number that does not fit."""
    found = OPEN_VIRTUAL_DISK_PARAMETERS()
    if isinstance(access, ByMask):
        found.Version = OpenVersion.VERSION_1
        found.Version1.RWDepth = u32("rw_depth", access.rw_depth)
        return found
    found.Version = OpenVersion.VERSION_2 if access.snapshot is None else OpenVersion.VERSION_3
    part = found.Version2 if access.snapshot is None else found.Version3
    part.GetInfoOnly = access.info_only
    part.ReadOnly = access.read_only
    part.ResiliencyGuid = guid(access.resiliency or UUID(int=0))
    if access.snapshot is not None:
        part.SnapshotId = guid(access.snapshot)
    return found
