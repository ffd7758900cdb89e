"""What lies where in a VHD with blocks, looked at once before the first change.

Two structures on one place are a refusal, since writing to one would change the other. One pass over the table.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from operator import sub

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import vhd_header
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED
from vhdx.format.vhd_batmap import COOKIE, HEADER, header_place
from vhdx.format.vhd_footer import SIZE
from vhdx.format.vhd_header import DynamicHeader
from vhdx.image.vhd.space import VhdSpace
from vhdx.image.vhd.table import VhdTable
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

MOST_BLOCKS = 1 << 24
"""Blocks that a disk to be written may have: all of their places are sorted in memory."""
_SECTION = "VHD 1.0"


def survey(
    storage: Storage,
    table: VhdTable,
    header: DynamicHeader,
    header_offset: int,
    footer_at: int | None,
    *,
    own: Sequence[tuple[str, Range]] = (),
) -> VhdSpace:
    """Everything in the file but the footer at *footer_at*; *own* is what its creator has besides.

    Raises FormatError, UnsupportedFeature.
    """
    layout = table.layout
    if layout.blocks > MOST_BLOCKS:
        raise UnsupportedFeature(f"{layout.blocks} blocks are more than can be written to; convert it to larger blocks")
    size = storage.size()
    limit = size if footer_at is None else footer_at
    structures = [
        ("copy of the footer", Range(0, SIZE)),
        ("dynamic header", Range(header_offset, vhd_header.HEADER.size)),
        ("block table", Range(table.offset, layout.table_size)),
        *own,
    ]
    locators = header.entries
    structures += [
        ("parent locator", Range(entry.data_offset, entry.data_length)) for entry in locators if entry.data_length
    ]
    _verify_structures(structures, limit)
    starts = _starts(table)
    _verify_blocks(starts, layout.span // SECTOR, structures, limit)
    first_block = starts[0] * SECTOR if starts else limit
    taken = [place for _, place in structures]
    rooms = [entry.room for entry in locators if entry.data_length]
    # Older files have an entry too many, which others look at.
    rooms.append(Range(table.offset, header.max_entries * ENTRY_SIZE))
    # As libvhd does, it is looked for behind all the entries that the header counts.
    behind = header_place(table.offset, header.max_entries)
    rooms += _batmap(storage, behind, limit)
    taken += [_before(room, first_block if room.offset < first_block else limit) for room in rooms]
    return VhdSpace(starts, span=layout.span, bitmap=layout.bitmap_size, others=taken, file_size=size)


def _before(room: Range, end: int) -> Range:
    start = min(room.offset, end)
    return Range(start, min(room.end, end) - start)


def _starts(table: VhdTable) -> "array[int]":
    found = array("I")
    for _, entries in table.scan():
        found.extend(filter(UNUSED.__ne__, entries))
    return array("I", sorted(found))


def _verify_structures(structures: list[tuple[str, Range]], limit: int) -> None:
    ordered = sorted(structures, key=lambda item: item[1])
    for (_, place), (name, following) in pairwise(ordered):
        if following.offset < place.end:
            raise FormatError(name, following.offset, "its place belongs to something else too", _SECTION)
    name, last = ordered[-1]
    if last.end > limit:
        raise FormatError(name, last.offset, f"it extends beyond end of file at {limit}", _SECTION)


def _verify_blocks(starts: "array[int]", span: int, structures: list[tuple[str, Range]], limit: int) -> None:
    if not starts:
        return
    if (starts[-1] + span) * SECTOR > limit:
        reason = f"it extends beyond end of file, or to the footer, at {limit}"
        raise FormatError("block", starts[-1] * SECTOR, reason, _SECTION)
    if len(starts) > 1 and min(map(sub, islice(starts, 1, None), starts)) < span:
        twice = next(_overlapping(starts, span))
        raise FormatError("block", twice * SECTOR, "its place belongs to another block too", _SECTION)
    for name, place in structures:
        # Only the first block that ends behind the structure's start can lie on it: blocks do not overlap.
        low, high = 0, len(starts)
        while low < high:
            middle = (low + high) // 2
            if (starts[middle] + span) * SECTOR > place.offset:
                high = middle
            else:
                low = middle + 1
        if low < len(starts) and starts[low] * SECTOR < place.end:
            raise FormatError("block", starts[low] * SECTOR, f"its place belongs to the {name} too", _SECTION)


def _overlapping(starts: "array[int]", span: int) -> Iterator[int]:
    for place, following in pairwise(starts):
        if following - place < span:
            yield following


def _batmap(storage: Storage, behind_table: int, limit: int) -> list[Range]:
    """What blktap keeps behind the table: which blocks are full."""
    if behind_table + SECTOR > limit:
        return []
    found = HEADER.parse(pread(storage, behind_table, SECTOR))
    if found.cookie != COOKIE:
        return []
    return [Range(behind_table, SECTOR), Range(found.offset, found.sectors * SECTOR)]
