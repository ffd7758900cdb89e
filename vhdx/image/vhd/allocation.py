"""Space for payload in a VHD: which blocks are allocated, what must be zeroed, table and bitmaps afterwards."""

from collections.abc import Sequence

from vhdx.extents import Range, gaps
from vhdx.format.vhd_bat import SECTOR
from vhdx.image.placing import Visit, by_block, places_of
from vhdx.image.underway import UnderWay
from vhdx.image.vhd.file import VhdFile
from vhdx.storage import transfer


class VhdAllocation:
    """Space for one call of `allocate`: prepared, adopted once the payload is written, always left.

    A crash before the next commit leaves each sector old or new: payload in a block to which the table does not refer
    yet, or in a sector whose bit is not set, is not visible; elsewhere it is the new content itself.
    """

    def __init__(self, file: VhdFile, ranges: Sequence[Range]) -> None:
        self._file = file
        layout = file.layout
        self._stale: list[Range] = []
        self._parts = by_block(ranges, layout.block_size)
        self._visit = Visit(file.latches.blocks)
        with file.latches.looking():
            try:
                self._visit.join(self._parts, self._begin)
                file.grow()
                transfer.zero(file.storage, self._stale)
            except BaseException:
                self.leave()
                raise
        joined = self._visit.joined
        found = ((number, joined[number].place + layout.bitmap_size, self._parts[number]) for number in joined)
        self.places = places_of(found, layout.block_size)

    def _begin(self, number: int, parts: list[Range]) -> UnderWay:
        """Allocate for a block that has no other writer."""
        layout = self._file.layout
        place = self._file.table.place(number)
        if place is not None:
            return UnderWay(place, is_taken=False, is_open=True)
        found = self._file.take_block()
        if found.fresh or layout.has_parent:
            return UnderWay(found.offset, is_taken=True, is_open=True)
        data = found.offset + layout.bitmap_size
        self._stale += [Range(data + rest.offset, rest.length) for rest in gaps(parts, 0, layout.block_size)]
        # The payload replaces stale bytes: until it is written, no other writer may adopt the block.
        return UnderWay(found.offset, is_taken=True, is_open=False)

    def adopt(self) -> None:
        """Stage the table entries and bitmaps of the blocks; their payload has been written."""
        for number, parts in self._parts.items():
            # Half of a step must not be committed, whatever interrupts it.
            with self._file.staging(), self._file.life.poisoning((BaseException,)):
                self._adopt(number, parts)

    def _adopt(self, number: int, parts: list[Range]) -> None:
        file = self._file
        under_way = self._visit.joined[number]
        sectors = [Range(part.offset // SECTOR, part.length // SECTOR) for part in parts]
        if under_way.is_taken:
            file.bitmaps.start(number, under_way.place, sectors if file.layout.has_parent else None)
            file.table.set_place(number, under_way.place)
            self._visit.adopted(number)
        elif file.layout.has_parent:
            file.bitmaps.put(number, under_way.place, sectors, value=True)
        else:
            # Other programs read the bitmap of a dynamic VHD, too.
            file.bitmaps.fill(number, under_way.place)

    def leave(self) -> None:
        """No more payload is written there; free the space that was allocated and not adopted."""
        with self._file.latches.looking():
            self._visit.leave(self._give_back)

    def _give_back(self, place: int) -> None:
        assert self._file.space is not None
        self._file.space.give_back(place)

