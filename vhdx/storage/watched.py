"""Wrappers that report every call to a watch: a `Tally` counts; another watch may throttle or fail.

Copies in the kernel or on the server remain possible.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from vhdx.extents import Range
from vhdx.storage.base import Access, Buffer, FileStatus, FileSystem, Move, Space, Storage
from vhdx.storage.forwarding import ForwardingStorage, Instead, unwrapped


class Operation(NamedTuple):
    """A call: its name in the contract, the file's name, the number of pieces and of bytes."""

    kind: str
    name: str
    pieces: int = 1
    length: int = 0


T = TypeVar("T")
Watch = Callable[[Operation], None]
"""Called before every call; may raise."""


def watched(inner: Storage, watch: Watch) -> ForwardingStorage:
    """Wrap *inner*; *watch* is called before each of its methods."""

    def tell(kind: str, lengths: Sequence[int] = ()) -> None:
        watch(Operation(kind, inner.name, len(lengths) or 1, sum(lengths)))

    def read(pieces: Sequence[tuple[int, memoryview]]) -> None:
        tell("read", [len(buffer) for _, buffer in pieces])
        inner.read(pieces)

    def write(pieces: Sequence[tuple[int, Buffer]]) -> None:
        tell("write", [len(data) for _, data in pieces])
        inner.write(pieces)

    def copy(source: Storage, moves: Sequence[Move]) -> None:
        tell("copy", [move.length for move in moves])
        inner.copy(source, moves)

    def zero(ranges: Sequence[tuple[int, int]]) -> None:
        tell("zero", [length for _, length in ranges])
        inner.zero(ranges)

    def reserve(ranges: Sequence[tuple[int, int]]) -> None:
        tell("reserve", [length for _, length in ranges])
        inner.reserve(ranges)

    def allocated(offset: int, length: int) -> Iterator[Range]:
        tell("allocated", [length])
        return inner.allocated(offset, length)

    def truncate(size: int) -> None:
        tell("truncate")
        inner.truncate(size)

    def told(kind: str, call: Callable[[], T]) -> Callable[[], T]:
        def asked() -> T:
            tell(kind)
            return call()

        return asked

    return ForwardingStorage(
        inner,
        Instead(
            read=read,
            write=write,
            copy=copy,
            zero=zero,
            reserve=reserve,
            allocated=allocated,
            flush=told("flush", inner.flush),
            size=told("size", inner.size),
            status=told("status", inner.status),
            truncate=truncate,
            close=told("close", inner.close),
        ),
    )


class WatchedFileSystem:
    """Wraps *inner*; *watch* is called before each method of it and of the files opened through it."""

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
        return watched(self._inner.open(path, access, beneath=beneath), self._watch)

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        return self._inner.resolve(path, beneath=beneath)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        self._tell("create", path)
        return watched(self._inner.create(path, like=like, exact=exact), self._watch)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        self._tell("rename", source)
        self._inner.rename(source, target, replace=replace, held=unwrapped(held))

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self._tell("remove", path)
        self._inner.remove(path, held=unwrapped(held))

    def stat(self, path: str) -> FileStatus:
        self._tell("stat", path)
        return self._inner.stat(path)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        self._tell("list", directory)
        return self._inner.list(directory, prefix, suffix)

    def exists(self, path: str) -> bool:
        self._tell("exists", path)
        return self._inner.exists(path)

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


@dataclass(slots=True)
class Tally:
    """Counts the calls of each operation, their pieces and bytes."""

    calls: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def __call__(self, operation: Operation) -> None:
        self.calls[operation.kind] += 1
        self.pieces[operation.kind] += operation.pieces
        self.bytes[operation.kind] += operation.length

    def clear(self) -> None:
        """Reset all counters."""
        for counter in (self.calls, self.pieces, self.bytes):
            counter.clear()
