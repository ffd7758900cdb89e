"""The contracts of storage: `Storage`, an open file, and `FileSystem`, a tree of named files.

A storage has no file position; offsets and lengths are in bytes; an operation completes or raises. Data operations take
lists, so that a network transport can pipeline the requests of one call.

The contract tests verify, for every implementation:

* `read`, `write`, `zero` and `truncate` are visible to every later call on the same storage.
* Nothing is durable before `flush` returns. Until then any subset of the writes and size changes since the last
  flush may survive, in any order, torn at sector boundaries.
* Created, renamed and removed names are durable only after `sync_directory`.
* An optional operation raises `Unsupported` before it changes anything that the caller could not redo; the fallbacks
  are in `vhdx.storage.transfer` and nowhere else. `Storage.can` and `Storage.can_copy` report what is known in advance:
  after NO the operation raises `Unsupported`, after YES it does not.
* Errors: `FileNotFoundError`, `FileExistsError`, `PermissionError` and other `OSError` for the transport; `InUse`,
  `OutOfSpace` and `ReadOnly` if the caller can do something about it; `FormatError` for a read beyond end of file.
"""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from vhdx.extents import Range

Buffer = bytes | bytearray | memoryview


class Unsupported(Exception):
    """The storage does not support the operation; nothing was changed that the fallback does not overwrite."""


class Can(Enum):
    """Whether a storage supports an optional operation."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # not known before it is tried


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What is known of the optional operations of a storage, by their names in `Storage`."""

    zero: Can
    reserve: Can
    allocated: Can


class Move(NamedTuple):
    """A range to copy from one storage to another."""

    source_offset: int
    target_offset: int
    length: int


class Storage(Protocol):
    """One open file."""

    @property
    def name(self) -> str:
        """The full path or URL for messages; contains no password."""

    @property
    def writable(self) -> bool:
        """Whether the file was opened for writing."""

    def can(self) -> Capabilities:
        """What is known without I/O. An operation that was tried is known afterwards."""

    def can_copy(self, source: "Storage") -> Can:
        """Whether `copy` from *source*, an innermost storage, is supported."""

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Fill each writable buffer from its offset.

        Raises FormatError when a piece extends beyond end of file.
        """

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        """Write each buffer at its offset, in any order. Extends the file as needed."""

    def copy(self, source: "Storage", moves: Sequence[Move]) -> None:
        """Copy from *source* in the kernel or on the server.

        Source and target ranges of one call must not overlap. Raises Unsupported; some moves may then be done, and the
        caller must repeat all of them another way.
        """

    def innermost(self) -> "Storage":
        """The wrapped storage, below wrappers that do not change content (counting, throttling, faults)."""

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Make ranges inside the file read as zeros without writing zeros; may punch holes. Raises Unsupported."""

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Allocate disk space for ranges that read as zeros, so that later writes cannot fail for lack of it.

        Extends the file as needed. Raises OutOfSpace, Unsupported.
        """

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        """The ranges with data, without holes: ascending, disjoint, within the request. Raises Unsupported."""

    def flush(self) -> None:
        """Make all previous changes durable."""

    def size(self) -> int:
        """The file's length; may be cached while the file is locked against other writers."""

    def identity(self) -> Hashable:
        """As in `status`; most file systems need no request for it."""

    def status(self) -> "FileStatus":
        """Query the open file, which may have lost its name meanwhile."""

    def truncate(self, size: int) -> None:
        """Set the file's length; an extension reads as zeros."""

    def close(self) -> None:
        """Close without flushing. Idempotent."""


class Access(Enum):
    """The access to a file, and the concurrent access it permits."""

    INSPECT = "inspect"  # read; permits everything
    READ = "read"  # read; permits no writer
    WRITE = "write"  # read and write; permits INSPECT only
    OWN = "own"  # WRITE, and the file may be renamed and removed through this handle

    @property
    def writes(self) -> bool:
        """Whether the file may be written to."""
        return self in (Access.WRITE, Access.OWN)


@dataclass(frozen=True, slots=True)
class FileStatus:
    """Metadata of a file; *identity* is equal for two names of one file.

    *links* is the number of hard links, 1 if the file system does not report it.
    """

    identity: Hashable
    size: int
    allocated: int
    modified: float  # seconds since 1970-01-01 UTC
    mode: int | None = None  # permission bits; None if they cannot be set on this file system
    owner: tuple[int, int] | None = None  # uid and gid
    links: int = 1


def is_named(name: str, prefix: str, suffix: str) -> bool:
    """Whether *name* has this prefix and suffix, ignoring case."""
    folded = name.casefold()
    return folded.startswith(prefix.casefold()) and folded.endswith(suffix.casefold())


class Space(NamedTuple):
    """Capacity of a file system for this user, in bytes."""

    total: int
    free: int


class FileSystem(Protocol):
    """A tree of files. Paths are relative to its root and separated by ``/``."""

    @property
    def has_permissions(self) -> bool:
        """Whether files have permission bits that can be set; see `FileStatus.mode`."""

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        """Open an existing regular file. Raises FileNotFoundError, PermissionError, InUse.

        With *beneath*, a directory, the opened file is in or below it, even if symbolic links are changed concurrently:
        *beneath* itself may be a link, and links below it may lead to targets below it. Raises LeadsOutside otherwise.
        Links that a server follows in its own file system cannot be detected.
        """

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        """The path of the target of *path*; *path* itself if its last component is no symbolic link.

        With *beneath*, a directory: the path below it, without links. Raises LeadsOutside. The target need not exist; a
        circular link resolves to itself.
        """

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        """Create an empty file and open it with Access.OWN. Raises FileExistsError.

        Its permissions never grant anybody but its owner more than those of the file *like*; with *exact*, for a file
        that will replace *like*, they are the same. On a share the server decides.
        """

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        """Rename a file atomically. Raises FileExistsError without *replace*, InUse.

        *held* is *source*, opened by the caller with Access.OWN; it stays open. Raises InUse if anybody else has either
        file open.
        """

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        """Remove a file. Raises FileNotFoundError, InUse.

        *held* is *path*, opened by the caller with Access.OWN; it is closed.
        """

    def stat(self, path: str) -> FileStatus:
        """Query a file without opening its content. Raises FileNotFoundError."""

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        """Sorted names of the regular files in *directory* ("" is the root) with *prefix* and *suffix*, ignoring case.

        A server filters the names, so others are not transferred.
        """

    def exists(self, path: str) -> bool:
        """Whether there is a regular file named exactly so; on a share, one request whatever else is there."""

    def staying(self, directory: str) -> AbstractContextManager["FileSystem"]:
        """The same files for several calls in *directory*, which a share keeps open meanwhile.

        The result is for one thread at a time and valid only within the ``with``.
        """

    def space(self) -> Space:
        """Total and free bytes."""

    def sync_directory(self, directory: str) -> None:
        """Make names that were created, renamed or removed in *directory* durable."""

    def describe(self, path: str) -> str:
        """The full path or URL of *path* for messages; contains no password."""
