"""A fixed VHD: the bytes of the disk, and behind them one footer (VHD 1.0).

Crash guarantee: each sector written since the last `flush` is old or new. A change of size may leave the file without
a footer at its end; see `VhdFixedImage.resize`.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID

from vhdx.errors import Error, OutOfSpace, Poisoned, ReadOnly
from vhdx.extents import Extent, Presence, Range, coalesce
from vhdx.format import vhd_footer
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK, SIZE, Footer
from vhdx.image.base import ALLOCATE_LIMIT, DiskType, ImageInfo, ParentLink, Progress
from vhdx.image.vhd.image import check_range, describe
from vhdx.image.vhd.resizing import resized, size_fault
from vhdx.storage import ownership, transfer
from vhdx.storage.base import Buffer, Storage

_SCAN = 1 << 30
"""How much of a file one question for its holes covers."""


class VhdFixedImage:
    """Implements `vhdx.image.base.Image` over the start of a file; made by `open_vhd` and `create_vhd`."""

    def __init__(
        self, storage: Storage, footer: Footer, *, warnings: tuple[str, ...] = (), touched: bool = False
    ) -> None:
        self._storage = storage
        self._footer = footer
        self._warnings = warnings
        self._touched = touched
        self._poison = ""
        self._closed = False
        self._opener = os.getpid()
        self._writer = threading.RLock()

    @property
    def storage(self) -> Storage:
        """The file itself."""
        return self._storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._footer.current_size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return SECTOR

    @property
    def info(self) -> ImageInfo:
        """What the footer says."""
        return describe(self._footer, DiskType.FIXED, warnings=self._warnings)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """DATA where the file holds bytes, NOT_PRESENT in its holes."""
        self._check_range(offset, length)
        return coalesce(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[Extent]:
        at, end = offset, offset + length
        for start in range(offset, end, _SCAN):
            for found in transfer.allocated(self._storage, start, min(_SCAN, end - start)):
                first = max(found.offset // SECTOR * SECTOR, at)
                stop = min(-(-found.end // SECTOR) * SECTOR, end)
                if first > at:
                    yield Extent(at, first - at, Presence.NOT_PRESENT)
                if stop > first:
                    yield Extent(first, stop - first, Presence.DATA, first)
                    at = stop
        if at < end:
            yield Extent(at, end - at, Presence.NOT_PRESENT)

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Every byte is where the disk has it; holes read as zeros."""
        return offset if 0 <= offset < offset + length <= self.virtual_size else None

    def shared(self) -> None:
        """Every byte of the disk has a place of its own."""

    def pinned(self) -> AbstractContextManager[None]:
        """Places never move in a fixed image."""
        return nullcontext()

    @contextmanager
    def allocate(self, ranges: Sequence[Range]) -> Iterator[Sequence[Extent]]:
        """Every place is where the disk has it."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        if sum(wanted.length for wanted in ranges) > ALLOCATE_LIMIT:
            raise ValueError(f"more than {ALLOCATE_LIMIT} bytes in one allocation")
        with self._changing():
            yield [Extent(wanted.offset, wanted.length, Presence.DATA, wanted.offset) for wanted in ranges]

    def overwrite(self, offset: int, data: Buffer) -> bool:
        """Put *data* where the disk has it; see `Image.overwrite`."""
        length = len(data)
        if offset % SECTOR or length % SECTOR or not 0 < length <= ALLOCATE_LIMIT:
            return False
        with self._writer:
            if not self._touched or self._poison or self._closed:
                return False
            if not 0 <= offset <= self._footer.current_size - length:
                return False
            try:
                self._storage.write([(offset, data)])
            except OSError as error:
                self._poison = f"a write failed ({error})"
                raise
        return True

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._writer:
            self._check_usable()
            self._touched = True
            try:
                yield
            except OSError as error:
                self._poison = f"a write failed ({error})"
                raise

    def _check_usable(self) -> None:
        if self._closed:
            raise ownership.refusal(self._storage.name, ownership.CLOSED)
        if not self._storage.writable:
            raise ReadOnly(f"{self._storage.name}: the image was opened for reading")
        if self._poison:
            raise Poisoned(f"{self._storage.name}: {self._poison}; close the image and open it again")

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; by holes where the storage can, and holes stay holes."""
        self._check_range(offset, length)
        with self._changing():
            held = transfer.allocated(self._storage, offset, length)
            transfer.zero(self._storage, [(found.offset, found.length) for found in held])

    def discard(self, offset: int, length: int) -> None:
        """Keeps everything: a fixed image has no blocks to give up."""
        self._check_range(offset, length)
        self._check_usable()

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002  it has no parent
        """Keeps everything: a fixed image has its whole space."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        self._check_usable()

    def pack(self, on_progress: Progress) -> None:  # noqa: ARG002  nothing can be done
        """Raises Error: a fixed image has no holes to fill."""
        raise Error(f"{self._storage.name}: a fixed image keeps all of its space, so there is nothing to pack")

    def resize(self, size: int, *, below: int = 0) -> None:  # noqa: ARG002  it has no parent
        """Change the size of the disk; a grown part reads as zeros and is allocated. Durable on return.

        A fixed VHD has one footer, at the end of a file whose length changes, so this cannot be made fully safe. The
        new footer is written first, and made durable; only then the rest is done. A crash before that may leave: the
        old image; the new one; growing, where a file system keeps the new length but not the footer, a file without a
        footer at its end (cut it to the old length, or write a footer there); shrinking, the old image with the new
        footer in the part that was to be cut off. A crash after it may leave: growing, the new size with the old
        footer still where the grown part begins, instead of zeros; shrinking, the old size with the new footer inside.
        The disk up to the smaller of the two sizes is never touched.

        Raises Error for a size that cannot be; OutOfSpace, growing, with the old size in force as before the call.
        """
        # Larger than Windows takes is what was made for Azure, and it stays so.
        largest = LARGEST_AZURE if self.virtual_size > LARGEST_DISK else LARGEST_DISK
        reason = size_fault(size, None, largest=largest)
        if reason:
            raise Error(f"{self._storage.name}: {reason}")
        if size == self.virtual_size:
            return
        with self._changing():
            self._storage.flush()
            footer = resized(self._footer, size)
            if size > self.virtual_size:
                self._grow(footer)
            else:
                self._shrink(footer)
            self._footer = footer

    def _grow(self, footer: Footer) -> None:
        storage, old, size = self._storage, self.virtual_size, footer.current_size
        length = storage.size()
        # A file may be longer than its disk and its footer.
        unused = min(size, length - SIZE)
        places = [(old, unused - old), (length, size - length)]
        try:
            if unused > old:
                self._write_zeros(old, unused)
                storage.flush()
            storage.write([(size, vhd_footer.build(footer))])
            storage.flush()
            # A disk that was promised its space must not run out of it when it is written to. The old footer stays
            # until there is space for all: it is what counts again when there is not.
            transfer.reserve(storage, [place for place in places if place[1] > 0])
            # The old footer last, and by writing: a hole would take its space away.
            self._write_zeros(max(old, unused), min(length, size))
        except OutOfSpace:
            storage.truncate(length)
            # The new one may have been put on it.
            storage.write([(max(old, length - SIZE), vhd_footer.build(self._footer))])
            storage.flush()
            raise
        if length > size + SIZE:
            storage.truncate(size + SIZE)
        storage.flush()

    def _write_zeros(self, start: int, end: int) -> None:
        for at in range(start, end, transfer.PIECE):
            self._storage.write([(at, bytes(min(transfer.PIECE, end - at)))])

    def _shrink(self, footer: Footer) -> None:
        self._storage.write([(footer.current_size, vhd_footer.build(footer))])
        self._storage.flush()
        self._storage.truncate(footer.current_size + SIZE)
        self._storage.flush()

    def verify(self) -> None:
        """There is no structure that could lie on another."""

    def begin(self, *, data_write_guid: UUID | None = None) -> None:  # noqa: ARG002  a VHD keeps its id
        """Make sure that the image can be changed. Its id stays."""
        self._check_usable()

    def set_parent(self, parent: ParentLink | None) -> None:
        """Raises Error: a fixed image has no parent."""
        if parent is not None:
            raise Error(f"{self._storage.name}: a fixed image has no parent to record")

    def flush(self) -> None:
        """Make every change before this call durable."""
        if self._touched:
            with self._changing():
                self._storage.flush()
                self._touched = False

    def checkpoint(self) -> None:
        """There is no log: the same as `flush`."""
        self.flush()

    def close(self) -> None:
        """Flush and give the file back. In a forked process only the last."""
        if self._opener != os.getpid():
            self.abandon()
            return
        with self._writer:
            try:
                if self._touched and not self._poison and not self._closed:
                    self.flush()
            finally:
                self._closed = True
                self._storage.close()

    def settle(self) -> None:
        """Flush, and leave the file open; see `Image.settle`."""
        if self._opener == os.getpid():
            with self._writer:
                try:
                    if self._touched and not self._poison and not self._closed:
                        self.flush()
                finally:
                    self._closed = True

    def abandon(self) -> None:
        """Give the file back without a flush."""
        self._closed = True
        self._storage.close()

    def _check_range(self, offset: int, length: int) -> None:
        check_range(self._storage.name, self.virtual_size, offset, length)
