"""Places for payload in a VHD: which blocks get space, what else must be zeroed, what table and bitmaps say then."""

from collections.abc import Sequence

from vhdx.extents import Range, gaps
from vhdx.format.vhd_bat import SECTOR
from vhdx.image.placing import Visit, by_block, places_of
from vhdx.image.underway import UnderWay
from vhdx.image.vhd.file import VhdFile
from vhdx.storage import transfer


class VhdAllocation:
    """Space for one call of `allocate`: prepared, adopted when the payload is there, and left.

    A crash before the next commit leaves each sector old or new: what is written to a block that the table does not
    name yet, or to a sector whose bit is not set, is not seen; and elsewhere it is the new content itself.
    """

    def __init__(self, file: VhdFile, ranges: Sequence[Range]) -> None:
        self._file = file
        layout = file.layout
        self._stale: list[Range] = []
        self._visit = Visit(file.latches, by_block(ranges, layout.block_size))
        with file.latches.looking():
            try:
                self._visit.join(self._begin)
                file.grow()
                transfer.zero(file.storage, self._stale)
            except BaseException:
                self.leave()
                raise
        joined, parts = self._visit.joined, self._visit.parts
        found = ((number, joined[number].place + layout.bitmap_size, parts[number]) for number in joined)
        self.places = places_of(found, layout.block_size)

    def _begin(self, number: int, parts: list[Range]) -> UnderWay:
        """Nobody else is at the block."""
        layout = self._file.layout
        place = self._file.table.place(number)
        if place is not None:
            return UnderWay(place, is_taken=False, is_open=True)
        found = self._file.take_block()
        if found.fresh or layout.has_parent:
            return UnderWay(found.offset, is_taken=True, is_open=True)
        data = found.offset + layout.bitmap_size
        self._stale += [Range(data + rest.offset, rest.length) for rest in gaps(parts, 0, layout.block_size)]
        # Stale bytes lie where the payload goes: until it is there, nobody else may make the table name the block.
        return UnderWay(found.offset, is_taken=True, is_open=False)

    def adopt(self) -> None:
        """Stage what table and bitmaps have to say about the blocks, now that their payload is written."""
        for number, parts in self._visit.parts.items():
            # Half of a step must not be committed, whatever breaks it off.
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
            # Others believe the bitmap of a dynamic block, too.
            file.bitmaps.fill(number, under_way.place)

    def leave(self) -> None:
        """Payload goes there no more; nothing refers to the space that was taken and not adopted."""
        with self._file.latches.looking():
            self._visit.leave(self._give_back)

    def _give_back(self, place: int) -> None:
        assert self._file.space is not None
        self._file.space.give_back(place)

