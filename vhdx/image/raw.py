"""A raw file as an image: its bytes are the disk.

Nothing in it says so, and a guest can write any header into it; so it is opened as raw only where the caller says raw.
Holes of the file read as zeros and are taken for absent where the storage can tell them.

Crash guarantee: each sector written since the last `flush` is old or new; a change of size may be lost.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID

from vhdx.errors import Error, Poisoned, ReadOnly
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import ALLOCATE_LIMIT, Admit, DiskType, ImageFormat, ImageInfo, LogState, ParentLink, Progress
from vhdx.storage import ownership, transfer
from vhdx.storage.base import Buffer, Storage
from vhdx.storage.overlay import OverlayStorage

SECTOR = 512
_SCAN = 1 << 30
"""How much of a file one question for its holes covers."""


class RawImage:
    """Implements `vhdx.image.base.Image` over the bytes of a file."""

    def __init__(self, storage: Storage, *, sector_size: int = SECTOR) -> None:
        self._storage = storage
        self._sector = sector_size
        self._size = storage.size()
        self._poison = ""
        self._closed = False
        self._opener = os.getpid()
        self._writer = threading.RLock()
        self._touched = False

    @property
    def storage(self) -> Storage:
        """The file itself."""
        return self._storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk: the file's length."""
        return self._size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return self._sector

    @property
    def info(self) -> ImageInfo:
        """What there is to say of a file without any structure."""
        return ImageInfo(
            format=ImageFormat.RAW,
            type=DiskType.FIXED,
            virtual_size=self.virtual_size,
            block_size=None,
            logical_sector_size=self._sector,
            physical_sector_size=self._sector,
            disk_id=None,
            linkage=None,
            creator="",
            log=LogState.CLEAN,
            log_entries=0,
            parent=None,
        )

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """DATA where the file holds bytes, NOT_PRESENT in its holes."""
        self._check_range(offset, length)
        return self._extents(offset, length)

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        at, end = offset, offset + length
        pending: Extent | None = None
        while at < end:
            part = min(_SCAN, end - at)
            for extent in self._split(at, part):
                if pending is not None and pending.presence is extent.presence:
                    pending = pending._replace(length=pending.length + extent.length)
                    continue
                if pending is not None:
                    yield pending
                pending = extent
            at += part
        if pending is not None:
            yield pending

    def _split(self, offset: int, length: int) -> Iterator[Extent]:
        end = offset + length
        at = offset
        for found in transfer.allocated(self._storage, offset, length):
            start = max(found.offset // self._sector * self._sector, at)
            stop = min(-(-found.end // self._sector) * self._sector, end)
            if start > at:
                yield Extent(at, start - at, Presence.NOT_PRESENT)
            if stop > start:
                yield Extent(start, stop - start, Presence.DATA, start)
                at = stop
        if at < end:
            yield Extent(at, end - at, Presence.NOT_PRESENT)

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Every byte is where the disk has it; holes read as zeros."""
        return offset if 0 <= offset < offset + length <= self.virtual_size else None

    def shared(self) -> None:
        """Every byte of the disk has a place of its own."""

    def pinned(self) -> AbstractContextManager[None]:
        """Places never move in a raw file."""
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
        if offset % self._sector or length % self._sector or not 0 < length <= ALLOCATE_LIMIT:
            return False
        with self._writer:
            if not self._touched or self._poison or self._closed:
                return False
            if not 0 <= offset <= self._size - length:
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
            places = [(found.offset, found.length) for found in transfer.allocated(self._storage, offset, length)]
            transfer.zero(self._storage, places)

    def discard(self, offset: int, length: int) -> None:
        """Keeps everything: a raw file has no blocks to give up."""
        self._check_range(offset, length)
        self._check_usable()

    def resize(self, size: int, *, below: int = 0) -> None:  # noqa: ARG002  a raw image has nothing under it
        """Set the length of the file. Raises Error for a size that is not whole sectors."""
        if size <= 0 or size % self._sector:
            raise Error(f"{self._storage.name}: a disk of {size} bytes is not whole sectors of {self._sector}")
        with self._changing():
            self._storage.truncate(size)
            self._size = size

    def verify(self) -> None:
        """There is no structure that could lie on another."""

    def begin(self, *, data_write_guid: UUID | None = None) -> None:  # noqa: ARG002  nothing to record it in
        """Nothing in the file can tell of a change."""
        self._check_usable()

    def set_parent(self, parent: ParentLink | None) -> None:
        """Raises Error: a raw file has no parent."""
        if parent is not None:
            raise Error(f"{self._storage.name}: a raw file cannot record a parent; convert it first")

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002  nothing lies under it
        """Punch holes where the storage can."""
        with self._changing():
            for wanted in ranges:
                self.zero(wanted.offset, wanted.length)

    def pack(self, on_progress: Progress) -> None:
        """Nothing moves: every byte of the file is the disk's."""
        on_progress(self.virtual_size, self.virtual_size)

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
        if offset < 0 or length < 0 or offset + length > self.virtual_size:
            raise Error(
                f"{self._storage.name}: {length} bytes at {offset} are not inside the disk of {self.virtual_size} bytes"
            )
        if offset % self._sector or length % self._sector:
            raise Error(f"{self._storage.name}: {length} bytes at {offset} are not whole sectors")


def open_raw(storage: Storage, *, sector_size: int = SECTOR, admit: Admit | None = None) -> RawImage:
    """The disk that a raw file is; read only, one that ends within a sector is filled up with zeros.

    *admit* is told what there is to say of it; what it raises is raised.

    The image owns the storage from here on. Raises Error for a file without a byte, or one to be written that does not
    end with a sector; the storage is then closed.
    """
    size = storage.size()
    rest = size % sector_size
    reason = ""
    if not size:
        reason = "an empty file is no disk"
    elif rest and storage.writable:
        missing = sector_size - rest
        reason = f"{size} bytes are no whole sectors of {sector_size}; lengthen the file by {missing} bytes first"
    if reason:
        storage.close()
        raise Error(f"{storage.name}: {reason}")
    whole = OverlayStorage(storage, [], size=size - rest + sector_size) if rest else storage
    image = RawImage(whole, sector_size=sector_size)
    if admit is not None:
        try:
            admit(image.info)
        except BaseException:
            storage.close()
            raise
    return image


def create_raw(storage: Storage, *, size: int, fixed: bool = False) -> RawImage:
    """A disk of zeros in an empty *storage*; *fixed* allocates its space. Raises Error, OutOfSpace."""
    image = RawImage(storage)
    image.resize(size)
    if fixed:
        transfer.reserve(storage, [(0, size)])
    return image
