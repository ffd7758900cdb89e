"""What Windows knows of an open disk: GetVirtualDiskInformation, a function for each kind of answer.

Each raises what `failure` makes of Windows' answer, such as Error where the type of the image has no such thing.
"""

import ctypes
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from vhdx.errors import Error
from vhdx.virtdisk.constants import ERROR_INSUFFICIENT_BUFFER, InfoKind
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.failures import failure
from vhdx.virtdisk.structures import GET_VIRTUAL_DISK_INFO, uuid
from vhdx.virtdisk.text import narrow

_FUNCTION = "GetVirtualDiskInformation"
_LARGEST = 1 << 20
_TRIES = 4
"""What Windows may ask for, in bytes and in tries; the paths to a parent take a few kilobytes."""

_PATHS = GET_VIRTUAL_DISK_INFO.ParentLocation.offset + 4
_TRACKING_ID = GET_VIRTUAL_DISK_INFO.ChangeTrackingState.offset + 8
"""Where text of any length begins."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: what the guest sees, what the file takes, and the units. A fixed image has a *block* of 0."""

    virtual: int
    physical: int
    block: int
    sector: int


@dataclass(frozen=True, slots=True)
class ParentLocation:
    """Where the parent is, or, where that was not found, all the paths at which it was looked for."""

    resolved: bool
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhysicalDisk:
    """The disk that holds the file; sector sizes in bytes."""

    logical_sector: int
    physical_sector: int
    remote: bool


@dataclass(frozen=True, slots=True)
class ChangeTracking:
    """Whether changes are tracked, whether there are some since the most recent identifier, and that."""

    enabled: bool
    newer_changes: bool
    most_recent: str


def sizes(disk: VirtualDisk) -> Sizes:
    """The sizes of the disk and of its file."""
    found = _ask(disk, InfoKind.SIZE).Size
    return Sizes(found.VirtualSize, found.PhysicalSize, found.BlockSize, found.SectorSize)


def identifier(disk: VirtualDisk) -> UUID:
    """The identifier that a child records of this image; a copy of the file has the same."""
    return uuid(_ask(disk, InfoKind.IDENTIFIER).Identifier)


def virtual_disk_id(disk: VirtualDisk) -> UUID:
    """The identifier of the disk that the guest sees."""
    return uuid(_ask(disk, InfoKind.VIRTUAL_DISK_ID).VirtualDiskId)


def parent_location(disk: VirtualDisk) -> ParentLocation:
    """Where the parent of a differencing image is."""
    buffer, used = _answer(disk, InfoKind.PARENT_LOCATION)
    resolved = bool(_view(buffer).ParentLocation.ParentResolved)
    paths = narrow(bytes(buffer)[_PATHS:used])
    return ParentLocation(resolved, paths[:1] if resolved else paths)


def parent_identifier(disk: VirtualDisk) -> UUID:
    """The identifier that a differencing image records of its parent."""
    return uuid(_ask(disk, InfoKind.PARENT_IDENTIFIER).ParentIdentifier)


def parent_timestamp(disk: VirtualDisk) -> int:
    """The parent's time of modification that a differencing VHD records, in seconds as the format counts them."""
    return int(_ask(disk, InfoKind.PARENT_TIMESTAMP).ParentTimestamp)


def storage_type(disk: VirtualDisk) -> tuple[int, UUID]:
    """The format, a number of `Device`, and the vendor of its support."""
    found = _ask(disk, InfoKind.VIRTUAL_STORAGE_TYPE).VirtualStorageType
    return int(found.DeviceId), uuid(found.VendorId)


def subtype(disk: VirtualDisk) -> int:
    """The kind of image, a number of `Subtype`."""
    return int(_ask(disk, InfoKind.PROVIDER_SUBTYPE).ProviderSubtype)


def is_4k_aligned(disk: VirtualDisk) -> bool:
    """Whether blocks lie at multiples of 4 KiB in the file."""
    return bool(_ask(disk, InfoKind.IS_4K_ALIGNED).Is4kAligned)


def is_loaded(disk: VirtualDisk) -> bool:
    """Whether the disk is attached and in use."""
    return bool(_ask(disk, InfoKind.IS_LOADED).IsLoaded)


def physical_disk(disk: VirtualDisk) -> PhysicalDisk:
    """The disk that holds the file."""
    found = _ask(disk, InfoKind.PHYSICAL_DISK).PhysicalDisk
    return PhysicalDisk(found.LogicalSectorSize, found.PhysicalSectorSize, bool(found.IsRemote))


def physical_sector_size(disk: VirtualDisk) -> int:
    """The physical sector size that the guest sees, in bytes."""
    return int(_ask(disk, InfoKind.VHD_PHYSICAL_SECTOR_SIZE).VhdPhysicalSectorSize)


def smallest_safe_size(disk: VirtualDisk) -> int:
    """To how many bytes the disk could shrink without losing what its partitions hold."""
    return int(_ask(disk, InfoKind.SMALLEST_SAFE_VIRTUAL_SIZE).SmallestSafeVirtualSize)


def fragmentation(disk: VirtualDisk) -> int:
    """How fragmented the file is, in per cent."""
    return int(_ask(disk, InfoKind.FRAGMENTATION).FragmentationPercentage)


def change_tracking(disk: VirtualDisk) -> ChangeTracking:
    """The state of resilient change tracking: Windows 10 and later."""
    buffer, used = _answer(disk, InfoKind.CHANGE_TRACKING_STATE)
    found = _view(buffer).ChangeTrackingState
    texts = narrow(bytes(buffer)[_TRACKING_ID:used])
    return ChangeTracking(bool(found.Enabled), bool(found.NewerChanges), texts[0] if texts else "")


def _ask(disk: VirtualDisk, kind: InfoKind) -> GET_VIRTUAL_DISK_INFO:
    return _view(_answer(disk, kind)[0])


def _answer(disk: VirtualDisk, kind: InfoKind) -> tuple[Any, int]:
    """The buffer with the answer, and how many bytes of it count. It grows as Windows asks."""
    room = ctypes.sizeof(GET_VIRTUAL_DISK_INFO)
    for _ in range(_TRIES):
        buffer = (ctypes.c_uint64 * -(-room // 8))()
        view = _view(buffer)
        view.Version = kind
        size, used = ctypes.c_uint32(ctypes.sizeof(buffer)), ctypes.c_uint32(0)
        code = disk.code(_FUNCTION, ctypes.byref(size), ctypes.byref(view), ctypes.byref(used))
        if not code:
            return buffer, min(used.value or size.value, ctypes.sizeof(buffer))
        if code != ERROR_INSUFFICIENT_BUFFER:
            raise failure(_FUNCTION, code, disk.file)
        room = max(size.value, 2 * ctypes.sizeof(buffer))
        if room > _LARGEST:
            break
    raise Error(f"{disk.file}: Windows wants {room} bytes to tell {kind.name}, which is more than it can need")


def _view(buffer: Any) -> GET_VIRTUAL_DISK_INFO:
    return GET_VIRTUAL_DISK_INFO.from_buffer(buffer)
