"""A file system in memory that runs full: pages that a file does not have yet count against a limit."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from tests.support.memory import PAGE, MemoryFileSystem, MemoryStorage
from vhdx.errors import OutOfSpace
from vhdx.extents import Range
from vhdx.storage.base import Access, Buffer, FileStatus, FileSystem, Move, Space, Storage, Unsupported


class FullFileSystem:
    """*inner*, all files of which together may have *pages* pages; overwriting what is there always works."""

    has_permissions = False

    def __init__(self, inner: MemoryFileSystem, *, room: int) -> None:
        self.inner = inner
        self.left = room

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> "FullStorage":
        return FullStorage(self, self.inner.open(path, access, beneath=beneath))

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        return self.inner.resolve(path, beneath=beneath)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> "FullStorage":
        return FullStorage(self, self.inner.create(path, like=like, exact=exact))

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        self.inner.rename(source, target, replace=replace, held=_inside(held))

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self.inner.remove(path, held=_inside(held))

    def stat(self, path: str) -> FileStatus:
        return self.inner.stat(path)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        return self.inner.list(directory, prefix, suffix)

    def staying(self, directory: str) -> AbstractContextManager[FileSystem]:
        return nullcontext(self)

    def space(self) -> Space:
        return Space(1 << 40, self.left)

    def sync_directory(self, directory: str) -> None:
        self.inner.sync_directory(directory)

    def describe(self, path: str) -> str:
        return self.inner.describe(path)


def _inside(held: Storage | None) -> Storage | None:
    return held._inner if isinstance(held, FullStorage) else held


class FullStorage:
    """An open file of a `FullFileSystem`."""

    def __init__(self, files: FullFileSystem, inner: MemoryStorage) -> None:
        self._files = files
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def writable(self) -> bool:
        return self._inner.writable

    def _spend(self, offset: int, length: int) -> None:
        start, end = offset // PAGE * PAGE, -(-(offset + length) // PAGE) * PAGE
        there = sum(-(-piece.length // PAGE) * PAGE for piece in self._inner.allocated(start, end - start))
        needed = max(end - start - there, 0)
        if needed > self._files.left:
            raise OutOfSpace(f"{self.name}: no space left; make room and try again")
        self._files.left -= needed

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        self._inner.read(pieces)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        for offset, data in pieces:
            self._spend(offset, len(data))
            self._inner.write([(offset, data)])

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        raise Unsupported("every byte is to be counted")

    def identity(self) -> Hashable:
        return self._inner.identity()

    def status(self) -> FileStatus:
        return self._inner.status()

    def innermost(self) -> Storage:
        return self

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._inner.zero(ranges)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            self._spend(offset, length)
            self._inner.reserve([(offset, length)])

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        return self._inner.allocated(offset, length)

    def flush(self) -> None:
        self._inner.flush()

    def size(self) -> int:
        return self._inner.size()

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def close(self) -> None:
        self._inner.close()
