"""Attaching an open disk to this machine: AttachVirtualDisk, DetachVirtualDisk, GetVirtualDiskPhysicalPath."""

import ctypes

from vhdx.virtdisk.constants import ERROR_INSUFFICIENT_BUFFER, AttachFlag, AttachVersion
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.numbers import u64
from vhdx.virtdisk.operation import run
from vhdx.virtdisk.structures import ATTACH_VIRTUAL_DISK_PARAMETERS
from vhdx.virtdisk.text import narrow

_USUAL, _LARGEST = 520, 1 << 16
"""Bytes for a path such as ``\\\\.\\PhysicalDrive1``, with room to spare."""


def attach(disk: VirtualDisk, *, flags: AttachFlag = AttachFlag.NONE, part: tuple[int, int] | None = None) -> None:
    r"""Show the disk to this machine, until the handle is closed or, with PERMANENT_LIFETIME, until `detach`.

    *part* is the offset and length in bytes of what is shown, with RESTRICTED_RANGE, which it sets. Raises as `run`.
    """
    parameters = ATTACH_VIRTUAL_DISK_PARAMETERS(Version=AttachVersion.VERSION_1)
    if part is not None:
        parameters.Version = AttachVersion.VERSION_2
        parameters.Version2.RestrictedOffset = u64("the offset of the part", part[0])
        parameters.Version2.RestrictedLength = u64("the length of the part", part[1])
        flags |= AttachFlag.RESTRICTED_RANGE
    run(disk, "AttachVirtualDisk", None, flags, 0, ctypes.byref(parameters))


def detach(disk: VirtualDisk) -> None:
    """Take the disk from this machine. Raises what `failure` makes of Windows' answer."""
    disk.call("DetachVirtualDisk", 0, 0)


def physical_path(disk: VirtualDisk) -> str:
    r"""The device of an attached disk, such as \\.\PhysicalDrive1. Raises what `failure` makes of Windows' answer."""
    function, room = "GetVirtualDiskPhysicalPath", _USUAL
    code = ERROR_INSUFFICIENT_BUFFER
    while room <= _LARGEST:
        buffer = (ctypes.c_uint16 * (room // 2))()
        size = ctypes.c_uint32(ctypes.sizeof(buffer))
        code = disk.code(function, ctypes.byref(size), buffer)
        if not code:
            return "".join(narrow(bytes(buffer))[:1])
        if code != ERROR_INSUFFICIENT_BUFFER:
            break
        room = max(size.value, 2 * room)
    raise failure(function, code, disk.file)
