"""Changing the size of an open disk: ResizeVirtualDisk, and ExpandVirtualDisk for a VHD on an old Windows."""

import ctypes

from vhdx.errors import Error
from vhdx.virtdisk.constants import ExpandVersion, ResizeFlag, ResizeVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.numbers import u64
from vhdx.virtdisk.operation import Progress, run
from vhdx.virtdisk.structures import EXPAND_VIRTUAL_DISK_PARAMETERS, RESIZE_VIRTUAL_DISK_PARAMETERS


def resize(disk: VirtualDisk, size: int, *, unsafe: bool = False, on_progress: Progress | None = None) -> None:
    """Give the disk another size in bytes; with *unsafe* also one that cuts off data.

    Raises Error for a size of 0, WouldLoseData, and as `run`.
    """
    if size == 0:
        raise Error("size is 0: a disk has at least one sector")
    _resize(disk, size, ResizeFlag.ALLOW_UNSAFE_VIRTUAL_SIZE if unsafe else ResizeFlag.NONE, on_progress)


def shrink(disk: VirtualDisk, *, on_progress: Progress | None = None) -> None:
    """Shrink the disk to the smallest size that loses nothing. Raises as `resize`."""
    _resize(disk, 0, ResizeFlag.RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE, on_progress)


def expand(disk: VirtualDisk, size: int, *, on_progress: Progress | None = None) -> None:
    """Make a VHD larger, to *size* bytes. Raises as `run`."""
    parameters = EXPAND_VIRTUAL_DISK_PARAMETERS(Version=ExpandVersion.VERSION_1)
    parameters.Version1.NewSize = u64("size", size)
    run(disk, "ExpandVirtualDisk", 0, ctypes.byref(parameters), on_progress=on_progress)


def _resize(disk: VirtualDisk, size: int, flags: ResizeFlag, on_progress: Progress | None) -> None:
    parameters = RESIZE_VIRTUAL_DISK_PARAMETERS(Version=ResizeVersion.VERSION_1)
    parameters.Version1.NewSize = u64("size", size)
    run(disk, "ResizeVirtualDisk", flags, ctypes.byref(parameters), on_progress=on_progress)
