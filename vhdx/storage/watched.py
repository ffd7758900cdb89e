"""Storages around others that tell a watch of every call: a `Tally` counts; another watch may throttle or fail.

`innermost` passes through, so copies inside the kernel or the server still happen behind them.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from vhdx.extents import Range
from vhdx.storage.base import Access, Buffer, FileStatus, FileSystem, Move, Space, Storage


class Operation(NamedTuple):
    """One call on its way: its name in the contract, the file's name, how many pieces, how many bytes."""

    kind: str
    name: str
    pieces: int = 1
    length: int = 0


Watch = Callable[[Operation], None]
"""Told of every call before it is made; may raise instead."""


class WatchedStorage:
    """*inner*, each call of which is told to *watch* first."""

    def __init__(self, inner: Storage, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def writable(self) -> bool:
        return self._inner.writable

    def _tell(self, kind: str, lengths: Sequence[int] = ()) -> None:
        self._watch(Operation(kind, self._inner.name, len(lengths) or 1, sum(lengths)))

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        self._tell("read", [len(buffer) for _, buffer in pieces])
        self._inner.read(pieces)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._tell("write", [len(data) for _, data in pieces])
        self._inner.write(pieces)

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        self._tell("copy", [move.length for move in moves])
        self._inner.copy(source, moves)

    def innermost(self) -> Storage:
        return self._inner.innermost()

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._tell("zero", [length for _, length in ranges])
        self._inner.zero(ranges)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._tell("reserve", [length for _, length in ranges])
        self._inner.reserve(ranges)

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        self._tell("allocated", [length])
        return self._inner.allocated(offset, length)

    def flush(self) -> None:
        self._tell("flush")
        self._inner.flush()

    def size(self) -> int:
        self._tell("size")
        return self._inner.size()

    def identity(self) -> Hashable:
        return self._inner.identity()

    def status(self) -> FileStatus:
        self._tell("status")
        return self._inner.status()

    def truncate(self, size: int) -> None:
        self._tell("truncate")
        self._inner.truncate(size)

    def close(self) -> None:
        self._tell("close")
        self._inner.close()


class WatchedFileSystem:
    """*inner*, each call of which, and of the files opened through it, is told to *watch* first."""

    def __init__(self, inner: FileSystem, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def has_permissions(self) -> bool:
        return self._inner.has_permissions

    def _tell(self, kind: str, path: str) -> None:
        self._watch(Operation(kind, path))

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        self._tell("open", path)
        return WatchedStorage(self._inner.open(path, access, beneath=beneath), self._watch)

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        return self._inner.resolve(path, beneath=beneath)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        self._tell("create", path)
        return WatchedStorage(self._inner.create(path, like=like, exact=exact), self._watch)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        self._tell("rename", source)
        self._inner.rename(source, target, replace=replace, held=_inside(held))

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self._tell("remove", path)
        self._inner.remove(path, held=_inside(held))

    def stat(self, path: str) -> FileStatus:
        self._tell("stat", path)
        return self._inner.stat(path)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        self._tell("list", directory)
        return self._inner.list(directory, prefix, suffix)

    @contextmanager
    def staying(self, directory: str) -> Iterator[FileSystem]:
        with self._inner.staying(directory) as inner:
            yield WatchedFileSystem(inner, self._watch)

    def space(self) -> Space:
        self._tell("space", "")
        return self._inner.space()

    def sync_directory(self, directory: str) -> None:
        self._tell("sync_directory", directory)
        self._inner.sync_directory(directory)

    def describe(self, path: str) -> str:
        return self._inner.describe(path)


def _inside(held: Storage | None) -> Storage | None:
    """The caller's open file as the file system inside gave it."""
    return held._inner if isinstance(held, WatchedStorage) else held


@dataclass(slots=True)
class Tally:
    """How often each operation of the contract was called, with how many pieces and bytes."""

    calls: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def __call__(self, operation: Operation) -> None:
        self.calls[operation.kind] += 1
        self.pieces[operation.kind] += operation.pieces
        self.bytes[operation.kind] += operation.length

    def clear(self) -> None:
        """Start again at nothing."""
        for counter in (self.calls, self.pieces, self.bytes):
            counter.clear()
