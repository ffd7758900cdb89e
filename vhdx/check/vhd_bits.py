"""Checks of clear sector bitmap bits in a VHD without a parent (VHD 1.0).

Windows, qemu and this package ignore the bitmap of an allocated block. VirtualBox, DiscUtils and XenServer's tools read
zeros for a clear bit, and write clear bits for zeros: only data there is a fault.
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
"""Limit on the bytes read under clear bits, unless the check is deep."""


class ClearedBits:
    """Finds blocks with data under clear bits."""

    def __init__(self, storage: Storage, layout: VhdLayout, *, deep: bool) -> None:
        self._storage = storage
        self._layout = layout
        self._deep = deep
        self._room = _LOOKED_AT
        self._waiting: list[tuple[int, int]] = []

    def look(self, block: int, place: int) -> Iterator[Finding]:
        """Note a block at byte *place*; yields findings of noted blocks from time to time."""
        self._waiting.append((block, place))
        if len(self._waiting) == _AT_ONCE:
            yield from self.findings()

    def findings(self) -> Iterator[Finding]:
        """Findings of the remaining noted blocks."""
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
                    f"block {block}: bits are clear for sectors with data, the first at {offset} of the disk: "
                    "programs that use the bitmap read zeros there"
                )
                yield found("vhd-bitmap-cleared", place, message)
                return

    def _data(self, place: Range) -> int | None:
        """Offset of the first nonzero sector, within the read limit."""
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
