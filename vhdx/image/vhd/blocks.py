"""The blocks of one VHD: dynamic or differencing (VHD 1.0).

Where the footer at the end of the file was lost, its copy at the start serves readers, and the next writer restores it.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from vhdx.errors import Error, FormatError
from vhdx.extents import NOT_PRESENT, Extent, Presence, Range, all_equal, bit_runs
from vhdx.format.vhd_bat import SECTOR
from vhdx.image.base import DiskType, ImageInfo, ParentLink, Progress
from vhdx.image.blocks import BlockImage
from vhdx.image.latches import Latches
from vhdx.image.vhd import clearing as vhd_clearing
from vhdx.image.vhd import packing as vhd_packing
from vhdx.image.vhd import parent as vhd_parent
from vhdx.image.vhd import resizing as vhd_resizing
from vhdx.image.vhd import sharing as vhd_sharing
from vhdx.image.vhd.allocation import VhdAllocation
from vhdx.image.vhd.describing import describe
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.front import bring_to_front
from vhdx.storage.base import Storage

_AT_ONCE = 64
"""Bitmaps that are read in one call."""


class VhdBlocks:
    """Implements `vhdx.image.blocks.Blocks`."""

    def __init__(self, file: VhdFile) -> None:
        self._file = file
        self.storage: Storage = file.storage
        self.latches: Latches = file.latches

    @property
    def virtual_size(self) -> int:
        return self._file.footer.current_size

    @property
    def logical_sector_size(self) -> int:
        return SECTOR

    @property
    def info(self) -> ImageInfo:
        file = self._file
        return describe(
            file.footer,
            DiskType.DIFFERENCING if file.layout.has_parent else DiskType.DYNAMIC,
            block_size=file.layout.block_size,
            parent=file.link,
            warnings=file.warnings,
        )

    def pieces(self, offset: int, length: int) -> Iterator[Extent]:
        size = self._file.layout.block_size
        at, end = offset, offset + length
        fetched = 0
        while at < end:
            block, within = divmod(at, size)
            with self.latches.looking():
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
        file = self._file
        layout = file.table.layout
        block, within = divmod(offset, layout.block_size)
        if not 0 < length <= layout.block_size - within or not 0 <= offset <= layout.virtual_size - length:
            return None
        try:
            with self.latches.lock:
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

    def settled_place(self, offset: int, length: int) -> int | None:
        """Where a range lies in one piece, when writing there changes neither the table nor bitmaps."""
        file, layout = self._file, self._file.table.layout
        block, within = divmod(offset, layout.block_size)
        inside = offset >= 0 and 0 < length <= min(layout.block_size - within, layout.virtual_size - offset)
        if not inside or not file.footers.settled:
            return None
        try:
            with self.latches.lock:
                place = file.table.place(block)
                first, stop = within // SECTOR, (within + length) // SECTOR
                if place is None or not file.bitmaps.are_set(block, place, first, stop):
                    return None
        except FormatError:
            return None
        return place + file.table.bitmap_size + within

    def shared(self) -> FormatError | None:
        return None if self._file.is_apart() else vhd_sharing.shared(self._file)

    def surveyed(self) -> object:
        return self._file.surveyed()

    def prepare(self, ranges: Sequence[Range]) -> VhdAllocation:
        return VhdAllocation(self._file, ranges)

    def zero(self, offset: int, length: int) -> None:
        vhd_clearing.zero(self._file, offset, length)

    def discard(self, offset: int, length: int) -> None:
        vhd_clearing.discard(self._file, offset, length)

    def commit(self) -> None:
        self._file.commit()

    def begin(self, data_write_guid: UUID | None) -> None:  # noqa: ARG002  a VHD keeps its id
        self._file.touch()

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:
        vhd_clearing.drop_zeros(self._file, ranges, masked=masked)

    def pack(self, on_progress: Progress) -> None:
        vhd_packing.pack(self._file, on_progress)

    def resize(self, size: int, *, below: int) -> None:
        vhd_resizing.resize(self._file, size, below=below)

    def set_parent(self, parent: ParentLink | None) -> None:
        if parent is None:
            vhd_parent.detach(self._file)
        else:
            vhd_parent.set_parent(self._file, parent)

    def checkpoint(self) -> None:
        """A VHD has no log: the same as a commit."""
        self._file.commit()

    def settle(self) -> None:
        self._file.settle()

    def close(self) -> None:
        self._file.close()


def vhd_image(file: VhdFile) -> BlockImage:
    """The image in *file*. One under construction goes with its storage when it is dropped."""
    file.tidy = bring_to_front
    return BlockImage(VhdBlocks(file), is_kept=file.storage.writable and not file.building)
