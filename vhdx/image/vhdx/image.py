"""One VHDX over one storage: dynamic, differencing or fixed (MS-VHDX).

Any number of threads may read, and one at a time changes it. Crash guarantee: whatever part of the writes since the
last `flush` survives, the image opens, everything before that flush is there, and each later sector is old or new.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from vhdx.errors import FormatError
from vhdx.extents import NOT_PRESENT, Extent, Presence, Range, all_equal, bit_runs, coalesce
from vhdx.image.base import ALLOCATE_LIMIT, DiskType, ImageFormat, ImageInfo, LogState, ParentLink, Progress
from vhdx.image.lifecycle import Owner, State
from vhdx.image.pin import Pin
from vhdx.image.ranges import check_range
from vhdx.image.vhdx import allocation, clearing, detaching, packing, resizing
from vhdx.image.vhdx import parent as vhdx_parent
from vhdx.image.vhdx import sharing as vhdx_sharing
from vhdx.image.vhdx.file import VhdxFile
from vhdx.image.vhdx.journal import LogJournal
from vhdx.storage.base import Buffer, Storage


class VhdxImage:
    """Implements `vhdx.image.base.Image`; made by `open_vhdx` and `create_vhdx`."""

    def __init__(self, file: VhdxFile, *, log_entries: int = 0) -> None:
        self._file = file
        self._pin = Pin(file)
        self._log_entries = log_entries
        # Under construction it is nobody's, and goes with its storage.
        is_logged = isinstance(file.journal, LogJournal)
        self._owner = Owner(self, file.storage.name, file.close if is_logged else None)

    @property
    def storage(self) -> Storage:
        """Where payload lies; with a log that was not replayed yet, a view of the file as it will be."""
        return self._file.storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._file.metadata.virtual_size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return self._file.metadata.logical_sector_size

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""
        disk = self._file.metadata
        kind = DiskType.FIXED if disk.leave_block_allocated else DiskType.DYNAMIC
        return ImageInfo(
            format=ImageFormat.VHDX,
            type=DiskType.DIFFERENCING if disk.has_parent else kind,
            virtual_size=disk.virtual_size,
            block_size=disk.block_size,
            logical_sector_size=disk.logical_sector_size,
            physical_sector_size=disk.physical_sector_size,
            disk_id=disk.disk_id,
            linkage=self._file.headers.header.data_write_guid,
            creator=self._file.creator,
            log=LogState.DIRTY if self._log_entries else LogState.CLEAN,
            log_entries=self._log_entries,
            parent=self._file.link,
        )

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range. Raises FormatError at a bad table entry."""
        self._check_range(offset, length)
        return coalesce(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[Extent]:
        size = self._file.layout.block_size
        at, end = offset, offset + length
        while at < end:
            block, within = divmod(at, size)
            stop = min(end, (block + 1) * size)
            with self._file.looking():
                table = self._file.table
                place, bits = table.known.get(block) or table.learn(block)
                if place is NOT_PRESENT and stop < end:
                    run = table.absent_run(block, -(-end // size))
                    stop = min(end, (block + max(run, 1)) * size)
            if bits is not None:
                yield from self._partial(block, place, bits, Range(within, stop - at))
            elif isinstance(place, int):
                yield self._data(block, at, place + within, stop - at)
            else:
                yield Extent(at, stop - at, place)
            at = stop

    def _data(self, block: int, offset: int, place: int, length: int) -> Extent:
        """A part of *block* that is in the file. Raises FormatError when the file ends before it does."""
        table = self._file.table
        if place + length > table.file_size:
            with self._file.looking():
                table.verify_inside(block, place, length)
        return Extent(offset, length, Presence.DATA, place)

    def _partial(self, block: int, place: int | Presence, bits: bytes, part: Range) -> Iterator[Extent]:
        assert isinstance(place, int)
        sector, start = self._file.layout.logical_sector_size, block * self._file.layout.block_size
        for first, count, here in bit_runs(bits, part.offset // sector, part.length // sector):
            at = first * sector
            if here:
                yield self._data(block, start + at, place + at, count * sector)
            else:
                yield Extent(start + at, count * sector, Presence.NOT_PRESENT)

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Where a range can be read in one piece; see `Image.locate`."""
        table = self._file.table
        block, within = divmod(offset, table.block_size)
        if not 0 < length <= table.block_size - within or offset < 0 or offset + length > table.virtual_size:
            return None
        # Without the lock: what is known of a block is one value, exchanged in one step.
        known = table.known.get(block)
        if known is None:
            with self._file.looking():
                known = self._file.table.learn(block)
        place, bits = known
        if not isinstance(place, int):
            return place
        if bits is not None:
            here = all_equal(bits, within // table.sector_size, -(-(within + length) // table.sector_size))
            if not here:
                return None if here is None else NOT_PRESENT
        return place + within

    def shared(self) -> FormatError | None:
        """Two blocks on one place, before all is read; see `Image.shared`."""
        with self._file.looking():
            fault = None if self._file.is_apart() else vhdx_sharing.shared(self._file)
        if fault is not None:
            fault.file = self.storage.name
        return fault

    def pinned(self) -> AbstractContextManager[None]:
        """While inside, no place that `extents` has named is handed to other payload."""
        return self._pin

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
        """Places for payload; see `Image.allocate`."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        if sum(wanted.length for wanted in ranges) > ALLOCATE_LIMIT:
            raise ValueError(f"more than {ALLOCATE_LIMIT} bytes in one allocation")
        return allocation.allocate(self._file, ranges)

    def overwrite(self, offset: int, data: Buffer) -> bool:
        """Put *data* where it has a place already; see `Image.overwrite`."""
        file, length = self._file, len(data)
        sector = file.table.sector_size
        if offset % sector or length % sector or length > ALLOCATE_LIMIT:
            return False
        with file.life.writer:
            if file.life.state is not State.BEGUN:
                return False
            place = self.locate(offset, length)
            if not isinstance(place, int):
                return False
            try:
                file.storage.write([(place, data)])
            except OSError as error:
                file.life.fail(error)
                raise
        return True

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; whole blocks give their space back."""
        self._check_range(offset, length)
        with self._file.changing():
            clearing.zero(self._file, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Let the whole blocks inside a range go."""
        self._check_range(offset, length)
        with self._file.changing():
            clearing.discard(self._file, offset, length)

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002  zeros mask by themselves
        """Give back the space of whole blocks of zeros."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        with self._file.changing():
            clearing.drop_zeros(self._file, ranges)

    def pack(self, on_progress: Progress) -> None:
        """Move blocks from the end of the file into holes; `close` cuts off what is free behind the last one."""
        with self._file.changing():
            packing.pack(self._file, on_progress)

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; see `Image.resize`. Durable on return."""
        with self._file.changing():
            resizing.resize(self._file, size, below=below)

    def verify(self) -> None:
        """Raises FormatError for structures that lie on each other or behind the end; see `Image.verify`."""
        with self._file.looking():
            self._file.surveyed()

    def begin(self, *, data_write_guid: UUID | None = None) -> None:
        """Declare a change of content, durably."""
        with self._file.changing():
            self._file.begin(data_write_guid)

    def set_parent(self, parent: ParentLink | None) -> None:
        """Replace the record of the parent, or do away with it; see `Image.set_parent`. Durable on return."""
        with self._file.changing():
            if parent is None:
                detaching.detach(self._file)
            else:
                vhdx_parent.set_parent(self._file, parent)

    def flush(self) -> None:
        """Make every change before this call durable."""
        if self._file.journal is not None:
            with self._file.changing():
                self._file.commit()

    def checkpoint(self) -> None:
        """Make everything durable and take the log out of use; see `Image.checkpoint`."""
        with self._file.changing():
            self._file.checkpoint()

    def close(self) -> None:
        """Flush, take the log out of use, cut free space off, close the storage. In a forked process only the last."""
        if not self._owner.is_here:
            self.abandon()
        elif self._file.life.state is not State.CLOSED:
            self._owner.let_go()
            self._file.close()

    def settle(self) -> None:
        """Make the file complete and durable, and leave it open; see `Image.settle`."""
        if self._owner.is_here and self._file.life.state is not State.CLOSED:
            self._owner.let_go()
            self._file.settle()

    def abandon(self) -> None:
        """Close the storage without another write: what was not flushed may be lost, as in a crash."""
        self._owner.let_go()
        self._file.life.enter(State.CLOSED)
        self._file.storage.close()

    def _check_range(self, offset: int, length: int) -> None:
        disk = self._file.metadata
        check_range(self.storage.name, offset, length, size=disk.virtual_size, sector=disk.logical_sector_size)
