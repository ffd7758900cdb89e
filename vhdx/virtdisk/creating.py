"""Creating images with CreateVirtualDisk, version 2: Windows 8 and later."""

import ctypes
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from vhdx.virtdisk.constants import ERROR_IO_PENDING, AccessMask, CreateFlag, CreateVersion, Device, OpenFlag
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.library import Library
from vhdx.virtdisk.numbers import u32, u64
from vhdx.virtdisk.operation import Operation, Progress
from vhdx.virtdisk.request import Request
from vhdx.virtdisk.structures import CREATE_VIRTUAL_DISK_PARAMETERS, guid, storage_type
from vhdx.virtdisk.text import optional, wide


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDisk:
    """What an image is to be. Sizes are in bytes; 0 and None leave the choice to Windows.

    With a *parent* it is a differencing image, which takes its size from there; with a *source*, a disk or an image,
    a copy of that.
    """

    size: int = 0
    block_size: int = 0
    sector_size: int = 0
    physical_sector_size: int = 0
    identifier: UUID | None = None
    parent: str | None = None
    parent_device: Device = Device.UNKNOWN
    parent_flags: OpenFlag = OpenFlag.NONE
    source: str | None = None
    source_device: Device = Device.UNKNOWN
    resiliency: UUID | None = None


def create(
    library: Library, path: str, device: Device, new: NewDisk, *, flags: CreateFlag = CreateFlag.NONE,
    on_progress: Progress | None = None,
) -> VirtualDisk:  # fmt: skip
    """Create the file of an image; the disk is open. A fixed one is made with FULL_PHYSICAL_ALLOCATION.

    Raises Error for numbers that do not fit, what `failure` makes of Windows' answer, and what *on_progress* raises,
    which cancels it. What then becomes of the file is up to Windows: look whether it is there.
    """
    parameters = create_parameters(new)
    handle = ctypes.c_void_p()
    arguments: tuple[Any, ...] = (
        ctypes.byref(storage_type(device)), wide("path", path), AccessMask.NONE, None, flags, 0,
        ctypes.byref(parameters),
    )  # fmt: skip
    request = Request(library)
    code = library.code("CreateVirtualDisk", *arguments, request.reference, ctypes.byref(handle))
    if code not in (0, ERROR_IO_PENDING):
        request.close()
        raise failure("CreateVirtualDisk", code, path)
    disk = VirtualDisk(library, path, handle.value or 0)
    try:
        with Operation(request, disk, "CreateVirtualDisk", code, arguments) as operation:
            operation.finish(on_progress)
    except BaseException:
        disk.close()
        raise
    return disk


def create_fixed(
    library: Library, path: str, device: Device, new: NewDisk, *, flags: CreateFlag = CreateFlag.NONE,
    on_progress: Progress | None = None,
) -> VirtualDisk:  # fmt: skip
    """As `create`, with all blocks allocated."""
    wanted = flags | CreateFlag.FULL_PHYSICAL_ALLOCATION
    return create(library, path, device, new, flags=wanted, on_progress=on_progress)


def create_parameters(new: NewDisk) -> CREATE_VIRTUAL_DISK_PARAMETERS:
    """The structure for CreateVirtualDisk, which keeps the texts that it points to. Raises Error as `create`."""
    found = CREATE_VIRTUAL_DISK_PARAMETERS(Version=CreateVersion.VERSION_2)
    part = found.Version2
    part.UniqueId = guid(new.identifier or UUID(int=0))
    part.MaximumSize = u64("size", new.size)
    part.BlockSizeInBytes = u32("block_size", new.block_size)
    part.SectorSizeInBytes = u32("sector_size", new.sector_size)
    part.PhysicalSectorSizeInBytes = u32("physical_sector_size", new.physical_sector_size)
    part.ParentPath = optional("parent", new.parent)
    part.SourcePath = optional("source", new.source)
    part.OpenFlags = new.parent_flags
    part.ParentVirtualStorageType = storage_type(new.parent_device)
    part.SourceVirtualStorageType = storage_type(new.source_device)
    part.ResiliencyGuid = guid(new.resiliency or UUID(int=0))
    return found
