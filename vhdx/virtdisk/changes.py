"""Which ranges of a disk changed since an identifier of change tracking: QueryChangesVirtualDisk of Windows 10."""

import ctypes
from collections.abc import Iterator

from vhdx.errors import Error
from vhdx.virtdisk.constants import MAXIMUM_CHANGE_TRACKING_ID_LENGTH
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.numbers import u64
from vhdx.virtdisk.structures import QUERY_CHANGES_VIRTUAL_DISK_RANGE
from vhdx.virtdisk.text import wide

BATCH = 1024
"""Ranges that one call is asked for."""


def changed_ranges(disk: VirtualDisk, since: str, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Offset and length in bytes of what changed in a part of the disk, in order, as Windows tells it.

    Raises Error for an identifier that is too long or where Windows gets no further, and what `failure` makes of its
    answer, such as where the identifier is no longer known.
    """
    if len(since) > MAXIMUM_CHANGE_TRACKING_ID_LENGTH:
        raise Error(f"since has {len(since)} characters: at most {MAXIMUM_CHANGE_TRACKING_ID_LENGTH} are an identifier")
    identifier = wide("since", since)
    end = u64("the end of the part", u64("offset", offset) + u64("length", length))
    ranges = (QUERY_CHANGES_VIRTUAL_DISK_RANGE * BATCH)()
    while offset < end:
        count, processed = ctypes.c_uint32(BATCH), ctypes.c_uint64(0)
        disk.call(
            "QueryChangesVirtualDisk", identifier, offset, end - offset, 0, ranges, ctypes.byref(count),
            ctypes.byref(processed),
        )  # fmt: skip
        yield from ((one.ByteOffset, one.ByteLength) for one in ranges[: min(count.value, BATCH)])
        if not processed.value:
            raise Error(f"{disk.file}: Windows tells no changes from offset {offset} on; make a full backup")
        offset += processed.value
