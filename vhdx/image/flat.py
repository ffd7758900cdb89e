"""A disk whose bytes are those of a file from its start on: raw, and the fixed VHD.

What is behind the disk, and what is said of it, is the part's (`Flat`). Holes of the file read as zeros and are taken
for absent where the storage can tell them.

Crash guarantee: each sector written since the last `flush` is old or new; what a change of size may leave, the part
says.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol
from uuid import UUID

from vhdx.errors import Error
from vhdx.extents import Extent, Presence, Range, coalesce
from vhdx.image.base import ALLOCATE_LIMIT, ImageInfo, ParentLink, Progress
from vhdx.image.commits import Commits
from vhdx.image.lifecycle import LifeCycle, Owner, State
from vhdx.image.ranges import check_range
from vhdx.storage import transfer
from vhdx.storage.base import Buffer, Storage

_SCAN = 1 << 30
"""How much of a file one question for its holes covers."""


class Flat(Protocol):
    """What one format has around the bytes of the disk."""

    name: str
    """The format in messages, with its article."""
    keeps_zeros: bool
    """Whether the file has its whole space, so that zeros give none back."""

    @property
    def size(self) -> int:
        """Bytes of the disk."""

    @property
    def sector_size(self) -> int:
        """Bytes of a sector."""

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""

    def check_size(self, size: int) -> None:
        """Raises Error for a size that the disk cannot have."""

    def resize(self, size: int) -> None:
        """Change the size of the disk; what a crash may leave is said here."""


class FlatImage:
    """Implements `vhdx.image.base.Image` over the start of a file."""

    def __init__(self, storage: Storage, part: Flat, *, under_construction: bool = False) -> None:
        self._storage = storage
        self._part = part
        self._life = LifeCycle(storage, under_construction=under_construction)
        self.gate = self._life.gate
        self._commits = Commits()
        # A storage that is dropped closes itself, and there is nothing else to close.
        self._owner = Owner(self, storage.name, None)

    @property
    def storage(self) -> Storage:
        """The file itself."""
        return self._storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._part.size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return self._part.sector_size

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""
        return self._part.info

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """DATA where the file holds bytes, NOT_PRESENT in its holes."""
        self._check_range(offset, length)
        return coalesce(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[Extent]:
        sector = self._part.sector_size
        at, end = offset, offset + length
        for start in range(offset, end, _SCAN):
            for found in transfer.allocated(self._storage, start, min(_SCAN, end - start)):
                first = max(found.offset // sector * sector, at)
                stop = min(-(-found.end // sector) * sector, end)
                if first > at:
                    yield Extent(at, first - at, Presence.NOT_PRESENT)
                if stop > first:
                    yield Extent(first, stop - first, Presence.DATA, first)
                    at = stop
        if at < end:
            yield Extent(at, end - at, Presence.NOT_PRESENT)

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Every byte is where the disk has it; holes read as zeros."""
        return offset if 0 <= offset < offset + length <= self._part.size else None

    def shared(self) -> None:
        """Every byte of the disk has a place of its own."""

    def pinned(self) -> AbstractContextManager[None]:
        """Places never move."""
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
        length, sector, life = len(data), self._part.sector_size, self._life
        if offset % sector or length % sector or not 0 < length <= ALLOCATE_LIMIT:
            return False
        if life.state is not State.BEGUN or not 0 <= offset <= self._part.size - length:
            return False
        try:
            self._storage.write([(offset, data)])
        except OSError as error:
            life.fail(error)
            raise
        return True

    def beside(self) -> AbstractContextManager[None]:
        """Inside the gate; see `Image.beside`."""
        return self._changing()

    @contextmanager
    def _changing(self, inside: AbstractContextManager[None] | None = None) -> Iterator[None]:
        """A change, beside others. To run out of space leaves what was there, so it is no reason to give up."""
        with inside or self.gate.beside():
            self._life.check_usable()
            self._life.enter(State.BEGUN)
            with self._life.poisoning((OSError,)):
                yield

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; by holes where the storage can, and holes stay holes."""
        self._check_range(offset, length)
        with self._changing():
            held = transfer.allocated(self._storage, offset, length)
            transfer.zero(self._storage, [(found.offset, found.length) for found in held])

    def discard(self, offset: int, length: int) -> None:
        """Keeps everything: there are no blocks to give up."""
        self._check_range(offset, length)
        self._life.check_usable()

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:  # noqa: ARG002  nothing lies under it
        """Punch holes where the storage can, unless the file has its whole space."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        self._life.check_usable()
        if not self._part.keeps_zeros:
            for wanted in ranges:
                self.zero(wanted.offset, wanted.length)

    def pack(self, on_progress: Progress) -> None:
        """Nothing moves. Raises Error where the file has its whole space."""
        if self._part.keeps_zeros:
            raise Error(f"{self._storage.name}: a fixed image keeps all of its space, so there is nothing to pack")
        on_progress(self.virtual_size, self.virtual_size)

    def resize(self, size: int, *, below: int = 0) -> None:  # noqa: ARG002  nothing lies under it
        """Change the size of the disk; see `Flat.resize` of its part. Raises Error for a size that cannot be."""
        self._part.check_size(size)
        if size != self.virtual_size:
            with self._changing(self.gate.alone()):
                self._part.resize(size)

    def verify(self) -> None:
        """There is no structure that could lie on another."""

    def begin(self, *, data_write_guid: UUID | None = None) -> None:  # noqa: ARG002  no id changes
        """Make sure that the image can be changed. Nothing in the file can tell of it."""
        self._life.check_usable()

    def set_parent(self, parent: ParentLink | None) -> None:
        """Raises Error: a flat image has no parent."""
        if parent is not None:
            raise Error(f"{self._storage.name}: {self._part.name} cannot record a parent; convert it first")

    def flush(self) -> None:
        """Make every change before this call durable; several who ask at once are served by one flush."""
        if self._life.state not in (State.READING, State.UNTOUCHED):
            with self._changing():
                self._commits.ask(self._flush)

    def _flush(self) -> None:
        self._life.check_usable()
        self._storage.flush()

    def checkpoint(self) -> None:
        """There is no log: the same as `flush`."""
        self.flush()

    def close(self) -> None:
        """Flush and close the storage. In a forked process only the last."""
        try:
            self.settle()
        finally:
            self.abandon()

    def settle(self) -> None:
        """Flush, and leave the file open; see `Image.settle`."""
        if self._owner.is_here:
            self._life.end(self._storage.flush)

    def abandon(self) -> None:
        """Close the storage without a flush."""
        self._life.enter(State.CLOSED)
        self._storage.close()

    def _check_range(self, offset: int, length: int) -> None:
        check_range(self._storage.name, offset, length, size=self._part.size, sector=self._part.sector_size)
