"""Checks of the block table of a VHD, its blocks and unreferenced space (VHD 1.0)."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge

from vhdx.check.finding import MOST_OF_A_CODE, Finding, counted, found
from vhdx.check.reading import is_blank, pieces
from vhdx.check.vhd_batmap import FullBlocks
from vhdx.check.vhd_bits import ClearedBits
from vhdx.check.vhd_header import VhdDisk
from vhdx.extents import Range
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED
from vhdx.image.vhd.sharing import ascending
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, pread


def check_table(storage: Storage, disk: VhdDisk, *, deep: bool) -> Iterator[Finding]:
    """Check every entry in use and the sector bitmaps; with *deep* also the content of blocks.

    Bitmaps and content of overlapping blocks are not read: they may belong to another structure, and one range could be
    read many times.
    """
    starts, shared = array("I"), array("I")
    clear = max(place.end for _, place in disk.structures)
    for block, start in entries(storage, disk.table):
        problem = _place(disk, block, start, clear)
        if problem is None:
            starts.append(start)
        else:
            yield problem
    yield from _overlaps(storage, disk, starts, shared)
    yield from _content(storage, disk, clear, shared, deep=deep)
    yield from _unused(disk, starts)
    yield from _behind(storage, disk)


def entries(storage: Storage, table: Range) -> Iterator[tuple[int, int]]:
    """The entries in use: (block, first sector)."""
    unused = b"\xff" * PIECE
    for at, data in pieces(storage, table):
        if data == unused[: len(data)]:
            continue
        first = (at - table.offset) // ENTRY_SIZE
        for number, start in enumerate(vhd_bat.decode_entries(data), first):
            if start != UNUSED:
                yield number, start


def _place(disk: VhdDisk, block: int, start: int, clear: int) -> Finding | None:
    place = Range(start * SECTOR, disk.layout.span)
    if clear <= place.offset and place.end <= disk.end:
        return None
    at, what = disk.table_offset + block * ENTRY_SIZE, f"block {block} at {place.offset}"
    if place.end > disk.end:
        message = f"{what} extends beyond end of file or into the footer, at {disk.end}"
        return found("vhd-bat-beyond-end", at, message)
    for name, taken in disk.structures:
        if place.offset < taken.end and taken.offset < place.end:
            return found("vhd-bat-in-structure", at, f"{what} overlaps the {name}; do not write to this image")
    return None


def _overlaps(
    storage: Storage, disk: VhdDisk, starts: "array[int]", shared: "array[int]"
) -> Iterator[Finding]:
    """Neighbouring blocks in the file that overlap; *shared* collects the first sectors of such blocks."""
    pairs: list[tuple[int, int]] = []
    count, before = 0, -disk.layout.span
    for start in ascending(starts):
        if (start - before) * SECTOR < disk.layout.span:
            count += 1
            shared.extend(number for number in (before, start) if not shared or shared[-1] != number)
            if len(pairs) < MOST_OF_A_CODE:
                pairs.append((before, start))
        before = start
    blocks: dict[int, list[int]] = {start: [] for pair in pairs for start in pair}
    for block, start in entries(storage, disk.table) if pairs else ():
        if start in blocks and len(blocks[start]) <= MOST_OF_A_CODE:
            blocks[start].append(block)
    for first, second in pairs:
        number, other = (blocks[first].pop(0), blocks[first][0]) if first == second else (
            blocks[first][-1], blocks[second][0]
        )
        message = f"block {number} at {first * SECTOR} and block {other} at {second * SECTOR} overlap"
        at = disk.table_offset + max(number, other) * ENTRY_SIZE
        yield found("vhd-bat-overlap", at, f"{message}; do not write to this image")
    for _ in range(count - len(pairs)):
        yield found("vhd-bat-overlap", None, "another two blocks overlap")


def _content(
    storage: Storage, disk: VhdDisk, clear: int, shared: "array[int]", *, deep: bool
) -> Iterator[Finding]:
    layout = disk.layout
    full = None if disk.batmap is None else FullBlocks(storage, disk.batmap, layout)
    bits = None if layout.has_parent else ClearedBits(storage, layout, deep=deep)
    zeros = 0
    for block, start in entries(storage, disk.table):
        if full is not None:
            full.note(block)
        if _is_in(shared, start) or _place(disk, block, start, clear) is not None:
            continue
        place = start * SECTOR
        if block == layout.blocks - 1 and layout.has_parent:
            yield from _last_bits(storage, disk, block, place)
        if full is not None and full.calls_full(block):
            yield from full.look(block, place)
        elif bits is not None:
            yield from bits.look(block, place)
        if deep:
            try:
                zeros += is_blank(storage, Range(place + layout.bitmap_size, layout.block_size))
            except OSError as error:
                reason = error.strerror or str(error)
                yield found("block-unreadable", place, f"block {block} cannot be read ({reason})")
    if zeros:
        message = f"{counted(zeros, 'block')} of zeros; compacting frees them"
        yield found("blocks-all-zero", disk.table_offset, message)
    if full is not None:
        yield from full.findings()
        yield from full.unplaced()
    if bits is not None:
        yield from bits.findings()


def _is_in(numbers: "array[int]", number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def _last_bits(storage: Storage, disk: VhdDisk, block: int, place: int) -> Iterator[Finding]:
    layout = disk.layout
    count = (layout.virtual_size - block * layout.block_size) // SECTOR
    bitmap = vhd_bat.reverse_bits(pread(storage, place, layout.bitmap_size))
    inside = int.from_bytes(bitmap, "little") & ((1 << layout.sectors_per_block) - 1)
    if inside >> count:
        message = f"block {block}: bits are set for sectors beyond end of disk"
        yield found("vhd-bitmap-beyond-disk", place, message)


def _unused(disk: VhdDisk, starts: "array[int]") -> Iterator[Finding]:
    """Unreferenced space for whole blocks; smaller gaps may result from alignment."""
    span = disk.layout.span
    blocks = (Range(start * SECTOR, span) for start in ascending(starts))
    others = sorted([*(place for _, place in disk.structures), *disk.rooms])
    end = room = 0
    for place in merge(blocks, others, [Range(disk.end, 0)]):
        room += max(min(place.offset, disk.end) - end, 0) // span
        end = max(end, place.end)
    if room:
        blocks_of_room = counted(room, "block")
        message = f"{room * span} bytes, space for {blocks_of_room}, are not referenced; compacting frees them"
        yield found("space-unused", None, message)


def _behind(storage: Storage, disk: VhdDisk) -> Iterator[Finding]:
    """Check the table after the last block of the disk: extra entries, then padding to a whole sector.

    blktap and Disk2vhd write zeros there, which cannot be blocks: offset 0 is the copy of the footer.
    """
    layout, at = disk.layout, disk.table_offset
    used, claimed = layout.blocks * ENTRY_SIZE, disk.max_entries * ENTRY_SIZE
    end = min(-(-claimed // SECTOR) * SECTOR, disk.end - at)
    extra = pread(storage, at + used, min(max(end - used, 0), PIECE))
    inside = max(min(claimed - used, len(extra)), 0)
    if any(start not in (UNUSED, 0) for start in vhd_bat.decode_entries(extra[: inside // ENTRY_SIZE * ENTRY_SIZE])):
        message = f"entries after the last block of the disk, {layout.blocks - 1}, are in use"
        yield found("vhd-bat-beyond-disk", at + used, message)
    if extra[inside:].strip(b"\xff"):
        yield found("vhd-table-padding", at + used + inside, "the padding of the table is not 0xFF")
