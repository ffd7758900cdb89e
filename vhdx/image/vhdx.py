"""One VHDX over one storage: dynamic, differencing or fixed (MS-VHDX).

Used by one thread at a time. Crash guarantee: whatever part of the writes since the last `flush` survives, the image
opens, everything before that flush is there, and each later sector is old or new.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from vhdx.errors import Error
from vhdx.extents import Extent, Presence, Range, bit_runs, coalesce
from vhdx.format import bat
from vhdx.format.bat import PayloadState
from vhdx.image import allocation, clearing, resizing, vhdx_parent
from vhdx.image.base import ALLOCATE_LIMIT, DiskType, ImageInfo, LogState, ParentLink
from vhdx.image.vhdx_file import VhdxFile, naming
from vhdx.storage.base import Storage


class VhdxImage:
    """Implements `vhdx.image.base.Image`; made by `open_vhdx` and `create_vhdx`."""

    def __init__(self, file: VhdxFile, *, log_entries: int = 0) -> None:
        self._file = file
        self._log_entries = log_entries
        self._closed = False

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
            format="vhdx",
            type=DiskType.DIFFERENCING if disk.has_parent else kind,
            virtual_size=disk.virtual_size,
            block_size=disk.block_size,
            logical_sector_size=disk.logical_sector_size,
            physical_sector_size=disk.physical_sector_size,
            disk_id=disk.disk_id,
            data_write_guid=self._file.headers.header.data_write_guid,
            creator=self._file.creator,
            log=LogState.DIRTY if self._log_entries else LogState.CLEAN,
            log_entries=self._log_entries,
            parent=self._file.link,
        )

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range. Raises FormatError at a bad table entry."""
        self._check_range(offset, length)
        return coalesce(self._named_pieces(offset, length))

    def _named_pieces(self, offset: int, length: int) -> Iterator[Extent]:
        with naming(self.storage.name):
            yield from self._pieces(offset, length)

    def _pieces(self, offset: int, length: int) -> Iterator[Extent]:
        table, size = self._file.table, self._file.layout.block_size
        at, end = offset, offset + length
        while at < end:
            block, within = divmod(at, size)
            raw = table.payload(block)
            if raw == 0:
                stop = min(end, (block + table.absent_run(block, -(-end // size))) * size)
                yield Extent(at, stop - at, Presence.NOT_PRESENT)
            else:
                stop = min(end, (block + 1) * size)
                yield from self._block_extents(block, raw, within, stop - at)
            at = stop

    def _block_extents(self, block: int, raw: int, within: int, length: int) -> Iterator[Extent]:
        layout = self._file.layout
        start, place, state = block * layout.block_size, bat.file_offset(raw), bat.state(raw)
        if state == PayloadState.FULLY_PRESENT:
            yield Extent(start + within, length, Presence.DATA, place + within)
        elif state == PayloadState.PARTIALLY_PRESENT:
            sector = layout.logical_sector_size
            bits = self._file.table.bits(block)
            for first, count, here in bit_runs(bits, within // sector, length // sector):
                at = first * sector
                presence = Presence.DATA if here else Presence.NOT_PRESENT
                yield Extent(start + at, count * sector, presence, place + at if here else None)
        elif state == PayloadState.NOT_PRESENT:
            yield Extent(start + within, length, Presence.NOT_PRESENT)
        else:
            yield Extent(start + within, length, Presence.ZERO)

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
        """Places for payload; see `Image.allocate`."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        if sum(wanted.length for wanted in ranges) > ALLOCATE_LIMIT:
            raise ValueError(f"more than {ALLOCATE_LIMIT} bytes in one allocation")
        return allocation.allocate(self._file, ranges)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; whole blocks give their space back."""
        self._check_range(offset, length)
        with naming(self.storage.name):
            clearing.zero(self._file, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Let the whole blocks inside a range go."""
        self._check_range(offset, length)
        with naming(self.storage.name):
            clearing.discard(self._file, offset, length)

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; see `Image.resize`. Durable on return."""
        with naming(self.storage.name):
            resizing.resize(self._file, size, below=below)

    def begin(self, *, data_write_guid: UUID | None = None) -> None:
        """Declare a change of content, durably."""
        with naming(self.storage.name):
            self._file.begin(data_write_guid)

    def set_parent(self, parent: ParentLink) -> None:
        """Replace the record of the parent. Durable on return."""
        with naming(self.storage.name):
            vhdx_parent.set_parent(self._file, parent)

    def flush(self) -> None:
        """Make every change before this call durable."""
        if self._file.journal is not None:
            self._file.commit()

    def close(self) -> None:
        """Flush, take the log out of use, cut free space off the end, close the storage."""
        if self._closed:
            return
        self._closed = True
        try:
            self._settle()
        finally:
            self._file.storage.close()

    def _settle(self) -> None:
        file = self._file
        if file.journal is None or file.poison or not file.touched:
            return
        file.commit()
        with file.poisoning():
            file.journal.close()
            fixed = file.metadata.leave_block_allocated
            if file.space is not None and file.space.used_end < file.space.file_size and not fixed:
                file.storage.truncate(file.space.used_end)

    def abandon(self) -> None:
        """Close the storage without another write: what was not flushed may be lost, as in a crash."""
        self._closed = True
        self._file.storage.close()

    def _check_range(self, offset: int, length: int) -> None:
        disk = self._file.metadata
        if offset < 0 or length < 0 or offset + length > disk.virtual_size:
            raise Error(
                f"{self.storage.name}: {length} bytes at {offset} are not inside the disk of {disk.virtual_size} bytes"
            )
        if offset % disk.logical_sector_size or length % disk.logical_sector_size:
            raise Error(f"{self.storage.name}: {length} bytes at {offset} are not whole sectors")
