"""Files some bytes of which cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.memory import MemoryFileSystem
from vhdx.extents import Range
from vhdx.storage.base import Access, Storage
from vhdx.storage.forwarding import ForwardingStorage, Instead
from vhdx.storage.watched import Operation, WatchedFileSystem


@dataclass
class Failing:
    """Reads of *broken* parts of the file *path* raise *error*; *asked* counts them by the page."""

    path: str
    broken: Sequence[Range]
    error: OSError
    asked: list[int] = field(default_factory=list)

    def read(self, offset: int, length: int) -> None:
        if any(offset < part.end and part.offset < offset + length for part in self.broken):
            self.asked.append(length)
            raise self.error


def failing_storage(inner: Storage, failing: Failing) -> ForwardingStorage:
    """*inner*, which fails as *failing* says."""

    def read(pieces: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in pieces:
            failing.read(offset, len(buffer))
        inner.read(pieces)

    return ForwardingStorage(inner, Instead(read=read, hides=True))


class FailingFileSystem(WatchedFileSystem):
    """*files*, one of which fails."""

    def __init__(self, files: MemoryFileSystem, failing: Failing) -> None:
        super().__init__(files, _ignore)
        self._failing = failing

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        storage = super().open(path, access, beneath=beneath)
        return failing_storage(storage, self._failing) if path == self._failing.path else storage


def _ignore(operation: Operation) -> None:
    """Nothing is to be told."""
