"""A storage that forwards to another, except for replaced operations.

A wrapper (to count, to keep an undo copy, to fail) defines only the operations that differ.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from vhdx.extents import Range
from vhdx.storage.base import Buffer, Can, Capabilities, FileStatus, Move, Storage


@dataclass(frozen=True, slots=True)
class Instead:
    """Replacements for operations; None: forward to the wrapped storage."""

    can_copy: Callable[[Storage], Can] | None = None
    read: Callable[[Sequence[tuple[int, memoryview]]], None] | None = None
    write: Callable[[Sequence[tuple[int, Buffer]]], None] | None = None
    copy: Callable[[Storage, Sequence[Move]], None] | None = None
    zero: Callable[[Sequence[tuple[int, int]]], None] | None = None
    reserve: Callable[[Sequence[tuple[int, int]]], None] | None = None
    allocated: Callable[[int, int], Iterator[Range]] | None = None
    flush: Callable[[], None] | None = None
    size: Callable[[], int] | None = None
    status: Callable[[], FileStatus] | None = None
    truncate: Callable[[int], None] | None = None
    close: Callable[[], None] | None = None
    hides: bool = False  # `innermost` is this storage, so copies do not bypass it


class ForwardingStorage:
    """Forwards to *inner*, except for the operations in *instead*. Copies in the kernel or on the server bypass it."""

    def __init__(self, inner: Storage, instead: Instead) -> None:
        self.inner = inner
        self._instead = instead

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def writable(self) -> bool:
        return self.inner.writable

    def can(self) -> Capabilities:
        return self.inner.can()

    def can_copy(self, source: Storage) -> Can:
        return (self._instead.can_copy or self.inner.can_copy)(source)

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        (self._instead.read or self.inner.read)(pieces)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        (self._instead.write or self.inner.write)(pieces)

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        (self._instead.copy or self.inner.copy)(source, moves)

    def innermost(self) -> Storage:
        return self if self._instead.hides else self.inner.innermost()

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        (self._instead.zero or self.inner.zero)(ranges)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        (self._instead.reserve or self.inner.reserve)(ranges)

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        return (self._instead.allocated or self.inner.allocated)(offset, length)

    def flush(self) -> None:
        (self._instead.flush or self.inner.flush)()

    def size(self) -> int:
        return (self._instead.size or self.inner.size)()

    def identity(self) -> Hashable:
        return self.inner.identity()

    def status(self) -> FileStatus:
        return (self._instead.status or self.inner.status)()

    def truncate(self, size: int) -> None:
        (self._instead.truncate or self.inner.truncate)(size)

    def close(self) -> None:
        (self._instead.close or self.inner.close)()


def unwrapped(held: Storage | None) -> Storage | None:
    """The storage that the wrapped file system returned for *held*."""
    return held.inner if isinstance(held, ForwardingStorage) else held
