"""The parts of one open VHD with blocks that its operations share, and the commit of all of them.

There is no journal, so a commit is an order: payload and the bitmaps of new blocks; flush; the sectors of the block
table and the bitmaps of older blocks, each of which is there whole or not at all and says nothing that is not yet
true; flush. In a file of blktap, what is no longer full is not called so before any of that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial

from vhdx.errors import Error, FormatError, OutOfSpace, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format.vhd_bat import VhdLayout
from vhdx.format.vhd_footer import SIZE, Footer
from vhdx.format.vhd_header import HEADER, DynamicHeader
from vhdx.image.base import ParentLink
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle, State
from vhdx.image.vhd.batmap import Batmap, find_batmap
from vhdx.image.vhd.bitmaps import Bitmaps
from vhdx.image.vhd.footers import Footers
from vhdx.image.vhd.space import VhdFreshPlace, VhdSpace
from vhdx.image.vhd.survey import survey
from vhdx.image.vhd.table import VhdTable
from vhdx.storage import transfer
from vhdx.storage.base import Storage

_MOST_STAGED = 8 << 20


class VhdCommitOrder(Enum):
    """The order of a commit; anything but PAYLOAD_TABLE loses data in a crash, and is there to prove the tests."""

    PAYLOAD_TABLE = "payload, table"
    TABLE_BEFORE_PAYLOAD = "table, payload"


@dataclass(slots=True)
class VhdFile:
    """One open file. *space* is known once somebody has asked for it, at the latest when the first change begins.

    Everything but payload is looked at and changed under the lock of *latches*.
    """

    storage: Storage
    latches: Latches
    footers: Footers
    header: DynamicHeader
    table: VhdTable
    bitmaps: Bitmaps
    link: ParentLink | None
    warnings: tuple[str, ...] = ()
    order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE
    building: bool = False
    space: VhdSpace | None = None
    batmap: Batmap | None = None
    tidy: "Callable[[VhdFile], None]" = lambda _: None  # before a file that was changed is closed

    @property
    def life(self) -> LifeCycle:
        return self.latches.life

    @property
    def footer(self) -> Footer:
        return self.footers.footer

    @property
    def layout(self) -> VhdLayout:
        return self.table.layout

    def touch(self) -> VhdSpace:
        """Before any byte of the file changes: survey it and make both footers sound and equal, durably.

        Raises FormatError when two structures lie on each other: writing to one would change the other.
        """
        self.life.check_usable()
        space = self.surveyed()
        self.life.enter(State.BEGUN)
        if not self.footers.settled:
            with self.life.poisoning():
                self.footers.settle(space.used_end)
        if self.batmap is not None and self.batmap.place != self.batmap.home and self.batmap.spare is None:
            self._bring_batmap_home(self.batmap, space)
        return space

    def surveyed(self) -> VhdSpace:
        """What lies where, looked at once. Raises FormatError when two structures lie on each other."""
        if self.space is None:
            end = self.footers.end
            limit = self.storage.size() if end is None else end
            batmap = find_batmap(self.storage, self.footer, self.header, limit)
            own = [] if batmap is None else batmap.structures
            self.space = survey(self.storage, self.table, self.header, self.footer.data_offset, end, own=own)
            self.batmap = batmap
        return self.space

    def is_apart(self) -> bool:
        """Whether no two structures are known to share a place; of a file to be written to it is found out now."""
        if self.space is None and self.storage.writable:
            with suppress(FormatError, UnsupportedFeature):
                self.surveyed()
        return self.space is not None

    def _bring_batmap_home(self, batmap: Batmap, space: VhdSpace) -> None:
        """The bits go from elsewhere, where a commit or a stop has left them, to where nothing else is."""
        away = batmap.place
        if space.claim(batmap.home):
            self.grow()
            with self.life.poisoning():
                batmap.go(self.storage, batmap.home)
            space.drop(away.offset)

    def not_full(self, block: int) -> None:
        """Stage, where a map calls it full, that a block is not; before what makes it so. Raises OutOfSpace."""
        batmap = self.batmap
        if batmap is None or not batmap.calls_full(block):
            return
        if batmap.spare is None:
            place = Range(self.take_bytes(len(batmap.bits)).offset, len(batmap.bits))
            transfer.reserve(self.storage, [place])
            batmap.spare = place
        batmap.clear(block)

    def commit(self) -> None:
        """Everything so far durable; what is staged meanwhile is for the next."""
        with self.latches.commits.turn:
            if self.batmap is None:
                self._commit()
            else:
                # What the map calls full and what is written must not part for a moment.
                with self.latches.lock:
                    self._commit()

    def _commit(self) -> None:
        with self.latches.lock:
            self.life.check_usable()
            with self.life.poisoning():
                for block in self.bitmaps.partial() if self.batmap is not None else ():
                    self.not_full(block)
            new, changed = self.bitmaps.freeze()
            late = self.table.freeze() + changed
            if self.space is not None:
                self.space.freeze()
        with self.life.poisoning():
            self.storage.write(new)
            spare = None if self.batmap is None else self.batmap.spare
            if self.batmap is not None and self.space is not None and spare is not None:
                before = self.batmap.place
                self.batmap.go(self.storage, spare)
                self.space.drop(before.offset)
            if late and self.order is VhdCommitOrder.PAYLOAD_TABLE and not self.building:
                self.storage.flush()
            with self.latches.lock:
                self.bitmaps.named()
            self.storage.write(late)
            self.storage.flush()
            if self.batmap is not None and self.space is not None and spare is not None:
                self.batmap.spare = None
                self._bring_batmap_home(self.batmap, self.space)
        with self.latches.lock:
            self.table.settle()
            self.bitmaps.settle()
            if self.space is not None:
                freed = self.space.settle()
                if freed:
                    self.latches.retire(partial(self.space.free, freed))

    @contextmanager
    def staging(self) -> Iterator[None]:
        """Tables to be changed in one step."""
        self.make_room()
        with self.latches.looking():
            yield

    def make_room(self) -> None:
        """Commit early when much is staged already: once for all who find it so."""
        if self._is_much_staged():
            with self.latches.commits.turn:
                if self._is_much_staged():
                    self.commit()

    def _is_much_staged(self) -> bool:
        return self.table.staged_size + self.bitmaps.staged_size > _MOST_STAGED

    def take_block(self) -> VhdFreshPlace:
        """A place for a block; the file is grown to hold it by `grow`."""
        assert self.space is not None
        return self.space.take_block()

    def grow(self) -> None:
        """Let the file hold everything that was taken. Raises OutOfSpace with the file as before."""
        assert self.space is not None
        try:
            self.footers.make_room(self.space.used_end)
        except (OutOfSpace, UnsupportedFeature):
            raise
        except (OSError, Error) as error:
            self.life.fail(error, "the file could not grow")
            raise

    def take_bytes(self, length: int) -> VhdFreshPlace:
        """A place for a structure that is no block, the file grown to hold it. Raises OutOfSpace."""
        assert self.space is not None
        place = self.space.take_bytes(length)
        try:
            self.grow()
        except BaseException:
            self.space.drop(place.offset)
            raise
        return place

    def close(self) -> None:
        """Flush, tidy, cut free space off the end, close the storage; after a failure only that.

        Waits for changes that are under way; whoever comes later finds it closed.
        """
        try:
            self.settle()
        finally:
            self.storage.close()

    def settle(self) -> None:
        """All of `close` but closing the storage, which is the caller's from here on."""
        self.life.end(self._finish)

    def _finish(self) -> None:
        with self.latches.changing():
            self.commit()
            assert self.space is not None
            with self.life.poisoning():
                self.tidy(self)
                self.footers.trim(self.space.used_end)
                if self.building:
                    self.footers.finish()
                    self.storage.flush()

    @property
    def fixed_places(self) -> list[Range]:
        """What no block and no table may lie on: the copy of the footer, and the dynamic header."""
        return fixed_places(self.footer.data_offset)


def fixed_places(header_offset: int) -> list[Range]:
    """The copy of the footer, and the dynamic header."""
    return [Range(0, SIZE), Range(header_offset, HEADER.size)]
