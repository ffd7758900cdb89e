"""An image whose blocks can be anywhere in the file: VHDX, and dynamic and differencing VHD.

Any number of threads may read and write, and one at a time changes the shape of the image. Crash guarantee: whatever
part of the writes since the last `flush` survives, the image opens, everything before that flush is there, and each
later sector is old or new.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from uuid import UUID

from vhdx.errors import FormatError
from vhdx.extents import Extent, Presence, Range, coalesce
from vhdx.image.base import ALLOCATE_LIMIT, ImageInfo, ParentLink, Progress
from vhdx.image.gate import Pin
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import Owner, State
from vhdx.image.placing import Prepared, filled
from vhdx.image.ranges import check_range
from vhdx.storage.base import Buffer, Storage


class Blocks(Protocol):
    """What one format does with its file. Ranges are whole sectors inside the disk.

    Several threads call a *change of content* at once, between `Gate.enter` and `leave`, with no lock held; one thread
    calls a *change of shape*, inside `Latches.changing`.
    """

    storage: Storage
    latches: Latches

    @property
    def info(self) -> ImageInfo: ...

    @property
    def virtual_size(self) -> int: ...

    @property
    def logical_sector_size(self) -> int: ...

    def pieces(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range, block by block."""

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """See `Image.locate`."""

    def settled_place(self, offset: int, length: int) -> int | Presence | None:
        """Where a range lies in one piece, when writing there changes nothing but payload; no number where it may."""

    def shared(self) -> FormatError | None:
        """See `Image.shared`; called under the table lock."""

    def surveyed(self) -> object:
        """Survey every structure once; called under the table lock. Raises FormatError."""

    def prepare(self, ranges: Sequence[Range]) -> Prepared:
        """A change of content: places for payload."""

    def zero(self, offset: int, length: int) -> None:
        """A change of content: see `Image.zero`."""

    def discard(self, offset: int, length: int) -> None:
        """A change of content: see `Image.discard`."""

    def commit(self) -> None:
        """Everything so far durable, in one consistent step; one at a time, beside changes of content."""

    def begin(self, data_write_guid: UUID | None) -> None:
        """A change of shape, before the content changes: see `Image.begin`."""

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:
        """A change of shape: see `Image.drop_zeros`."""

    def pack(self, on_progress: Progress) -> None:
        """A change of shape: see `Image.pack`."""

    def resize(self, size: int, *, below: int) -> None:
        """A change of shape: see `Image.resize`."""

    def set_parent(self, parent: ParentLink | None) -> None:
        """A change of shape: see `Image.set_parent`."""

    def checkpoint(self) -> None:
        """A change of shape: see `Image.checkpoint`."""

    def settle(self) -> None:
        """Make the file complete and durable, in the last step of its life."""

    def close(self) -> None:
        """`settle`, and close the storage. It must not refer to the image."""


class BlockImage:
    """Implements `vhdx.image.base.Image` over the blocks of one format."""

    def __init__(self, blocks: Blocks, *, is_kept: bool) -> None:
        """*is_kept*: what is dropped without `close` is closed; else it goes with its storage."""
        self._blocks = blocks
        self._latches = blocks.latches
        self._life = blocks.latches.life
        self.gate = self._life.gate
        self._sector = blocks.logical_sector_size
        self._owner = Owner(self, blocks.storage.name, blocks.close if is_kept else None)

    @property
    def storage(self) -> Storage:
        """Where payload lies; with a log that was not replayed yet, a view of the file as it will be."""
        return self._blocks.storage

    @property
    def virtual_size(self) -> int:
        """Bytes of the disk."""
        return self._blocks.virtual_size

    @property
    def logical_sector_size(self) -> int:
        """Bytes of a sector."""
        return self._sector

    @property
    def info(self) -> ImageInfo:
        """What the image says of itself."""
        return self._blocks.info

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this layer says of a range. Raises FormatError at a bad table entry."""
        self._check_range(offset, length)
        return coalesce(self._blocks.pieces(offset, length))

    def locate(self, offset: int, length: int) -> int | Presence | None:
        """Where a range can be read in one piece; see `Image.locate`."""
        return self._blocks.locate(offset, length)

    def shared(self) -> FormatError | None:
        """Two blocks that overlap, if any; see `Image.shared`."""
        with self._latches.looking():
            fault = self._blocks.shared()
        if fault is not None:
            fault.file = self.storage.name
        return fault

    def pinned(self) -> AbstractContextManager[None]:
        """While inside, no space that `extents` has returned is reused."""
        return Pin(self.gate)

    def allocate(self, ranges: Sequence[Range]) -> AbstractContextManager[Sequence[Extent]]:
        """Places for payload; see `Image.allocate`."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        if sum(wanted.length for wanted in ranges) > ALLOCATE_LIMIT:
            raise ValueError(f"more than {ALLOCATE_LIMIT} bytes in one allocation")
        return self._allocated(ranges)

    @contextmanager
    def _allocated(self, ranges: Sequence[Range]) -> Iterator[Sequence[Extent]]:
        with self.beside(), filled(self._life, self._blocks.prepare(ranges)) as places:
            yield places

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Inside the gate; see `Image.beside`."""
        while True:
            with self.gate.beside():
                if self._life.state is State.BEGUN:
                    yield
                    return
                # Raised here, inside: a thread inside must not wait to be alone, or two of them would deadlock.
                self._life.check_usable()
            with self._latches.changing():
                self._blocks.begin(None)

    def overwrite(self, offset: int, data: Buffer) -> bool:
        """Write *data* to space that is allocated already; see `Image.overwrite`."""
        length, sector, life = len(data), self._sector, self._life
        if offset % sector or length % sector or length > ALLOCATE_LIMIT or life.state is not State.BEGUN:
            return False
        # The block may be discarded meanwhile; its space is not reused while this thread is inside.
        place = self._blocks.settled_place(offset, length)
        if not isinstance(place, int):
            return False
        try:
            self._blocks.storage.write([(place, data)])
        except OSError as error:
            life.fail(error)
            raise
        return True

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; whole blocks give their space back where the format can say so."""
        self._check_range(offset, length)
        with self.beside():
            self._blocks.zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Discard the whole blocks inside a range."""
        self._check_range(offset, length)
        with self.beside():
            self._blocks.discard(offset, length)

    def drop_zeros(self, ranges: Sequence[Range], *, masked: bool) -> None:
        """Free the space of whole blocks of zeros."""
        for wanted in ranges:
            self._check_range(wanted.offset, wanted.length)
        with self._latches.changing():
            self._blocks.drop_zeros(ranges, masked=masked)

    def pack(self, on_progress: Progress) -> None:
        """Move blocks from the end of the file into holes; `close` cuts off what is free behind the last one."""
        with self._latches.changing():
            self._blocks.pack(on_progress)

    def resize(self, size: int, *, below: int = 0) -> None:
        """Change the size of the disk; see `Image.resize`. Durable on return."""
        with self._latches.changing():
            self._blocks.resize(size, below=below)

    def verify(self) -> None:
        """Raises FormatError for structures that lie on each other or behind the end; see `Image.verify`."""
        with self._latches.looking():
            self._blocks.surveyed()

    def begin(self, *, data_write_guid: UUID | None = None) -> None:
        """Declare a change of content, durably. A VHD keeps its id, so its children cannot tell."""
        with self._latches.changing():
            self._blocks.begin(data_write_guid)

    def set_parent(self, parent: ParentLink | None) -> None:
        """Replace the record of the parent, or do away with it; see `Image.set_parent`. Durable on return."""
        with self._latches.changing():
            self._blocks.set_parent(parent)

    def flush(self) -> None:
        """Make every change before this call durable; several who ask at once are served by one commit."""
        if self._life.state not in (State.READING, State.UNTOUCHED):
            with self.gate.beside():
                self._latches.commits.ask(self._blocks.commit)

    def checkpoint(self) -> None:
        """Make everything durable and take the log out of use; see `Image.checkpoint`."""
        if self._life.state not in (State.READING, State.UNTOUCHED):
            with self._latches.changing():
                self._blocks.checkpoint()

    def close(self) -> None:
        """Flush, take the log out of use, cut free space off, close the storage. In a forked process only the last."""
        if not self._owner.is_here:
            self.abandon()
        elif self._life.state is not State.CLOSED:
            self._owner.let_go()
            self._blocks.close()

    def settle(self) -> None:
        """Make the file complete and durable, and leave it open; see `Image.settle`."""
        if self._owner.is_here and self._life.state is not State.CLOSED:
            self._owner.let_go()
            self._blocks.settle()

    def abandon(self) -> None:
        """Close the storage without another write: what was not flushed may be lost, as in a crash."""
        self._owner.let_go()
        self._life.enter(State.CLOSED)
        self._blocks.storage.close()

    def _check_range(self, offset: int, length: int) -> None:
        check_range(self.storage.name, offset, length, size=self._blocks.virtual_size, sector=self._sector)
