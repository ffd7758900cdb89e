"""Checks of the batmap that tapdisk and vhd-util store after the block table and trust over the sector bitmaps.

Other programs ignore it. It is checked only in files of these creators: in others the same bytes may be guest data.
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
"""The last version without a batmap, the first that refuses files without one, and an invalid one."""
_HIGH = bytes(range(128, 256))
_AT_ONCE = 64
"""Bitmaps that are read in one call."""


class CheckedBatmap(NamedTuple):
    """A valid batmap: file ranges of its header and bits."""

    header: Range
    bits: Range


def find_batmap(
    storage: Storage, footer: Footer, header: DynamicHeader, layout: VhdLayout, end: int
) -> Generator[Finding, None, CheckedBatmap | None]:
    """The batmap if there is a valid one; *end* is the offset of the footer."""
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
            message = f"there is no batmap, but tapdisk {made}, which created the file, writes one"
            yield found("vhd-batmap-missing", at if inside else None, message)
        return None
    bits = Range(offset, sectors * SECTOR)
    needed = max(layout.blocks // 8, 1)  # blktap rounds down to whole bytes
    if bits.end > end or bits.length < needed or bits.length > 2 * PIECE + needed:
        message = f"{sectors} sectors at {offset} are invalid or too few for {layout.blocks} blocks"
        yield found("vhd-batmap-place", at, message)
        return None
    right = _checksum(storage, bits, signed=version == _SIGNED)
    if right != checksum:
        yield found("vhd-batmap-checksum", at, f"the checksum is {checksum:#010x} instead of {right:#010x}")
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
    """Compares blocks that the batmap marks full with their sector bitmaps; takes blocks in ascending order."""

    def __init__(self, storage: Storage, batmap: CheckedBatmap, layout: VhdLayout) -> None:
        self._storage = storage
        self._map = batmap.bits
        self._layout = layout
        self._page = (-1, b"")
        self._waiting: list[tuple[int, int]] = []
        self._placed = bytearray(-(-layout.blocks // 8))

    def note(self, block: int) -> None:
        """Note that the block is allocated."""
        self._placed[block // 8] |= 0x80 >> block % 8

    def look(self, block: int, place: int) -> Iterator[Finding]:
        """Note a block at byte *place*; yields findings of noted blocks from time to time."""
        if self.calls_full(block):
            self._waiting.append((block, place))
            if len(self._waiting) == _AT_ONCE:
                yield from self.findings()

    def findings(self) -> Iterator[Finding]:
        """Findings of the remaining noted blocks."""
        waiting, self._waiting = self._waiting, []
        bitmaps = preads(self._storage, [(place, self._layout.bitmap_size) for _, place in waiting])
        for (block, place), bitmap in zip(waiting, bitmaps, strict=True):
            if not self._is_full(block, bitmap):
                message = f"block {block} is marked full, but its sector bitmap at {place} has clear bits"
                yield found("vhd-batmap-full", self._map.offset + block // 8, message)

    def unplaced(self) -> Iterator[Finding]:
        """Findings of blocks that are marked full but not allocated."""
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
        """Whether the batmap marks the block full; call with ascending blocks."""
        if block // 8 >= self._map.length:
            return False
        number, within = divmod(block // 8, PIECE)
        if number != self._page[0]:
            start = number * PIECE
            length = min(PIECE, self._map.length - start)
            self._page = (number, pread(self._storage, self._map.offset + start, length))
        return bool(self._page[1][within] << block % 8 & 0x80)

    def _is_full(self, block: int, bitmap: bytes) -> bool:
        """Whether all sectors of the block are present; bits beyond end of disk are ignored."""
        layout = self._layout
        covered = min(layout.block_size, layout.virtual_size - block * layout.block_size)
        whole, rest = divmod(covered // SECTOR, 8)
        if bitmap[:whole] != b"\xff" * whole:
            return False
        return not rest or bitmap[whole] >> 8 - rest == (1 << rest) - 1
