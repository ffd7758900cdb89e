"""Merging layers of an open chain with MergeVirtualDisk."""

import ctypes

from vhdx.errors import Error
from vhdx.virtdisk.constants import MergeVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.numbers import u32
from vhdx.virtdisk.operation import Progress, run
from vhdx.virtdisk.structures import MERGE_VIRTUAL_DISK_PARAMETERS


def merge(disk: VirtualDisk, depth: int, *, on_progress: Progress | None = None) -> None:
    """Merge the image that is open, and the *depth* - 1 layers under it, into the layer under those (version 1).

    The disk must be open for writing of *depth* + 1 layers. The merged files stay and are no longer valid; a merge
    that was stopped can be run again. Raises Error for a depth of 0, and as `run`.
    """
    if depth < 1:
        raise Error(f"depth is {depth}: at least one layer has to be merged")
    parameters = MERGE_VIRTUAL_DISK_PARAMETERS(Version=MergeVersion.VERSION_1)
    parameters.Version1.MergeDepth = u32("depth", depth)
    run(disk, "MergeVirtualDisk", 0, ctypes.byref(parameters), on_progress=on_progress)


def merge_layers(disk: VirtualDisk, source: int, target: int, *, on_progress: Progress | None = None) -> None:
    """Merge the layers from depth *source* into the one at *target*; 1 is the image that is open (version 2).

    Raises Error unless the target is deeper than the source, and as `run`.
    """
    if not 1 <= source < target:
        raise Error(f"source is {source} and target {target}: the target must be deeper, and the first layer is 1")
    parameters = MERGE_VIRTUAL_DISK_PARAMETERS(Version=MergeVersion.VERSION_2)
    parameters.Version2.MergeSourceDepth = u32("source", source)
    parameters.Version2.MergeTargetDepth = u32("target", target)
    run(disk, "MergeVirtualDisk", 0, ctypes.byref(parameters), on_progress=on_progress)
