"""A read-only storage with changes in memory over a base: how readers see a file whose log is not replayed yet.

Only changed ranges are kept; a range of zeros takes constant memory.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn, Protocol, Self

from vhdx.errors import FormatError, ReadOnly
from vhdx.extents import Range
from vhdx.storage import transfer
from vhdx.storage.base import Buffer, Can, Capabilities, FileStatus, Move, Storage


class Later(Protocol):
    """Bytes that are loaded when they are read."""

    def __len__(self) -> int: ...

    def part(self, start: int, end: int) -> Self:
        """The bytes between two of its own offsets."""

    def fetch(self) -> Buffer: ...


Change = tuple[int, Buffer | int | Later]
"""An offset with its new bytes, or with the length of a range of zeros."""


class _Piece(NamedTuple):
    """A changed range; *data* is None for zeros."""

    offset: int
    length: int
    data: memoryview | Later | None

    @property
    def end(self) -> int:
        return self.offset + self.length

    def part(self, start: int, end: int) -> "_Piece":
        """The part between two offsets inside the piece."""
        first, last = start - self.offset, end - self.offset
        if isinstance(self.data, memoryview):
            return _Piece(start, end - start, self.data[first:last])
        data = None if self.data is None else self.data.part(first, last)
        return _Piece(start, end - start, data)


class _Unchanged(NamedTuple):
    """A range between the changes."""

    offset: int
    length: int


class OverlayStorage:
    """*base* with *changes* applied in order; read-only.

    *size* is the resulting length in bytes; None: large enough for the base and all changes. Unchanged ranges beyond
    the end of the base read as zeros. Closing it closes the base.
    """

    def __init__(self, base: Storage, changes: Iterable[Change], *, size: int | None = None) -> None:
        self._base = base
        self._base_size = base.size()
        self._pieces = _laid(changes)
        if size is None:
            size = max(self._base_size, self._pieces[-1].end if self._pieces else 0)
        self._size = size

    @property
    def name(self) -> str:
        return self._base.name

    @property
    def writable(self) -> bool:
        return False

    def can(self) -> Capabilities:
        return Capabilities(Can.NO, Can.NO, Can.YES)

    def can_copy(self, source: Storage) -> Can:  # noqa: ARG002
        return Can.NO

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        below: list[tuple[int, memoryview]] = []
        for offset, buffer in pieces:
            self._check_inside(offset, len(buffer))
            for part in self._parts(offset, len(buffer)):
                start = part.offset - offset
                target = buffer[start : start + part.length]
                if isinstance(part, _Unchanged):
                    below.extend(self._from_base(part, target))
                elif part.data is None:
                    target[:] = bytes(part.length)
                else:
                    target[:] = part.data if isinstance(part.data, memoryview) else part.data.fetch()
        self._base.read(below)  # even if empty, so that a closed file raises

    def _from_base(self, part: _Unchanged, target: memoryview) -> Iterator[tuple[int, memoryview]]:
        """The read that fills *target*; zeroes the part beyond the end of the base."""
        inside = max(0, min(part.length, self._base_size - part.offset))
        if inside < part.length:
            target[inside:] = bytes(part.length - inside)
        if inside:
            yield part.offset, target[:inside]

    def _parts(self, offset: int, length: int) -> Iterator[_Piece | _Unchanged]:
        """A range split at the boundaries of changes, in ascending order."""
        end = offset + length
        number = max(0, bisect_right(self._pieces, offset, key=lambda piece: piece.offset) - 1)
        while offset < end:
            piece = self._pieces[number] if number < len(self._pieces) else None
            if piece is not None and piece.end <= offset:
                number += 1
                continue
            if piece is None or piece.offset >= end:
                yield _Unchanged(offset, end - offset)
                return
            if offset < piece.offset:
                yield _Unchanged(offset, piece.offset - offset)
            start, stop = max(offset, piece.offset), min(end, piece.end)
            yield piece.part(start, stop)
            offset = stop

    def _check_inside(self, offset: int, length: int) -> None:
        if offset + length > self._size and length:
            reason = f"a range of {length} bytes extends beyond end of file at {self._size}"
            raise FormatError("file", offset, reason, file=self.name)

    def identity(self) -> Hashable:
        return self._base.identity()

    def status(self) -> FileStatus:
        return self._base.status()

    def innermost(self) -> Storage:
        """This storage, because the content differs from the base's."""
        return self

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        pending: Range | None = None
        for piece in self._data(offset, min(length, self._size - offset)):
            if pending is not None and pending.end == piece.offset:
                pending = Range(pending.offset, pending.length + piece.length)
                continue
            if pending is not None:
                yield pending
            pending = piece
        if pending is not None:
            yield pending

    def _data(self, offset: int, length: int) -> Iterator[Range]:
        for part in self._parts(offset, length):
            if isinstance(part, _Unchanged):
                inside = min(part.length, self._base_size - part.offset)
                if inside > 0:
                    yield from transfer.allocated(self._base, part.offset, inside)
            elif part.data is not None:
                yield Range(part.offset, part.length)

    def size(self) -> int:
        return self._size

    def flush(self) -> None:
        """Does nothing: nothing was written."""

    def close(self) -> None:
        self._base.close()

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:  # noqa: ARG002
        self._refuse()

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:  # noqa: ARG002
        self._refuse()

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002
        self._refuse()

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002
        self._refuse()

    def truncate(self, size: int) -> None:  # noqa: ARG002
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(f"{self.name}: read-only until its log is replayed")


def settled(changes: Iterable[Change]) -> Iterator[Change]:
    """The result of *changes* applied in order: ascending and disjoint."""
    for offset, length, data in _laid(changes):
        yield offset, length if data is None else data


def _laid(changes: Iterable[Change]) -> list[_Piece]:
    """The changes as ascending, disjoint pieces; later changes override earlier ones."""
    pieces: list[_Piece] = []
    for offset, content in changes:
        if isinstance(content, int):
            piece = _Piece(offset, content, None)
        elif not isinstance(content, bytes | bytearray | memoryview):
            piece = _Piece(offset, len(content), content)
        else:
            data = memoryview(content).cast("B")
            piece = _Piece(offset, len(data), data)
        if piece.length:
            _lay(pieces, piece)
    return pieces


def _lay(pieces: list[_Piece], piece: _Piece) -> None:
    """Insert *piece*; cut or replace the pieces that it overlaps."""
    first = max(0, bisect_right(pieces, piece.offset, key=lambda other: other.offset) - 1)
    if first < len(pieces) and pieces[first].end <= piece.offset:
        first += 1
    last = first
    while last < len(pieces) and pieces[last].offset < piece.end:
        last += 1
    covered = pieces[first:last]
    kept = [piece]
    if covered and covered[0].offset < piece.offset:
        kept.insert(0, covered[0].part(covered[0].offset, piece.offset))
    if covered and covered[-1].end > piece.end:
        kept.append(covered[-1].part(piece.end, covered[-1].end))
    pieces[first:last] = kept
