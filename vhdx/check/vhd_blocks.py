"""The block table of a VHD, the places that it gives, and what they leave of the file (VHD 1.0)."""

from array import array
from collections.abc import Iterator
from heapq import merge

from vhdx.check.finding import Finding, counted, found
from vhdx.check.reading import is_blank, pieces
from vhdx.check.vhd_batmap import FullBlocks
from vhdx.check.vhd_header import VhdDisk
from vhdx.extents import Range
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, pread

_PAGE = 1 << 14


class Slots:
    """Where blocks of one length begin, in sectors: a number for each length of the file, made where a block lies."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._pages: dict[int, array[int]] = {}

    def take(self, start: int) -> int | None:
        """Note a block, unless one is in its way: then nothing changes, and the result is where that one begins."""
        slot = start // self._span
        for near in (slot, slot - 1, slot + 1):
            page = self._pages.get(near // _PAGE)
            other = page[near % _PAGE] - 1 if page is not None else -1
            if other >= 0 and abs(other - start) < self._span:
                return other
        page = self._pages.setdefault(slot // _PAGE, array("Q", bytes(8 * _PAGE)))
        page[slot % _PAGE] = start + 1
        return None

    def starts(self) -> Iterator[int]:
        """Where the blocks begin, ascending."""
        for _, page in sorted(self._pages.items()):
            yield from (start - 1 for start in page if start)


def check_table(storage: Storage, disk: VhdDisk, *, deep: bool) -> Iterator[Finding]:
    """Every entry in use; with *deep* also the content of its block."""
    layout = disk.layout
    slots = Slots(layout.span // SECTOR)
    clear = max(place.end for _, place in disk.structures)
    full = None if disk.batmap is None else FullBlocks(storage, disk.batmap, layout)
    zeros = 0
    for block, start in entries(storage, Range(disk.table_offset, layout.blocks * ENTRY_SIZE)):
        place = Range(start * SECTOR, layout.span)
        problem = _place(disk, block, place, clear, slots)
        if problem is not None:
            yield problem
            continue
        if block == layout.blocks - 1 and layout.has_parent:
            yield from _last_bits(storage, disk, block, place)
        if full is not None:
            yield from full.look(block, place.offset)
        if deep:
            try:
                zeros += is_blank(storage, Range(place.offset + layout.bitmap_size, layout.block_size))
            except OSError as error:
                reason = error.strerror or str(error)
                yield found("block-unreadable", place.offset, f"block {block} cannot be read ({reason})")
    if zeros:
        message = f"{counted(zeros, 'block')} of nothing but zeros; compacting gives them back"
        yield found("blocks-all-zero", disk.table_offset, message)
    if full is not None:
        yield from full.findings()
    yield from _unused(disk, slots)
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


def _place(disk: VhdDisk, block: int, place: Range, clear: int, slots: Slots) -> Finding | None:
    at = disk.table_offset + block * ENTRY_SIZE
    what = f"block {block} at {place.offset}"
    if place.end > disk.end:
        message = f"{what} reaches past the end of the file, or to the footer, at {disk.end}"
        return found("vhd-bat-beyond-end", at, message)
    if place.offset < clear:
        for name, taken in disk.structures:
            if place.offset < taken.end and taken.offset < place.end:
                return found("vhd-bat-in-structure", at, f"{what} lies on the {name}; do not write to this image")
    other = slots.take(place.offset // SECTOR)
    if other is not None:
        message = f"{what} and the block at {other * SECTOR} overlap; do not write to this image"
        return found("vhd-bat-overlap", at, message)
    return None


def _last_bits(storage: Storage, disk: VhdDisk, block: int, place: Range) -> Iterator[Finding]:
    layout = disk.layout
    count = (layout.virtual_size - block * layout.block_size) // SECTOR
    bitmap = vhd_bat.reverse_bits(pread(storage, place.offset, layout.bitmap_size))
    inside = int.from_bytes(bitmap, "little") & ((1 << layout.sectors_per_block) - 1)
    if inside >> count:
        message = f"bits of block {block} are set for sectors behind the end of the disk"
        yield found("vhd-bitmap-beyond-disk", place.offset, message)


def _unused(disk: VhdDisk, slots: Slots) -> Iterator[Finding]:
    """What would hold whole blocks and belongs to nothing; less than that is what aligning them takes."""
    span = disk.layout.span
    blocks = (Range(start * SECTOR, span) for start in slots.starts())
    others = sorted([*(place for _, place in disk.structures), *disk.rooms])
    end = room = 0
    for place in merge(blocks, others, [Range(disk.end, 0)]):
        room += max(min(place.offset, disk.end) - end, 0) // span
        end = max(end, place.end)
    if room:
        blocks_of_room = counted(room, "block")
        message = f"nothing refers to {room * span} bytes, room for {blocks_of_room}; compacting gives them back"
        yield found("space-unused", None, message)


def _behind(storage: Storage, disk: VhdDisk) -> Iterator[Finding]:
    """What the table has behind the last block of the disk: entries, then padding to a whole sector."""
    layout, at = disk.layout, disk.table_offset
    used, claimed = layout.blocks * ENTRY_SIZE, disk.max_entries * ENTRY_SIZE
    end = min(-(-claimed // SECTOR) * SECTOR, disk.end - at)
    extra = pread(storage, at + used, min(max(end - used, 0), PIECE))
    inside = max(min(claimed - used, len(extra)), 0)
    if extra[:inside].strip(b"\xff"):
        message = f"entries are in use behind the last block of the disk, {layout.blocks - 1}"
        yield found("vhd-bat-beyond-disk", at + used, message)
    if extra[inside:].strip(b"\xff"):
        yield found("vhd-table-padding", at + used + inside, "the padding of the table is not 0xFF")
