"""The parts of one open VHDX that its operations share: tables, space, headers and the commit of all of them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from vhdx.errors import FormatError, OutOfSpace, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import bat, metadata, region
from vhdx.format.bat import BatLayout, BitmapState, PayloadState
from vhdx.format.header import AREA
from vhdx.format.metadata import DiskMetadata, TableEntry
from vhdx.format.region import RegionEntry
from vhdx.image.base import NewId, ParentLink
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle, State
from vhdx.image.underway import BlocksUnderWay
from vhdx.image.vhdx.headers import Headers
from vhdx.image.vhdx.journal import Journal
from vhdx.image.vhdx.pages import Pages
from vhdx.image.vhdx.space import FreshPlace, SpaceMap
from vhdx.image.vhdx.table import BlockTable
from vhdx.storage.base import Storage


@dataclass(slots=True)
class VhdxFile:
    """One open file. *space* is known at the latest when the first change begins.

    *journal* is None in a file that was opened to read. Everything but payload is looked at and changed under the lock
    of *latches*. *bitmaps* are the places taken for sector-bitmap blocks that the table does not name yet, by chunk.
    """

    storage: Storage
    latches: Latches
    creator: str
    headers: Headers
    regions: list[RegionEntry]
    items: list[TableEntry]
    metadata: DiskMetadata
    pages: Pages
    table: BlockTable
    new_id: NewId
    link: ParentLink | None = None
    journal: Journal | None = None
    space: SpaceMap | None = None
    bitmaps: BlocksUnderWay = field(init=False)

    def __post_init__(self) -> None:
        self.bitmaps = BlocksUnderWay(self.latches.lock)

    @property
    def life(self) -> LifeCycle:
        return self.latches.life

    @property
    def layout(self) -> BatLayout:
        return self.table.layout

    def touch(self) -> SpaceMap:
        """Before any byte of the file changes: survey it, then a fresh FileWriteGuid, durable.

        A file that ends inside its last block, behind the end of the disk, is then grown to hold it.

        Raises FormatError when two structures lie on each other: writing to one would change the other.
        """
        self.life.check_usable()
        space = self.surveyed()
        if not self.life.is_changed:
            with self.life.poisoning():
                self.headers.update(both_slots=False)
                self._hold_last_block(space)
            self.life.enter(State.TOUCHED)
        return space

    def _hold_last_block(self, space: SpaceMap) -> None:
        if space.used_end > space.file_size:
            self.storage.truncate(space.used_end)
            space.grown(space.used_end)

    def surveyed(self) -> SpaceMap:
        """What lies where, looked at once. Raises FormatError when two structures lie on each other."""
        if self.space is None:
            self.space = survey(self)
        return self.space

    def is_apart(self) -> bool:
        """Whether no two structures are known to share a place; of a file to be written to it is found out now."""
        if self.space is None and self.storage.writable:
            with suppress(FormatError, UnsupportedFeature):
                self.surveyed()
        return self.space is not None

    def begin(self, data_write_guid: UUID | None = None) -> SpaceMap:
        """Before the content of the disk changes: as `touch`, and a fresh or the given DataWriteGuid, durable.

        Both GUIDs change in one update of the headers where neither did before.
        """
        self.life.check_usable()
        space = self.surveyed()
        is_another = data_write_guid is not None and data_write_guid != self.headers.header.data_write_guid
        if self.life.state is not State.BEGUN or is_another:
            with self.life.poisoning():
                self.headers.update(data_write_guid=data_write_guid or self.new_id())
                self._hold_last_block(space)
            self.life.enter(State.BEGUN)
        return space

    def commit(self) -> None:
        """Everything so far durable, in one consistent step; what is staged meanwhile is for the next."""
        with self.latches.commits.turn:
            with self.latches.lock:
                self.life.check_usable()
                staged, size = self.pages.freeze(), self.storage.size()
                if self.space is not None:
                    self.space.freeze()
            assert self.journal is not None
            with self.life.poisoning():
                self.journal.commit(staged, size)
            with self.latches.lock:
                self.pages.settle()
                if self.space is not None:
                    freed = self.space.settle()
                    if freed:
                        self.latches.retire(partial(self.space.free, freed))

    @contextmanager
    def staging(self, pages: int) -> Iterator[None]:
        """Tables to be changed in one step, which stages *pages* at most: there is room for them in a commit."""
        while True:
            with self.latches.looking():
                if self._has_room(pages):
                    yield
                    return
            self.make_room(pages)

    def _has_room(self, pages: int) -> bool:
        assert self.journal is not None
        return self.pages.staged_count + pages <= self.journal.most_pages

    def make_room(self, pages: int) -> None:
        """Commit early when *pages* more might not fit into one log entry."""
        with self.latches.commits.turn:
            if not self._has_room(pages):
                self.commit()

    def take(self, length: int) -> FreshPlace:
        """Space for *length* bytes (whole MiB), the file grown to hold it. Raises OutOfSpace."""
        assert self.space is not None
        place = self.space.allocate(length)
        if place.offset + length > self.space.file_size:
            try:
                self.storage.truncate(place.offset + length)
            except OutOfSpace:
                self.space.give_back(place.offset, length)
                raise
            self.space.grown(place.offset + length)
        return place

    def close(self) -> None:
        """Flush, take the log out of use, cut free space off the end, close the storage; after a failure only that.

        Waits for changes that are under way; whoever comes later finds it closed.
        """
        try:
            self.settle()
        finally:
            self.storage.close()

    def checkpoint(self) -> None:
        """Everything durable in its place, and the log out of use until the next commit.

        A child that is made from here on records the DataWriteGuid as it is, so the next change of content has another.
        """
        if self.life.state not in (State.READING, State.UNTOUCHED):
            self.commit()
            assert self.journal is not None
            with self.life.poisoning():
                self.journal.close()
            self.life.enter(State.TOUCHED)

    def settle(self) -> None:
        """All of `close` but closing the storage, which is the caller's from here on."""
        self.life.end(self._finish)

    def _finish(self) -> None:
        with self.latches.changing():
            self.checkpoint()
            with self.life.poisoning():
                if self.space is not None and self.least_size < self.space.file_size:
                    self.storage.truncate(self.least_size)

    @property
    def least_size(self) -> int:
        """What the file may be cut to: a fixed image keeps room for every block."""
        assert self.space is not None
        if not self.metadata.leave_block_allocated:
            return self.space.used_end
        structures = sum(entry.length for entry in self.regions) + self.headers.header.log_length
        blocks = self.layout.payload_blocks * self.layout.block_size
        return max(self.space.used_end, AREA + structures + blocks)

    @property
    def metadata_region(self) -> Range:
        return region.find(self.regions, region.METADATA)

    def item(self, item_id: UUID) -> TableEntry | None:
        """The entry of a system item."""
        return metadata.system_items(self.items).get(item_id)


def survey(file: VhdxFile) -> SpaceMap:
    """What lies where: headers, log, regions, every block and bitmap; nothing twice, nothing behind the end.

    One pass over the part of the BAT that is not holes. Raises FormatError.
    """
    space = survey_structures(file)
    _survey_blocks(file, space)
    return space


def survey_structures(file: VhdxFile) -> SpaceMap:
    """Where headers, log and regions lie: all that is taken in a file without blocks. Raises FormatError."""
    size = file.storage.size()
    space = SpaceMap(size)
    space.take("headers", 0, AREA, within=size)
    log = file.headers.header.log
    if log.length:
        space.take("log", log.offset, log.length, within=size)
    for entry in file.regions:
        space.take(f"region {entry.guid}", entry.file_offset, entry.length, within=size)
    return space


def _survey_blocks(file: VhdxFile, space: SpaceMap) -> None:
    partial, mapped = set(), set()
    layout = file.layout
    for index, raw in file.table.scan(file.storage):
        chunk, within = divmod(index, layout.chunk_ratio + 1)
        if within == layout.chunk_ratio:
            place = _bitmap_place(file.table, index, raw)
            if place is not None:
                mapped.add(chunk)
                _take(space, file, index, "sector bitmap", Range(place, bat.BITMAP_BLOCK_SIZE))
            continue
        block = index - chunk
        if block >= layout.payload_blocks:
            continue
        reason = bat.payload_fault(raw, has_parent=layout.has_parent)
        if reason:
            raise bat.fault(index, file.table.region, reason)
        if bat.state(raw) == PayloadState.PARTIALLY_PRESENT:
            partial.add(chunk)
        place = bat.place(raw)
        if place is not None:
            # A fixed image of qemu ends where its disk does, inside the last block; `touch` lets it hold all of it.
            ends_early = place + bat.covered(layout, index) <= space.file_size
            within = max(space.file_size, place + layout.block_size) if ends_early else space.file_size
            _take(space, file, index, "payload block", Range(place, layout.block_size), within=within)
    for chunk in partial - mapped:
        reason = "a block of the chunk is partially present, yet there is no sector bitmap"
        raise bat.fault(layout.bitmap_index(chunk), file.table.region, reason)


def _take(space: SpaceMap, file: VhdxFile, index: int, owner: str, place: Range, *, within: int = 0) -> None:
    try:
        space.take(owner, place.offset, place.length, within=within or space.file_size)
    except FormatError as error:
        raise bat.fault(index, file.table.region, f"{error.structure}: {error.reason}") from None


def _bitmap_place(table: BlockTable, index: int, raw: int) -> int | None:
    reason = bat.bitmap_fault(raw)
    if reason:
        raise bat.fault(index, table.region, reason)
    return bat.file_offset(raw) if bat.state(raw) == BitmapState.PRESENT else None
