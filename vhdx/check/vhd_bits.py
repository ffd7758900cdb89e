"""The sector bitmaps of a VHD without a parent, held against what lies under the bits that are not set (VHD 1.0).

Windows, qemu and this package read a block that has a place whole. VirtualBox, DiscUtils and XenServer's tools show
zeros where a bit is not set, and clear bits over zeros are what they write: only data there is a fault.
"""

from collections.abc import Iterator

from vhdx.check.finding import Finding, found
from vhdx.check.reading import pieces
from vhdx.extents import Range, all_equal, bit_runs
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import SECTOR, VhdLayout
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, allocated, preads

_AT_ONCE = 64
"""Bitmaps that are read in one call."""
_LOOKED_AT = 64 << 20
"""Bytes under clear bits that are read unless all of the content is to be."""


class ClearedBits:
    """The blocks with data under bits that are not set; to be shown blocks."""

    def __init__(self, storage: Storage, layout: VhdLayout, *, deep: bool) -> None:
        self._storage = storage
        self._layout = layout
        self._deep = deep
        self._room = _LOOKED_AT
        self._waiting: list[tuple[int, int]] = []

    def look(self, block: int, place: int) -> Iterator[Finding]:
        """Note a block that lies at byte *place*; what is found of those noted so far comes now and then."""
        self._waiting.append((block, place))
        if len(self._waiting) == _AT_ONCE:
            yield from self.findings()

    def findings(self) -> Iterator[Finding]:
        """What is found of the blocks of which nothing was said yet."""
        waiting, self._waiting = self._waiting, []
        bitmaps = preads(self._storage, [(place, self._layout.bitmap_size) for _, place in waiting])
        for (block, place), bitmap in zip(waiting, bitmaps, strict=True):
            yield from self._block(block, place, bitmap)

    def _block(self, block: int, place: int, bitmap: bytes) -> Iterator[Finding]:
        layout = self._layout
        count = min(layout.block_size, layout.virtual_size - block * layout.block_size) // SECTOR
        bits = vhd_bat.reverse_bits(bitmap)
        if all_equal(bits, 0, count):
            return
        data = place + layout.bitmap_size
        for first, length, here in bit_runs(bits, 0, count):
            if here:
                continue
            try:
                at = self._data(Range(data + first * SECTOR, length * SECTOR))
            except OSError as error:
                if not self._deep:
                    reason = error.strerror or str(error)
                    yield found("block-unreadable", place, f"block {block} cannot be read ({reason})")
                return
            if at is not None:
                offset = block * layout.block_size + at - data
                message = (
                    f"bits of block {block} are not set for sectors with data, the first at {offset} of the disk: "
                    "programs that go by the bitmap read zeros there"
                )
                yield found("vhd-bitmap-cleared", place, message)
                return

    def _data(self, place: Range) -> int | None:
        """Where the first sector that is not zeros lies, as far as it is looked for."""
        for part in allocated(self._storage, place.offset, place.length):
            for start in range(part.offset, part.end, PIECE):
                piece = Range(start, min(PIECE, part.end - start))
                if self._room < piece.length and not self._deep:
                    return None
                self._room -= piece.length
                for at, content in pieces(self._storage, piece):
                    rest = content.lstrip(b"\0")
                    if rest:
                        return (at + len(content) - len(rest)) // SECTOR * SECTOR
        return None
