"""What can be changed of an open disk: SetVirtualDiskInformation, a function for each setting.

The disk must not be attached. Each raises Error for what does not fit, and what `failure` makes of Windows' answer.
"""

import ctypes
from uuid import UUID

from vhdx.virtdisk.constants import SettingKind
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.numbers import u32
from vhdx.virtdisk.structures import SET_VIRTUAL_DISK_INFO, guid
from vhdx.virtdisk.text import wide


def set_identifier(disk: VirtualDisk, identifier: UUID) -> None:
    """Give the image another identifier: children that record the old one no longer find their parent."""
    info = _setting(SettingKind.IDENTIFIER)
    info.UniqueIdentifier = guid(identifier)
    _apply(disk, info)


def set_virtual_disk_id(disk: VirtualDisk, identifier: UUID) -> None:
    """Give the disk that the guest sees another identifier."""
    info = _setting(SettingKind.VIRTUAL_DISK_ID)
    info.VirtualDiskId = guid(identifier)
    _apply(disk, info)


def set_parent_path(disk: VirtualDisk, path: str) -> None:
    """Record where the parent is, and its present identifier and time stamp."""
    info = _setting(SettingKind.PARENT_PATH)
    info.ParentFilePath = wide("path", path)
    _apply(disk, info)


def set_parent_path_with_depth(disk: VirtualDisk, depth: int, path: str) -> None:
    """As `set_parent_path`, for the layer at *depth*: 1 is the image that is open, 2 its parent."""
    info = _setting(SettingKind.PARENT_PATH_WITH_DEPTH)
    info.ParentPathWithDepthInfo.ChildDepth = u32("depth", depth)
    info.ParentPathWithDepthInfo.ParentFilePath = wide("path", path)
    _apply(disk, info)


def set_parent_locator(disk: VirtualDisk, linkage: UUID, path: str) -> None:
    """Record the parent's linkage and path as they are given, without opening it."""
    info = _setting(SettingKind.PARENT_LOCATOR)
    info.ParentLocator.LinkageId = guid(linkage)
    info.ParentLocator.ParentFilePath = wide("path", path)
    _apply(disk, info)


def set_physical_sector_size(disk: VirtualDisk, size: int) -> None:
    """Change the physical sector size that the guest sees: 512 or 4096 bytes."""
    info = _setting(SettingKind.PHYSICAL_SECTOR_SIZE)
    info.VhdPhysicalSectorSize = u32("size", size)
    _apply(disk, info)


def set_change_tracking(disk: VirtualDisk, *, enabled: bool) -> None:
    """Begin or end resilient change tracking: Windows 10 and later."""
    info = _setting(SettingKind.CHANGE_TRACKING_STATE)
    info.ChangeTrackingEnabled = enabled
    _apply(disk, info)


def _setting(kind: SettingKind) -> SET_VIRTUAL_DISK_INFO:
    return SET_VIRTUAL_DISK_INFO(Version=kind)


def _apply(disk: VirtualDisk, info: SET_VIRTUAL_DISK_INFO) -> None:
    disk.call("SetVirtualDiskInformation", ctypes.byref(info))
