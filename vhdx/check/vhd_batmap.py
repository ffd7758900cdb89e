"""The map of full blocks that tapdisk and vhd-util keep behind the block table, and believe over the sector bitmaps.

Other programs know nothing of it, and only in files of its makers does it count: elsewhere the same bytes may be a
guest's.
"""

import struct
from collections.abc import Generator, Iterator
from typing import NamedTuple

from vhdx.check.finding import Finding, found
from vhdx.check.reading import pieces
from vhdx.extents import Range
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, VhdLayout
from vhdx.format.vhd_footer import Footer
from vhdx.format.vhd_header import DynamicHeader
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, pread, preads

_HEADER = struct.Struct(">8sQIII")
_COOKIE = b"tdbatmap"
_SIGNED, _LATEST = 0x00010001, 0x00010002
MAKER = b"tap"
_BEFORE_MAPS, _ALWAYS_MAPS, _OTHERS = 0x00000001, 0x00010002, 0x00020000
"""The version of the maker that wrote none yet, that from which on it refuses files without, and one of no maker."""
_HIGH = bytes(range(128, 256))
_AT_ONCE = 64
"""Bitmaps that are read in one call."""


class CheckedBatmap(NamedTuple):
    """A map that counts: the places of its header and of its bits."""

    header: Range
    bits: Range


def find_batmap(
    storage: Storage, footer: Footer, header: DynamicHeader, layout: VhdLayout, end: int
) -> Generator[Finding, None, CheckedBatmap | None]:
    """The map, where there is a sound one; *end* is where everything but the footer has to end."""
    at = header.table_offset + -(-header.max_entries * ENTRY_SIZE // SECTOR) * SECTOR
    if not footer.creator.startswith(MAKER) or footer.creator_version <= _BEFORE_MAPS:
        return None
    inside = at + SECTOR <= end
    cookie, offset, sectors, version, checksum = _HEADER.unpack(
        pread(storage, at, _HEADER.size) if inside else bytes(_HEADER.size)
    )
    if cookie != _COOKIE or version not in (_SIGNED, _LATEST):
        if _ALWAYS_MAPS <= footer.creator_version < _OTHERS:
            made = f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}"
            message = f"no known batmap exists, but tapdisk {made}, which created the file, writes one"
            yield found("vhd-batmap-missing", at if inside else None, message)
        return None
    bits = Range(offset, sectors * SECTOR)
    needed = max(layout.blocks // 8, 1)  # its maker rounds down to whole bytes
    if bits.end > end or bits.length < needed or bits.length > 2 * PIECE + needed:
        message = f"{sectors} sectors at {offset} cannot hold the bits of {layout.blocks} blocks"
        yield found("vhd-batmap-place", at, message)
        return None
    right = _checksum(storage, bits, signed=version == _SIGNED)
    if right != checksum:
        yield found("vhd-batmap-checksum", at, f"the checksum is {checksum:#010x} and should be {right:#010x}")
        return None
    return CheckedBatmap(Range(at, SECTOR), bits)


def _checksum(storage: Storage, bits: Range, *, signed: bool) -> int:
    total = 0
    for _, data in pieces(storage, bits):
        total += sum(data)
        if signed:
            total -= 256 * (len(data) - len(data.translate(None, _HIGH)))
    return ~total & 0xFFFFFFFF


class FullBlocks:
    """The blocks that the map calls full, held against their own bitmaps; to be shown blocks in ascending order."""

    def __init__(self, storage: Storage, batmap: CheckedBatmap, layout: VhdLayout) -> None:
        self._storage = storage
        self._map = batmap.bits
        self._layout = layout
        self._page = (-1, b"")
        self._waiting: list[tuple[int, int]] = []
        self._placed = bytearray(-(-layout.blocks // 8))

    def note(self, block: int) -> None:
        """The block has a place."""
        self._placed[block // 8] |= 0x80 >> block % 8

    def look(self, block: int, place: int) -> Iterator[Finding]:
        """Note a block that lies at byte *place*; what is found of those noted so far comes now and then."""
        if self.calls_full(block):
            self._waiting.append((block, place))
            if len(self._waiting) == _AT_ONCE:
                yield from self.findings()

    def findings(self) -> Iterator[Finding]:
        """What is found of the blocks of which nothing was said yet."""
        waiting, self._waiting = self._waiting, []
        bitmaps = preads(self._storage, [(place, self._layout.bitmap_size) for _, place in waiting])
        for (block, place), bitmap in zip(waiting, bitmaps, strict=True):
            if not self._is_full(block, bitmap):
                message = f"block {block} is marked full, but its sector bitmap at {place} is not all ones"
                yield found("vhd-batmap-full", self._map.offset + block // 8, message)

    def unplaced(self) -> Iterator[Finding]:
        """What is called full of the blocks that were not noted: they have no place."""
        for at, data in pieces(self._storage, Range(self._map.offset, min(self._map.length, len(self._placed)))):
            first = at - self._map.offset
            placed = self._placed[first : first + len(data)]
            if not int.from_bytes(data, "big") & ~int.from_bytes(placed, "big"):
                continue
            for byte, (claimed, held) in enumerate(zip(data, placed, strict=True), first):
                for block in range(8 * byte, min(8 * byte + 8, self._layout.blocks)):
                    if claimed & ~held & 0x80 >> block % 8:
                        message = f"block {block} is marked full, but has no file offset"
                        yield found("vhd-batmap-full", self._map.offset + byte, message)

    def calls_full(self, block: int) -> bool:
        """Whether the map does; to be asked for blocks in ascending order."""
        if block // 8 >= self._map.length:
            return False
        number, within = divmod(block // 8, PIECE)
        if number != self._page[0]:
            start = number * PIECE
            length = min(PIECE, self._map.length - start)
            self._page = (number, pread(self._storage, self._map.offset + start, length))
        return bool(self._page[1][within] << block % 8 & 0x80)

    def _is_full(self, block: int, bitmap: bytes) -> bool:
        """Whether all sectors of the disk that the block covers are there: behind the disk's end bits mean nothing."""
        layout = self._layout
        covered = min(layout.block_size, layout.virtual_size - block * layout.block_size)
        whole, rest = divmod(covered // SECTOR, 8)
        if bitmap[:whole] != b"\xff" * whole:
            return False
        return not rest or bitmap[whole] >> 8 - rest == (1 << rest) - 1
