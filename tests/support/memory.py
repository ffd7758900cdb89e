"""Files in memory that keep the storage contract to the letter, and nothing more than it promises.

The bytes of a file are pages shared between copies, so files of many MiB are copied and compared by the thousand.
Everything is deterministic: identities and times are counters. What the contract leaves to the caller (ranges of
`zero` inside the file, no use after `close`) is checked and is a ValueError here, because it is a bug.
"""

import errno
import posixpath
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from vhdx.errors import Error, FormatError, InUse, ReadOnly
from vhdx.extents import Range, spans
from vhdx.storage.base import (
    Access,
    Buffer,
    Can,
    Capabilities,
    FileStatus,
    FileSystem,
    Move,
    Space,
    Storage,
    Unsupported,
    is_named,
)
from vhdx.storage.beneath import names_below, outside

PAGE = 4096
_ZEROS = bytes(PAGE)


class Pages:
    """The bytes of a file: a size, and immutable pages by number; a missing page is a hole."""

    __slots__ = ("_changed", "_pages", "_size", "_sum")

    def __init__(self, data: bytes = b"") -> None:
        self._pages: dict[int, bytes] = {}
        self._size = 0
        self._sum = 0  # over the pages as they were at the last fingerprint
        self._changed: dict[int, bytes | None] = {}  # what they were where they have changed since
        self.write(0, data)

    @property
    def size(self) -> int:
        return self._size

    def copy(self) -> "Pages":
        """A file of its own with the same bytes; costs a few bytes for each page."""
        twin = Pages()
        twin._pages = self._pages.copy()
        twin._size = self._size
        twin._sum = self._sum
        twin._changed = self._changed.copy()
        return twin

    def fingerprint(self) -> int:
        """Equal for equal bytes, holes or not."""
        for number, page in self._changed.items():
            self._sum ^= _weight(number, page) ^ _weight(number, self._pages.get(number))
        self._changed.clear()
        return hash((self._size, self._sum))

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range inside the file."""
        parts = []
        for number, within, piece in spans(offset, length, PAGE):
            page = self._pages.get(number, _ZEROS)
            parts.append(page if piece == PAGE else page[within : within + piece])
        return b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill *buffer* with the bytes from *offset* on, all inside the file."""
        number, within = divmod(offset, PAGE)
        get, end, done = self._pages.get, len(buffer), 0
        if within:
            done = min(PAGE - within, end)
            buffer[:done] = get(number, _ZEROS)[within : within + done]
            number += 1
        for page in range(number, number + (end - done) // PAGE):
            buffer[done : done + PAGE] = get(page, _ZEROS)
            done += PAGE
        if done < end:
            buffer[done:] = self.read(offset + done, end - done)

    def put(self, parts: Mapping[int, bytes], end: int) -> None:
        """Put whole pages, by number, in their places; the file grows to *end*. The same objects serve many files."""
        for number in parts:
            self._changed.setdefault(number, self._pages.get(number))
        self._pages.update(parts)
        self.grow(end)

    def write(self, offset: int, data: Buffer) -> None:
        """Put *data* at *offset*; the file grows as needed."""
        view = memoryview(data).cast("B")
        done = 0
        for number, within, piece in spans(offset, len(view), PAGE):
            part = bytes(view[done : done + piece])
            if piece < PAGE:
                page = self._pages.get(number, _ZEROS)
                part = page[:within] + part + page[within + piece :]
            self._changed.setdefault(number, self._pages.get(number))
            self._pages[number] = _ZEROS if part == _ZEROS else part
            done += piece
        if done:
            self.grow(offset + done)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; whole pages become holes. The size stays."""
        first, last = -(-offset // PAGE), (offset + length) // PAGE
        size = self._size
        if first > last:
            self.write(offset, bytes(length))
        else:
            self.write(offset, bytes(first * PAGE - offset))
            self.write(last * PAGE, bytes(offset + length - last * PAGE))
            self._drop(first, last)
        self._size = size

    def _drop(self, first: int, last: int) -> None:
        numbers = range(first, last)
        if len(numbers) > len(self._pages):
            held: Iterable[int] = [number for number in self._pages if number in numbers]
        else:
            held = [number for number in numbers if number in self._pages]
        for number in held:
            self._changed.setdefault(number, self._pages.pop(number))

    def reserve(self, offset: int, length: int) -> None:
        """Fill the holes of a range with pages of zeros; the file grows as needed."""
        for span in spans(offset, length, PAGE):
            self._pages.setdefault(span.number, _ZEROS)
        if length:
            self.grow(offset + length)

    def grow(self, size: int) -> None:
        """Make the file at least this long."""
        self._size = max(self._size, size)

    def resize(self, size: int) -> None:
        """Set the size; what is beyond it is gone, what is new reads as zeros."""
        if size < self._size:
            end = -(-self._size // PAGE) * PAGE
            self.zero(size, end - size)
        self._size = size

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        """The runs of pages in a range, clipped to it and to the file."""
        end = min(offset + length, self.size)
        start = stop = offset
        for number in sorted(number for number in self._pages if offset < (number + 1) * PAGE and number * PAGE < end):
            if number * PAGE > stop:
                if start < stop:
                    yield Range(start, stop - start)
                start = number * PAGE
            stop = min((number + 1) * PAGE, end)
        if start < stop:
            yield Range(start, stop - start)

    def used(self) -> int:
        """The space that the pages take."""
        return len(self._pages) * PAGE


def _weight(number: int, page: bytes | None) -> int:
    """What a page adds to the sum of its file. Python keeps the hash of bytes, so shared pages are hashed once."""
    return 0 if page is None or page is _ZEROS else hash((number, page))


class MemoryFile:
    """What a name stands for: the bytes, and who holds them."""

    def __init__(self, identity: int, pages: Pages) -> None:
        self.identity = identity
        self.pages = pages
        self.holders: list[Access] = []
        self.modified = 0.0
        self.lock = threading.Lock()

    def status(self) -> FileStatus:
        """What the file system knows of it."""
        return FileStatus(self.identity, self.pages.size, self.pages.used(), self.modified)

    def admits(self, access: Access) -> bool:
        """Whether it may be opened so beside those who hold it."""
        if access is Access.INSPECT:
            return True
        return not any(held.writes for held in self.holders) and not (access.writes and Access.READ in self.holders)


class MemoryStorage:
    """One open file in memory. *optional* is False for one that does nothing that the contract lets it refuse."""

    def __init__(self, file: MemoryFile, name: str, access: Access, *, optional: bool = True) -> None:
        self._file = file
        self._name = name
        self._access = access
        self._optional = optional
        self._open = True
        file.holders.append(access)

    @property
    def name(self) -> str:
        return self._name

    @property
    def writable(self) -> bool:
        return self._access.writes

    def can(self) -> Capabilities:
        able = Can.YES if self._optional else Can.NO
        return Capabilities(able, able, able)

    def can_copy(self, source: Storage) -> Can:
        return Can.YES if self._optional and isinstance(source, MemoryStorage) else Can.NO

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        with self._file.lock:
            pages = self._usable()
            for offset, buffer in pieces:
                if len(buffer):
                    self._check_inside(offset, len(buffer))
                    pages.read_into(offset, buffer)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        with self._file.lock:
            pages = self._changing()
            for offset, data in pieces:
                pages.write(offset, data)

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        self._check_writable()
        self._check_optional()
        # Looking through wrappers is the caller's part.
        if not isinstance(source, MemoryStorage):
            raise Unsupported("only files in memory")
        for move in moves:
            data = bytearray(move.length)
            source.read([(move.source_offset, memoryview(data))])
            self.write([(move.target_offset, data)])

    def identity(self) -> Hashable:
        self._usable()
        return self._file.identity

    def status(self) -> FileStatus:
        self._usable()
        return self._file.status()

    def is_open(self, file: MemoryFile) -> bool:
        """Whether this holds *file* now, for writing."""
        return self._open and self._file is file and self.writable

    def innermost(self) -> Storage:
        return self

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self._file.lock:
            pages = self._changing()
            self._check_optional()
            for offset, length in ranges:
                if offset + length > pages.size:
                    raise ValueError(f"{self._name}: zeroing {offset}+{length} beyond the size {pages.size}")
                pages.zero(offset, length)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        with self._file.lock:
            pages = self._changing()
            self._check_optional()
            for offset, length in ranges:
                pages.reserve(offset, length)

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        with self._file.lock:
            pages = self._usable()
            self._check_optional()
            return iter(list(pages.allocated(offset, length)))

    def flush(self) -> None:
        self._usable()

    def size(self) -> int:
        return self._usable().size

    def truncate(self, size: int) -> None:
        with self._file.lock:
            self._changing().resize(size)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._file.holders.remove(self._access)

    def _usable(self) -> Pages:
        if not self._open:
            raise ValueError(f"{self._name}: used after it was closed")
        return self._file.pages

    def _changing(self) -> Pages:
        self._check_writable()
        self._file.modified += 1
        return self._usable()

    def _check_writable(self) -> None:
        if not self.writable:
            raise ReadOnly(f"{self._name}: the file was opened for reading only")

    def _check_optional(self) -> None:
        if not self._optional:
            raise Unsupported("this storage does only what it must")

    def _check_inside(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self._file.pages.size:
            reason = f"the file ends before the {length} bytes that were to be read from here"
            raise FormatError("file", offset, reason, file=self._name)


class MemoryFileSystem:
    """A tree of files in memory; a directory is there when a file is in it.

    *optional* is False for one whose files refuse every optional operation, so that the fallbacks run.
    """

    has_permissions = False

    def __init__(
        self, files: dict[str, Pages] | None = None, *, capacity: int = 1 << 40, optional: bool = True
    ) -> None:
        self._capacity = capacity
        self._optional = optional
        self._files: dict[str, MemoryFile] = {}
        self._identities = 0
        for path, pages in sorted((files or {}).items()):
            self._add(normal(path), pages)

    def _add(self, place: str, pages: Pages) -> MemoryFile:
        self._identities += 1
        self._files[place] = MemoryFile(self._identities, pages)
        return self._files[place]

    def snapshot(self) -> dict[str, Pages]:
        """A copy of every file's bytes as they are now, by path; a `MemoryFileSystem` can be made of it."""
        return {path: file.pages.copy() for path, file in self._files.items()}

    def fingerprint(self, path: str) -> int:
        """Equal for equal bytes of a file, holes or not."""
        return self._find(path).pages.fingerprint()

    def paths(self) -> Iterable[str]:
        """Every file, sorted."""
        return sorted(self._files)

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        """There are no links in memory."""
        if beneath is None:
            return path
        names = names_below(posixpath.normpath(path), beneath)
        if names is None:
            raise outside(path, beneath)
        return posixpath.normpath(posixpath.join(beneath, *names))

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> MemoryStorage:
        self.resolve(path, beneath=beneath)
        file = self._find(path)
        if not file.admits(access):
            raise InUse(f"{self.describe(path)}: in use")
        return MemoryStorage(file, self.describe(path), access, optional=self._optional)

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> MemoryStorage:
        place = normal(path)
        if place in self._files:
            raise FileExistsError(errno.EEXIST, "the file exists", self.describe(path))
        return MemoryStorage(self._add(place, Pages()), self.describe(path), Access.OWN, optional=self._optional)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        file = self._unheld(source, held)
        place = normal(target)
        if place in self._files:
            if not replace:
                raise FileExistsError(errno.EEXIST, "the file exists", self.describe(target))
            self._unheld(target)
        del self._files[normal(source)]
        self._files[place] = file

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        self._unheld(path, held)
        del self._files[normal(path)]
        if held is not None:
            held.close()

    def stat(self, path: str) -> FileStatus:
        return self._find(path).status()

    def exists(self, path: str) -> bool:
        return normal(path) in self._files

    def staying(self, directory: str) -> AbstractContextManager[FileSystem]:
        return nullcontext(self)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        inside = normal(directory) if directory else ""
        above = inside + "/" if inside not in ("", ".") else ""
        under = [path.removeprefix(above) for path in self._files if path.startswith(above)]
        if above and not under:
            raise FileNotFoundError(errno.ENOENT, "no such directory", self.describe(directory))
        return sorted(path for path in under if "/" not in path and is_named(path, prefix, suffix))

    def space(self) -> Space:
        return Space(self._capacity, self._capacity - sum(file.pages.used() for file in self._files.values()))

    def sync_directory(self, directory: str) -> None:
        self.list(directory)

    def describe(self, path: str) -> str:
        return f"memory:/{path}"

    def _find(self, path: str) -> MemoryFile:
        place = normal(path)
        if place in self._files:
            return self._files[place]
        if place == "." or any(other.startswith(place + "/") for other in self._files):
            raise Error(f"{self.describe(path)}: not a regular file")
        raise FileNotFoundError(errno.ENOENT, "no such file", self.describe(path))

    def _unheld(self, path: str, held: Storage | None = None) -> MemoryFile:
        file = self._find(path)
        if held is not None:
            if not (isinstance(held, MemoryStorage) and held.is_open(file)):
                raise ValueError(f"{self.describe(path)}: not what the caller has open")
        elif not file.admits(Access.WRITE):
            raise InUse(f"{self.describe(path)}: in use")
        return file


def normal(path: str) -> str:
    """The one spelling of a path that stands for all of them. Raises Error, FileNotFoundError."""
    if "\0" in path:
        raise Error(f"{path!r}: no file can have this name, it contains a NUL")
    place = posixpath.normpath(path)
    if place.startswith(("../", "/")) or place == "..":
        raise FileNotFoundError(errno.ENOENT, "outside of the file system in memory", path)
    return place
