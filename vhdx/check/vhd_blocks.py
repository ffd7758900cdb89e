"""The block table of a VHD, the places that it gives, and what vhd-util keeps behind it (VHD 1.0)."""

import struct
from array import array
from collections.abc import Iterator

from vhdx.check.finding import Finding, counted, found
from vhdx.check.reading import is_blank, pieces
from vhdx.check.vhd_header import VhdDisk
from vhdx.extents import Range
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, pread

_PAGE = 1 << 14
_BATMAP = struct.Struct(">8sQIII")
_BATMAP_COOKIE = b"tdbatmap"


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


def check_table(storage: Storage, disk: VhdDisk, *, deep: bool) -> Iterator[Finding]:
    """Every entry in use; with *deep* also the content of its block."""
    layout = disk.layout
    slots = Slots(layout.span // SECTOR)
    clear = max(place.end for _, place in disk.structures)
    zeros = 0
    for block, start in entries(storage, Range(disk.table_offset, layout.blocks * ENTRY_SIZE)):
        place = Range(start * SECTOR, layout.span)
        problem = _place(disk, block, place, clear, slots)
        if problem is not None:
            yield problem
            continue
        if block == layout.blocks - 1 and layout.has_parent:
            yield from _last_bits(storage, disk, block, place)
        if deep:
            try:
                zeros += is_blank(storage, Range(place.offset + layout.bitmap_size, layout.block_size))
            except OSError as error:
                reason = error.strerror or str(error)
                yield found("block-unreadable", place.offset, f"block {block} cannot be read ({reason})")
    if zeros:
        message = f"{counted(zeros, 'block')} of nothing but zeros; compacting gives them back"
        yield found("blocks-all-zero", disk.table_offset, message)
    yield from _behind(storage, disk)
    yield from _batmap(storage, disk)


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


def _batmap(storage: Storage, disk: VhdDisk) -> Iterator[Finding]:
    at = disk.table_offset + disk.layout.table_size
    if at + SECTOR > disk.end:
        return
    cookie, offset, sectors, _, checksum = _BATMAP.unpack_from(pread(storage, at, SECTOR))
    if cookie != _BATMAP_COOKIE:
        return
    needed = -(-disk.layout.blocks // 8)
    if offset + sectors * SECTOR > disk.end or sectors * SECTOR < needed or sectors * SECTOR > 2 * PIECE + needed:
        message = f"{sectors} sectors at {offset} cannot hold the bits of {disk.layout.blocks} blocks"
        yield found("vhd-batmap-place", at, message)
        return
    total = sum(sum(data) for _, data in pieces(storage, Range(offset, sectors * SECTOR)))
    right = ~total & 0xFFFFFFFF
    if right != checksum:
        yield found("vhd-batmap-checksum", at, f"the checksum is {checksum:#010x} and should be {right:#010x}")
