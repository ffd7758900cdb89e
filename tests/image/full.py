"""A file system in memory that runs full: pages that a file does not have yet count against a limit."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from tests.support.memory import PAGE, MemoryFileSystem, MemoryStorage
from vhdx.errors import OutOfSpace
from vhdx.storage.base import Access, Buffer, Can, FileStatus, FileSystem, Move, Space, Storage, Unsupported
from vhdx.storage.forwarding import ForwardingStorage, Instead, unwrapped


class FullFileSystem:
    """*inner*, all files of which together may have *pages* pages; overwriting what is there always works."""

    has_permissions = False

    def __init__(self, inner: MemoryFileSystem, *, room: int) -> None:
        self.inner = inner
        self.left = room

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        return _counted(self, self.inner.open(path, access, beneath=beneath))

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        return self.inner.resolve(path, beneath=beneath)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        return _counted(self, self.inner.create(path, like=like, exact=exact))

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        self.inner.rename(source, target, replace=replace, held=unwrapped(held))

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self.inner.remove(path, held=unwrapped(held))

    def stat(self, path: str) -> FileStatus:
        return self.inner.stat(path)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        return self.inner.list(directory, prefix, suffix)

    def exists(self, path: str) -> bool:
        return self.inner.exists(path)

    def staying(self, directory: str) -> AbstractContextManager[FileSystem]:
        return nullcontext(self)

    def space(self) -> Space:
        return Space(1 << 40, self.left)

    def sync_directory(self, directory: str) -> None:
        self.inner.sync_directory(directory)

    def describe(self, path: str) -> str:
        return self.inner.describe(path)


def _counted(files: FullFileSystem, inner: MemoryStorage) -> Storage:
    """An open file of a `FullFileSystem`."""

    def spend(offset: int, length: int) -> None:
        start, end = offset // PAGE * PAGE, -(-(offset + length) // PAGE) * PAGE
        there = sum(-(-piece.length // PAGE) * PAGE for piece in inner.allocated(start, end - start))
        needed = max(end - start - there, 0)
        if needed > files.left:
            raise OutOfSpace(f"{inner.name}: no space left; make room and try again")
        files.left -= needed

    def write(pieces: Sequence[tuple[int, Buffer]]) -> None:
        for offset, data in pieces:
            spend(offset, len(data))
            inner.write([(offset, data)])

    def copy(source: Storage, moves: Sequence[Move]) -> None:
        raise Unsupported("every byte is to be counted")

    def reserve(ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            spend(offset, length)
            inner.reserve([(offset, length)])

    instead = Instead(can_copy=lambda _: Can.NO, write=write, copy=copy, reserve=reserve, hides=True)
    return ForwardingStorage(inner, instead)
