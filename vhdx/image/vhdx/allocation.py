"""Places for payload: which blocks get space, what else must be zeroed, and what the BAT says afterwards."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from vhdx.extents import Extent, Range, gaps
from vhdx.format import bat
from vhdx.format.bat import PayloadState
from vhdx.format.log import PAGE
from vhdx.image.placing import allocating, by_block, places_of
from vhdx.image.vhdx.file import VhdxFile
from vhdx.storage import transfer


@dataclass(slots=True)
class _Block:
    """One block that payload goes to. *new_state* is None where the table already says the right thing."""

    number: int
    place: int
    new_state: PayloadState | None
    taken: bool  # the place was handed out for this allocation
    new_bitmap: bool  # its bits start out all clear
    ranges: list[Range] = field(default_factory=list)


class Allocation:
    """Space for one call of `allocate`: prepared, then adopted when the payload is there, or given back."""

    def __init__(self, file: VhdxFile, ranges: Sequence[Range]) -> None:
        self._file = file
        self._blocks: dict[int, _Block] = {}
        self._bitmaps: dict[int, int] = {}
        try:
            self.places = self._prepare(ranges)
        except BaseException:
            self.give_back()
            raise

    def _prepare(self, ranges: Sequence[Range]) -> list[Extent]:
        layout = self._file.layout
        for number, parts in by_block(ranges, layout.block_size).items():
            self._blocks[number] = self._open(number, parts)
        found = ((block.number, block.place, block.ranges) for block in self._blocks.values())
        return places_of(found, layout.block_size)

    def _open(self, number: int, parts: list[Range]) -> _Block:
        file, layout = self._file, self._file.layout
        raw = file.table.payload(number)
        state, place = bat.state(raw), bat.place(raw)
        if place is not None and state == PayloadState.FULLY_PRESENT:
            return _Block(number, place, None, taken=False, new_bitmap=False, ranges=parts)
        length = min(layout.block_size, layout.virtual_size - number * layout.block_size)
        rest = list(gaps(parts, 0, length))
        if place is not None and state == PayloadState.PARTIALLY_PRESENT:
            new = PayloadState.PARTIALLY_PRESENT if rest else PayloadState.FULLY_PRESENT
            return _Block(number, place, new, taken=False, new_bitmap=False, ranges=parts)
        # A block that was unmapped may have kept its place; what it held there must not come back.
        anchored = place is not None
        fresh = False
        if place is None:
            place, fresh = file.take(layout.block_size)
        block = _Block(number, place, PayloadState.FULLY_PRESENT, taken=not anchored, new_bitmap=True, ranges=parts)
        self._blocks[number] = block
        if rest and layout.has_parent and state == PayloadState.NOT_PRESENT:
            block.new_state = PayloadState.PARTIALLY_PRESENT
            self._ensure_bitmap(layout.chunk_of(number))
        elif rest and not fresh:
            transfer.zero(file.storage, [(place + part.offset, part.length) for part in rest])
        return block

    def _ensure_bitmap(self, chunk: int) -> None:
        if chunk in self._bitmaps or self._file.table.bitmap_block(chunk) is not None:
            return
        place, _ = self._file.take(bat.BITMAP_BLOCK_SIZE)
        self._bitmaps[chunk] = place
        # Real zeros, not a hole: putting bits in place after the commit must not run out of space.
        self._file.storage.write([(place, bytes(bat.BITMAP_BLOCK_SIZE))])
        self._file.pages.forget(place, bat.BITMAP_BLOCK_SIZE)

    def adopt(self) -> None:
        """Stage what the table has to say about the blocks, now that their payload is written."""
        table, sector = self._file.table, self._file.layout.logical_sector_size
        for block in self._blocks.values():
            if block.new_state is None:
                continue
            self._file.make_room(pages_per_block(self._file))
            chunk = self._file.layout.chunk_of(block.number)
            if chunk in self._bitmaps:
                table.set_bitmap_block(chunk, self._bitmaps.pop(chunk))
            state = block.new_state
            if state is PayloadState.PARTIALLY_PRESENT:
                sectors = [Range(part.offset // sector, part.length // sector) for part in block.ranges]
                if table.put_bits(block.number, sectors, only=block.new_bitmap):
                    state = PayloadState.FULLY_PRESENT
            table.set_payload(block.number, state, block.place)
        self._blocks.clear()

    def give_back(self) -> None:
        """The payload did not get there: nothing refers to the space that was taken."""
        space = self._file.space
        assert space is not None
        for block in self._blocks.values():
            if block.taken:
                space.give_back(block.place, self._file.layout.block_size)
        for place in self._bitmaps.values():
            space.give_back(place, bat.BITMAP_BLOCK_SIZE)
        self._blocks.clear()
        self._bitmaps.clear()


def pages_per_block(file: VhdxFile) -> int:
    """The most pages that staging one block touches: its entry, its bitmap's entry, its bits."""
    return 3 + -(-file.layout.bitmap_bytes // PAGE)


def allocate(file: VhdxFile, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
    """Places for *ranges*; a clean exit stages them, an exception gives the space back.

    A crash before the next commit leaves each sector old or new: what is written to a block that the table does not
    name yet is not seen, and what is written to one that it names is the new content itself.
    """

    def prepare() -> Allocation:
        file.begin()
        return Allocation(file, ranges)

    return allocating(file, prepare)
