"""A file as a repair would leave it: changes stay in memory and never reach the file."""

from collections.abc import Hashable, Iterator, Sequence

from vhdx.extents import Range
from vhdx.storage.base import Buffer, Can, Capabilities, FileStatus, Move, Storage, Unsupported
from vhdx.storage.overlay import Change, OverlayStorage


class SketchStorage:
    """A writable in-memory overlay over *base*. Closing it does not close *base*."""

    def __init__(self, base: Storage) -> None:
        self._base = base
        self._size = base.size()
        self._changes: list[Change] = []
        self._view: OverlayStorage | None = None

    def _seen(self) -> OverlayStorage:
        if self._view is None:
            self._view = OverlayStorage(self._base, self._changes, size=self._size)
        return self._view

    def _change(self, changes: Sequence[Change]) -> None:
        self._changes += changes
        self._view = None

    @property
    def name(self) -> str:
        return self._base.name

    @property
    def writable(self) -> bool:
        return True

    def can(self) -> Capabilities:
        return Capabilities(Can.YES, Can.YES, Can.YES)

    def can_copy(self, source: Storage) -> Can:  # noqa: ARG002
        return Can.NO

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        self._seen().read(pieces)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._change([(offset, bytes(data)) for offset, data in pieces])
        self._size = max([self._size, *(offset + len(data) for offset, data in pieces if len(data))])

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:  # noqa: ARG002
        raise Unsupported("a sketch has no file identity")

    def identity(self) -> Hashable:
        return self._base.identity()

    def status(self) -> FileStatus:
        return self._base.status()

    def innermost(self) -> Storage:
        return self

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._change(ranges)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._size = max([self._size, *(offset + length for offset, length in ranges if length)])
        self._view = None

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        return self._seen().allocated(offset, length)

    def flush(self) -> None:
        """Does nothing: a sketch is never durable."""

    def size(self) -> int:
        return self._size

    def truncate(self, size: int) -> None:
        if size < self._size:
            # Truncated content must not reappear when the file grows again.
            self._change([(size, self._size - size)])
        self._size = size
        self._view = None

    def close(self) -> None:
        """Does nothing: the base belongs to whoever opened it."""

