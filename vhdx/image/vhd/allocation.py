"""Places for payload in a VHD: which blocks get space, what else must be zeroed, what table and bitmaps say then."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from vhdx.errors import FormatError
from vhdx.extents import Extent, Range, gaps
from vhdx.format.vhd_bat import SECTOR
from vhdx.image.placing import allocating, by_block, places_of
from vhdx.image.vhd.file import VhdFile
from vhdx.storage import transfer


@dataclass(slots=True)
class _Block:
    """One block that payload goes to, and the ranges of it that it covers."""

    number: int
    place: int
    taken: bool  # the place was handed out for this allocation
    ranges: list[Range]


class VhdAllocation:
    """Space for one call of `allocate`: prepared, then adopted when the payload is there, or given back."""

    def __init__(self, file: VhdFile, ranges: Sequence[Range]) -> None:
        self._file = file
        self._blocks: list[_Block] = []
        try:
            self.places = self._prepare(ranges)
        except BaseException:
            self.give_back()
            raise

    def _prepare(self, ranges: Sequence[Range]) -> list[Extent]:
        layout = self._file.layout
        stale: list[Range] = []
        for number, parts in by_block(ranges, layout.block_size).items():
            place = self._file.table.place(number)
            if place is not None:
                self._blocks.append(_Block(number, place, taken=False, ranges=parts))
                continue
            fresh = self._file.take_block()
            self._blocks.append(_Block(number, fresh.offset, taken=True, ranges=parts))
            if not fresh.fresh and not layout.has_parent:
                data = fresh.offset + layout.bitmap_size
                stale += [Range(data + rest.offset, rest.length) for rest in gaps(parts, 0, layout.block_size)]
        self._file.grow()
        transfer.zero(self._file.storage, stale)
        found = ((block.number, block.place + layout.bitmap_size, block.ranges) for block in self._blocks)
        return places_of(found, layout.block_size)

    def adopt(self) -> None:
        """Stage what table and bitmaps have to say about the blocks, now that their payload is written."""
        file = self._file
        while self._blocks:
            block = self._blocks[-1]
            file.make_room()
            sectors = [Range(part.offset // SECTOR, part.length // SECTOR) for part in block.ranges]
            if block.taken:
                file.bitmaps.start(block.number, block.place, sectors if file.layout.has_parent else None)
                file.table.set_place(block.number, block.place)
            elif file.layout.has_parent:
                file.bitmaps.put(block.number, block.place, sectors, value=True)
            else:
                # Others believe the bitmap of a dynamic block, too.
                file.bitmaps.fill(block.number, block.place)
            self._blocks.pop()

    def give_back(self) -> None:
        """The payload did not get there: nothing refers to the space that was taken."""
        space = self._file.space
        assert space is not None
        for block in self._blocks:
            if block.taken:
                space.give_back(block.place)
        self._blocks.clear()


def settled_place(file: VhdFile, offset: int, length: int) -> int | None:
    """Where a range of whole sectors lies in one piece, when writing there changes neither the table nor bitmaps.

    None where it may, or where the table is not right. For whoever holds both locks of a file that was touched.
    """
    layout = file.table.layout
    block, within = divmod(offset, layout.block_size)
    inside = offset >= 0 and 0 < length <= min(layout.block_size - within, layout.virtual_size - offset)
    if not inside or not file.footers.settled:
        return None
    try:
        place = file.table.place(block)
        if place is None or not file.bitmaps.are_set(block, place, within // SECTOR, (within + length) // SECTOR):
            return None
    except FormatError:
        return None
    return place + file.table.bitmap_size + within


def allocate(file: VhdFile, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
    """Places for *ranges*; a clean exit stages them, an exception gives the space back.

    A crash before the next commit leaves each sector old or new: what is written to a block that the table does not
    name yet, or to a sector whose bit is not set, is not seen; and elsewhere it is the new content itself.
    """

    def prepare() -> VhdAllocation:
        file.touch()
        return VhdAllocation(file, ranges)

    return allocating(file, prepare)
