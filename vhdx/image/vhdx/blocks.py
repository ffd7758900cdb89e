"""The blocks of one VHDX: dynamic, differencing or fixed (MS-VHDX)."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from vhdx.errors import FormatError
from vhdx.extents import NOT_PRESENT, Extent, Presence, Range, all_equal, bit_runs
from vhdx.image.base import ImageInfo, ParentLink, Progress
from vhdx.image.blocks import BlockImage
from vhdx.image.latches import Latches
from vhdx.image.vhdx import clearing, detaching, packing, resizing
from vhdx.image.vhdx import parent as vhdx_parent
from vhdx.image.vhdx import sharing as vhdx_sharing
from vhdx.image.vhdx.allocation import Allocation
from vhdx.image.vhdx.describing import describe
from vhdx.image.vhdx.file import VhdxFile
from vhdx.image.vhdx.journal import LogJournal
from vhdx.storage.base import Storage


class VhdxBlocks:
    """Implements `vhdx.image.blocks.Blocks`."""

    def __init__(self, file: VhdxFile, *, log_entries: int = 0) -> None:
        """*log_entries*: how many are shown by a view of the file, and not in place yet."""
        self._file = file
        self._log_entries = log_entries
        self.storage: Storage = file.storage
        self.latches: Latches = file.latches

    @property
    def virtual_size(self) -> int:
        return self._file.metadata.virtual_size

    @property
    def logical_sector_size(self) -> int:
        return self._file.metadata.logical_sector_size

    @property
    def info(self) -> ImageInfo:
        file = self._file
        return describe(
            file.metadata,
            linkage=file.headers.header.data_write_guid,
            creator=file.creator,
            log_entries=self._log_entries,
            parent=file.link,
        )

    def pieces(self, offset: int, length: int) -> Iterator[Extent]:
        size = self._file.layout.block_size
        at, end = offset, offset + length
        while at < end:
            block, within = divmod(at, size)
            stop = min(end, (block + 1) * size)
            with self.latches.looking():
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
            with self.latches.looking():
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
        table = self._file.table
        block, within = divmod(offset, table.block_size)
        if not 0 < length <= table.block_size - within or offset < 0 or offset + length > table.virtual_size:
            return None
        # Without the lock: what is known of a block is one value, exchanged in one step.
        known = table.known.get(block)
        if known is None:
            with self.latches.looking():
                known = self._file.table.learn(block)
        place, bits = known
        if not isinstance(place, int):
            return place
        if bits is not None:
            here = all_equal(bits, within // table.sector_size, -(-(within + length) // table.sector_size))
            if not here:
                return None if here is None else NOT_PRESENT
        return place + within

    settled_place = locate

    def shared(self) -> FormatError | None:
        return None if self._file.is_apart() else vhdx_sharing.shared(self._file)

    def surveyed(self) -> object:
        return self._file.surveyed()

    def prepare(self, ranges: Sequence[Range]) -> Allocation:
        return Allocation(self._file, ranges)

    def zero(self, offset: int, length: int) -> None:
        clearing.zero(self._file, offset, length)

    def discard(self, offset: int, length: int) -> None:
        clearing.discard(self._file, offset, length)

    def commit(self) -> None:
        self._file.commit()

    def begin(self, data_write_guid: UUID | None) -> None:
        self._file.begin(data_write_guid)

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002  zeros mask by themselves
        clearing.drop_zeros(self._file, ranges)

    def pack(self, on_progress: Progress) -> None:
        packing.pack(self._file, on_progress)

    def resize(self, size: int, *, below: int) -> None:
        resizing.resize(self._file, size, below=below)

    def set_parent(self, parent: ParentLink | None) -> None:
        if parent is None:
            detaching.detach(self._file)
        else:
            vhdx_parent.set_parent(self._file, parent)

    def checkpoint(self) -> None:
        self._file.checkpoint()

    def settle(self) -> None:
        self._file.settle()

    def close(self) -> None:
        self._file.close()


def vhdx_image(file: VhdxFile, *, log_entries: int = 0) -> BlockImage:
    """The image in *file*. One under construction has no log, and goes with its storage when it is dropped."""
    return BlockImage(VhdxBlocks(file, log_entries=log_entries), is_kept=isinstance(file.journal, LogJournal))
