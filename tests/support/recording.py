"""A file system in memory that writes down, in order, everything that was asked of it.

What it wrote down is what `tests.support.crash` makes crash states from. Copying is left to the fallback, so that
every byte that moves is seen as a write; zeroing and reserving are recorded as what they do to bytes and size.
"""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from tests.support.memory import MemoryFileSystem, MemoryStorage, Pages, normal
from vhdx.storage.base import Access, Buffer, Can, FileStatus, FileSystem, Move, Space, Storage, Unsupported
from vhdx.storage.forwarding import ForwardingStorage, Instead, unwrapped


class Write(NamedTuple):
    """Bytes put into a file; *data* is None for zeros."""

    file: int
    offset: int
    length: int
    data: bytes | None

    @property
    def end(self) -> int:
        return self.offset + self.length

    def apply(self, pages: Pages) -> None:
        """Do it again to *pages*."""
        if self.data is not None:
            pages.write(self.offset, self.data)
            return
        pages.grow(self.end)
        pages.zero(self.offset, self.length)


class Resize(NamedTuple):
    """A file's length set."""

    file: int
    size: int

    def apply(self, pages: Pages) -> None:
        """Do it again to *pages*."""
        pages.resize(self.size)


class Grow(NamedTuple):
    """A file made at least this long by a reservation."""

    file: int
    size: int

    def apply(self, pages: Pages) -> None:
        """Do it again to *pages*."""
        pages.grow(self.size)


class Flush(NamedTuple):
    """A flush of a file that has returned."""

    file: int


class Create(NamedTuple):
    """A name made for a new file."""

    path: str
    file: int


class Rename(NamedTuple):
    """A name changed; what had the new name before lost it."""

    source: str
    target: str


class Remove(NamedTuple):
    """A name removed."""

    path: str


class SyncDirectory(NamedTuple):
    """A sync of a directory that has returned."""

    directory: str


class Mark(NamedTuple):
    """A point of the run that a test wants to find again in the states after it; nothing happens to the files."""

    label: str


DataEvent = Write | Resize | Grow
NameEvent = Create | Rename | Remove
Event = DataEvent | NameEvent | Flush | SyncDirectory | Mark


class RecordingFileSystem:
    """*initial* with a record of all that happens to it. What it holds at the start counts as durable.

    *files* is the file system as it is now.
    """

    has_permissions = False

    def __init__(self, initial: MemoryFileSystem | None = None) -> None:
        self.initial = initial.snapshot() if initial is not None else {}
        self.events: list[Event] = []
        self.files = MemoryFileSystem({path: pages.copy() for path, pages in self.initial.items()})
        self.identities = {path: self._identity(path) for path in self.initial}
        self._lock = threading.Lock()

    def _identity(self, path: str) -> int:
        identity = self.files.stat(path).identity
        assert isinstance(identity, int)
        return identity

    def mark(self, label: str) -> None:
        """Note that the run has come so far: what was promised until now is owed by every state with this mark."""
        with self._lock:
            self.events.append(Mark(label))

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        inner = self.files.open(path, access, beneath=beneath)
        return Recorder(inner, self._identity(path), self.events, self._lock).storage()

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        return self.files.resolve(path, beneath=beneath)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        with self._lock:
            inner = self.files.create(path, like=like, exact=exact)
            file = self._identity(path)
            self.events.append(Create(normal(path), file))
        return Recorder(inner, file, self.events, self._lock).storage()

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        with self._lock:
            self.files.rename(source, target, replace=replace, held=unwrapped(held))
            self.events.append(Rename(normal(source), normal(target)))

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        with self._lock:
            self.files.remove(path, held=unwrapped(held))
            self.events.append(Remove(normal(path)))

    def stat(self, path: str) -> FileStatus:
        return self.files.stat(path)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        return self.files.list(directory, prefix, suffix)

    def exists(self, path: str) -> bool:
        return self.files.exists(path)

    def staying(self, directory: str) -> AbstractContextManager[FileSystem]:
        return nullcontext(self)

    def space(self) -> Space:
        return self.files.space()

    def sync_directory(self, directory: str) -> None:
        with self._lock:
            self.files.sync_directory(directory)
            self.events.append(SyncDirectory(normal(directory)))

    def describe(self, path: str) -> str:
        return self.files.describe(path)


class Recorder:
    """What happens to an open file of a `RecordingFileSystem`, done to *inner* and written down."""

    def __init__(self, inner: MemoryStorage, file: int, events: list[Event], lock: threading.Lock) -> None:
        self._inner = inner
        self._file = file
        self._events = events
        self._lock = lock

    def storage(self) -> ForwardingStorage:
        """The file, as it is given to the engine."""
        instead = Instead(
            write=self.write,
            can_copy=lambda _: Can.NO,
            copy=self.copy,
            zero=self.zero,
            reserve=self.reserve,
            flush=self.flush,
            truncate=self.truncate,
            hides=True,
        )
        return ForwardingStorage(self._inner, instead)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        with self._lock:
            self._inner.write(pieces)
            for offset, data in pieces:
                if len(data):
                    self._events.append(Write(self._file, offset, len(data), _unless_zeros(data)))

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        raise Unsupported("every byte is to be seen as a write")

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self._lock:
            self._inner.zero(ranges)
            self._events.extend(Write(self._file, offset, length, None) for offset, length in ranges if length)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self._lock:
            size = self._inner.size()
            self._inner.reserve(ranges)
            if self._inner.size() > size:
                self._events.append(Grow(self._file, self._inner.size()))

    def flush(self) -> None:
        with self._lock:
            self._inner.flush()
            self._events.append(Flush(self._file))

    def truncate(self, size: int) -> None:
        with self._lock:
            self._inner.truncate(size)
            self._events.append(Resize(self._file, size))


def _unless_zeros(data: Buffer) -> bytes | None:
    # Kept for the length of a test: logs and tables are zeroed by the MiB.
    kept = bytes(data)
    return None if kept == bytes(len(kept)) else kept
