"""Making the file of an open dynamic or differencing image smaller with CompactVirtualDisk."""

import ctypes

from vhdx.virtdisk.constants import CompactFlag, CompactVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.operation import Progress, run
from vhdx.virtdisk.structures import COMPACT_VIRTUAL_DISK_PARAMETERS


def compact(
    disk: VirtualDisk, *, flags: CompactFlag = CompactFlag.NONE, on_progress: Progress | None = None
) -> None:
    """Give back blocks of zeros and, while the disk is attached read-only, what its file system does not use.

    It can be stopped and run again. Raises Error for a fixed image, and as `run`.
    """
    parameters = COMPACT_VIRTUAL_DISK_PARAMETERS(Version=CompactVersion.VERSION_1)
    run(disk, "CompactVirtualDisk", flags, ctypes.byref(parameters), on_progress=on_progress)
