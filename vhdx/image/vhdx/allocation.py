"""Space for payload: which blocks are allocated, what else must be zeroed, and the BAT entries afterwards."""

from collections.abc import Sequence

from vhdx.extents import Range, gaps
from vhdx.format import bat
from vhdx.format.bat import PRESENT, PayloadState
from vhdx.format.log import PAGE
from vhdx.image.placing import Visit, by_block, places_of
from vhdx.image.underway import UnderWay
from vhdx.image.vhdx.file import VhdxFile
from vhdx.storage import transfer


class Allocation:
    """Space for one call of `allocate`: prepared, adopted once the payload is written, always left.

    A crash before the next commit leaves each sector old or new: payload in a block to which the table does not refer
    yet, or in a sector whose bit is not set, is not visible; elsewhere it is the new content itself.

    Several calls may write payload to one block. The first to be adopted stages the block's entry, with the bits of its
    own sectors; each other one adds its bits.
    """

    def __init__(self, file: VhdxFile, ranges: Sequence[Range]) -> None:
        self._file = file
        size = file.layout.block_size
        self._parts = by_block(ranges, size)
        self._visit, self._bitmaps = Visit(file.latches.blocks), Visit(file.bitmaps)
        with file.latches.looking():
            try:
                self._visit.join(self._parts, self._begin)
                self._join_bitmaps()
            except BaseException:
                self.leave()
                raise
        joined = self._visit.joined
        self.places = places_of(((number, joined[number].place, self._parts[number]) for number in joined), size)

    def _begin(self, number: int, parts: list[Range]) -> UnderWay:
        """Allocate for a block that has no other writer."""
        file, layout = self._file, self._file.layout
        raw = file.table.payload(number)
        state, place = bat.state(raw), bat.place(raw)
        if place is not None and state in PRESENT:
            return UnderWay(place, is_taken=False, is_open=True)
        # An unmapped block may have kept its space; its previous content must not reappear.
        anchored = place is not None
        fresh = False
        if place is None:
            place, fresh = file.take(layout.block_size)
        masked = layout.has_parent and state == PayloadState.NOT_PRESENT
        if masked or fresh:
            return UnderWay(place, is_taken=not anchored, is_open=True)
        try:
            rest = self._rest(number, parts)
            transfer.zero(file.storage, [(place + part.offset, part.length) for part in rest])
        except BaseException:
            if not anchored:
                self._give_back(place)
            raise
        # The payload replaces stale bytes: until it is written, no other writer may adopt the block.
        return UnderWay(place, is_taken=not anchored, is_open=False)

    def _rest(self, number: int, parts: list[Range]) -> list[Range]:
        """What *parts* leave of a block, up to the end of the disk."""
        layout = self._file.layout
        return list(gaps(parts, 0, min(layout.block_size, layout.virtual_size - number * layout.block_size)))

    def _join_bitmaps(self) -> None:
        """A sector-bitmap block for each chunk in which bits will be set."""
        layout, table = self._file.layout, self._file.table
        if not layout.has_parent:
            return
        for number, parts in self._parts.items():
            is_masked = bat.state(table.payload(number)) == PayloadState.NOT_PRESENT
            if is_masked and self._rest(number, parts):
                chunk = layout.chunk_of(number)
                if chunk not in self._bitmaps.joined and table.bitmap_block(chunk) is None:
                    self._bitmaps.join({chunk: []}, self._new_bitmap)

    def _new_bitmap(self, chunk: int, parts: list[Range]) -> UnderWay:  # noqa: ARG002  all chunks alike
        file = self._file
        place, _ = file.take(bat.BITMAP_BLOCK_SIZE)
        try:
            # Real zeros, not a hole: putting bits in place after the commit must not run out of space.
            file.storage.write([(place, bytes(bat.BITMAP_BLOCK_SIZE))])
        except BaseException:
            self._give_back_bitmap(place)
            raise
        file.pages.forget(place, bat.BITMAP_BLOCK_SIZE)
        return UnderWay(place, is_taken=True, is_open=True)

    def adopt(self) -> None:
        """Stage the entries of the blocks, each in one step; their payload has been written."""
        for number, parts in self._parts.items():
            # Half of a step must not be committed, whatever interrupts it.
            with self._file.staging(pages_per_block(self._file)), self._file.life.poisoning((BaseException,)):
                self._adopt(number, parts)

    def _adopt(self, number: int, parts: list[Range]) -> None:
        table, layout = self._file.table, self._file.layout
        before = bat.state(table.payload(number))
        if before == PayloadState.FULLY_PRESENT:
            return
        is_whole = not self._rest(number, parts)
        state = PayloadState.FULLY_PRESENT
        if not is_whole and layout.has_parent and before in (PayloadState.NOT_PRESENT, PayloadState.PARTIALLY_PRESENT):
            chunk, sector = layout.chunk_of(number), layout.logical_sector_size
            if table.bitmap_block(chunk) is None:
                table.set_bitmap_block(chunk, self._bitmaps.joined[chunk].place)
                self._bitmaps.adopted(chunk)
            sectors = [Range(part.offset // sector, part.length // sector) for part in parts]
            if not table.put_bits(number, sectors, only=before == PayloadState.NOT_PRESENT):
                state = PayloadState.PARTIALLY_PRESENT
        table.set_payload(number, state, self._visit.joined[number].place)
        self._visit.adopted(number)

    def leave(self) -> None:
        """No more payload is written there; free the space that was allocated and not adopted."""
        with self._file.latches.looking():
            self._visit.leave(self._give_back)
            self._bitmaps.leave(self._give_back_bitmap)

    def _give_back(self, place: int) -> None:
        assert self._file.space is not None
        self._file.space.give_back(place, self._file.layout.block_size)

    def _give_back_bitmap(self, place: int) -> None:
        assert self._file.space is not None
        self._file.space.give_back(place, bat.BITMAP_BLOCK_SIZE)


def pages_per_block(file: VhdxFile) -> int:
    """The most pages that staging one block touches: its entry, its bitmap's entry, its bits."""
    return 3 + -(-file.layout.bitmap_bytes // PAGE)
