"""One VHD with blocks over one storage: dynamic or differencing (VHD 1.0).

Any number of threads may read, and one at a time changes it. Crash guarantee: whatever part of the writes since the
last `flush` survives, the image opens, everything before that flush is there, and each later sector is old or new.
Where the footer at the end of the file was lost, its copy at the start serves readers, and the next writer restores it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from vhdx.errors import Error, FormatError
from vhdx.extents import NOT_PRESENT, Extent, Presence, Range, all_equal, bit_runs, coalesce
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_footer import Footer
from vhdx.image.base import ALLOCATE_LIMIT, DiskType, ImageFormat, ImageInfo, LogState, ParentLink, Progress
from vhdx.image.lifecycle import Owner, State
from vhdx.image.pin import Pin
from vhdx.image.ranges import check_range
from vhdx.image.vhd import allocation as vhd_allocation
from vhdx.image.vhd import clearing as vhd_clearing
from vhdx.image.vhd import packing as vhd_packing
from vhdx.image.vhd import parent as vhd_parent
from vhdx.image.vhd import resizing as vhd_resizing
from vhdx.image.vhd import sharing as vhd_sharing
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.front import bring_to_front
from vhdx.storage.base import Buffer, Storage

_AT_ONCE = 64
"""Bitmaps that are read in one call."""


def describe(
    footer: Footer,
    kind: DiskType,
    *,
    block_size: int | None = None,
    parent: ParentLink | None = None,
    warnings: tuple[str, ...] = (),
) -> ImageInfo:
    """What a VHD says of itself."""
    return ImageInfo(
        format=ImageFormat.VHD,
        type=kind,
        virtual_size=footer.current_size,
        block_size=block_size,
        logical_sector_size=SECTOR,
        physical_sector_size=SECTOR,
        disk_id=footer.unique_id,
        linkage=footer.unique_id,
        creator=footer.creator_text,
        log=LogState.CLEAN,
        log_entries=0,
        parent=parent,
        warnings=warnings,
    )


def describe_file(file: VhdFile) -> ImageInfo:
    """What a VHD with blocks says of itself."""
    return describe(
        file.footer,
        DiskType.DIFFERENCING if file.layout.has_parent else DiskType.DYNAMIC,
        block_size=file.layout.block_size,
        parent=file.link,
        warnings=file.warnings,
    )


class VhdImage:
    """Implements `vhdx.image.base.Image`; made by `open_vhd` and `create_vhd`."""

    def __init__(self, file: VhdFile) -> None:
        self._file = file
        self._pin = Pin(file)
        file.tidy = bring_to_front
        # Under construction it is nobody's, and goes with its storage.
        is_kept = file.storage.writable and not file.building
        self._owner = Owner(self, file.storage.name, file.close if is_kept else None)

    @property
    def storage(self) -> Storage:
        """Where payload lies."""
        return self._file.storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._file.footer.current_size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return SECTOR

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""
        return describe_file(self._file)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range. Raises FormatError at a bad table entry."""
        self._check_range(offset, length)
        return coalesce(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[Extent]:
        size = self._file.layout.block_size
        at, end = offset, offset + length
        fetched = 0
        while at < end:
            block, within = divmod(at, size)
            with self._file.looking():
                last = -(-end // size)
                unused = self._file.table.unused_run(block, last)
                if unused:
                    stop = min(end, (block + unused) * size)
                    pieces = [Extent(at, stop - at, Presence.NOT_PRESENT)]
                else:
                    stop = min(end, (block + 1) * size)
                    if self._file.layout.has_parent and block >= fetched:
                        fetched = self._fetch_bitmaps(block, last)
                    pieces = list(self._block_extents(block, within, stop - at))
            yield from pieces
            at = stop

    def _fetch_bitmaps(self, block: int, last: int) -> int:
        """Read the bitmaps of the blocks from *block* on, before *last*, in one call; returns up to which."""
        wanted: list[tuple[int, int]] = []
        while block < last and len(wanted) < _AT_ONCE:
            unused = self._file.table.unused_run(block, last)
            if unused:
                block += unused
                continue
            try:
                place = self._file.table.place(block)
            except Error:
                if wanted:
                    break  # told when its turn comes: what lies before it can be read
                raise
            assert place is not None
            wanted.append((block, place))
            block += 1
        self._file.bitmaps.fetch(wanted)
        return block

    def _block_extents(self, block: int, within: int, length: int) -> Iterator[Extent]:
        layout = self._file.layout
        place = self._file.table.place(block)
        assert place is not None
        start, data = block * layout.block_size, place + layout.bitmap_size
        if not layout.has_parent:
            yield Extent(start + within, length, Presence.DATA, data + within)
            return
        bits = self._file.bitmaps.bits(block, place)
        for first, count, here in bit_runs(bits, within // SECTOR, length // SECTOR):
            at = first * SECTOR
            presence = Presence.DATA if here else Presence.NOT_PRESENT
            yield Extent(start + at, count * SECTOR, presence, data + at if here else None)

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Where a range can be read in one piece; see `Image.locate`."""
        file = self._file
        layout = file.table.layout
        block, within = divmod(offset, layout.block_size)
        if not 0 < length <= layout.block_size - within or not 0 <= offset <= layout.virtual_size - length:
            return None
        try:
            with file.lock:
                place = file.table.place(block)
                if place is None:
                    return NOT_PRESENT
                if layout.has_parent:
                    bits = file.bitmaps.bits(block, place)
                    here = all_equal(bits, within // SECTOR, -(-(within + length) // SECTOR))
                    if not here:
                        return None if here is None else NOT_PRESENT
        except FormatError:
            return None  # `extents` says what is wrong
        return place + file.table.bitmap_size + within

    def shared(self) -> FormatError | None:
        """Two blocks on one place, before all is read; see `Image.shared`."""
        with self._file.looking():
            fault = None if self._file.is_apart() else vhd_sharing.shared(self._file)
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
        return vhd_allocation.allocate(self._file, ranges)

    def overwrite(self, offset: int, data: Buffer) -> bool:
        """Put *data* where it has a place already, and its bits are set; see `Image.overwrite`."""
        file, length = self._file, len(data)
        if offset % SECTOR or length % SECTOR or length > ALLOCATE_LIMIT:
            return False
        with file.life.writer:
            if file.life.state is not State.BEGUN:
                return False
            with file.lock:
                place = vhd_allocation.settled_place(file, offset, length)
            if place is None:
                return False
            try:
                file.storage.write([(place, data)])
            except OSError as error:
                file.life.fail(error)
                raise
        return True

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; without a parent whole blocks give their space back."""
        self._check_range(offset, length)
        with self._file.changing():
            vhd_clearing.zero(self._file, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Let the whole blocks inside a range go; over a parent keep everything."""
        self._check_range(offset, length)
        with self._file.changing():
            vhd_clearing.discard(self._file, offset, length)

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:
        """Give back the space of whole blocks of zeros; those that mask a parent stay."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        with self._file.changing():
            vhd_clearing.drop_zeros(self._file, ranges, masked=masked)

    def pack(self, on_progress: Progress) -> None:
        """Move blocks from the end of the file into holes; `close` cuts off what is free behind the last one."""
        with self._file.changing():
            vhd_packing.pack(self._file, on_progress)

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; see `Image.resize`. Durable on return."""
        with self._file.changing():
            vhd_resizing.resize(self._file, size, below=below)

    def verify(self) -> None:
        """Raises FormatError for structures that lie on each other or behind the end; see `Image.verify`."""
        with self._file.looking():
            self._file.surveyed()

    def begin(self, *, data_write_guid: UUID | None = None) -> None:  # noqa: ARG002  a VHD keeps its id
        """Make sure that the image can be changed. Its id stays, so its children cannot tell."""
        with self._file.changing():
            self._file.touch()

    def set_parent(self, parent: ParentLink | None) -> None:
        """Replace the record of the parent, or do away with it; see `Image.set_parent`. Durable on return."""
        with self._file.changing():
            if parent is None:
                vhd_parent.detach(self._file)
            else:
                vhd_parent.set_parent(self._file, parent)

    def flush(self) -> None:
        """Make every change before this call durable."""
        if self._file.life.state not in (State.READING, State.UNTOUCHED):
            with self._file.changing():
                self._file.commit()

    def checkpoint(self) -> None:
        """A VHD has no log: the same as `flush`."""
        self.flush()

    def close(self) -> None:
        """Flush, put what a file of blktap has in front of its blocks there, cut free space off the end, close.

        In a forked process only the last.
        """
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
        check_range(self.storage.name, offset, length, size=self.virtual_size, sector=SECTOR)
