"""The two contracts between the engine and the places where bytes live.

A `Storage` is one open file: no cursor, offsets and lengths in bytes, every operation whole or an exception. The
data operations take lists, because extents come as lists: one call lets a network keep many requests in flight.
A `FileSystem` is a tree of files with names.

What every implementation promises, and what the contract tests hold it to:

* `read`, `write`, `zero` and `truncate` are seen by every later call on the same storage.
* Nothing is durable before `flush` has returned. Until then any subset of the writes and size changes since the last
  flush may survive, in any order, torn at sector edges.
* Names made, changed or removed are durable only after `sync_directory`.
* The optional operations raise `Unsupported` before they change anything that the caller could not redo; the fallback
  for each is in `vhdx.storage.transfer` and nowhere else. What is known before trying, `Storage.can` and
  `Storage.can_copy` tell: after NO the operation raises `Unsupported`, after YES it does not.
* Failures: `FileNotFoundError`, `FileExistsError`, `PermissionError` and other `OSError` for the transport; `InUse`,
  `OutOfSpace` and `ReadOnly` where the caller can do something about it; `FormatError` for a read past the end.
"""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from vhdx.extents import Range

Buffer = bytes | bytearray | memoryview


class Unsupported(Exception):
    """This storage cannot do that operation; nothing was changed that a fallback would not overwrite."""


class Can(Enum):
    """Whether a storage does an optional operation."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # the file system or the server tells when it is tried


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What is known of the optional operations of one storage; the names are those of `Storage`."""

    zero: Can
    reserve: Can
    allocated: Can


class Move(NamedTuple):
    """Bytes to copy: from *source_offset* of one storage to *target_offset* of another."""

    source_offset: int
    target_offset: int
    length: int


class Storage(Protocol):
    """One open file."""

    @property
    def name(self) -> str:
        """The full path or URL, for messages; never with a password."""

    @property
    def writable(self) -> bool:
        """Whether the file was opened for writing."""

    def can(self) -> Capabilities:
        """What is known by now; no server is asked. What was tried is known from then on."""

    def can_copy(self, source: "Storage") -> Can:
        """The same of `copy` from *source*, the innermost storage."""

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Fill each writable buffer from its offset.

        Raises FormatError when a piece extends beyond end of file.
        """

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        """Put each buffer at its offset; the pieces of one call may land in any order. Grows the file as needed."""

    def copy(self, source: "Storage", moves: Sequence[Move]) -> None:
        """Copy from *source* inside the kernel or the server.

        Source and target ranges of one call do not overlap. Raises Unsupported when the pair cannot; part of the
        moves may then have been done, and doing all of them again another way is right.
        """

    def innermost(self) -> "Storage":
        """The storage whose bytes these are, through wrappers that change none (counting, throttling, faults)."""

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Make ranges inside the file read as zeros without sending zeros; may punch holes. Or Unsupported."""

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Allocate disk space for ranges that read as zeros, so that writing there cannot run out. Or Unsupported.

        Grows the file as needed. Raises OutOfSpace.
        """

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        """The ranges that hold data rather than holes: ascending, disjoint, within the request. Or Unsupported."""

    def flush(self) -> None:
        """Make all that was done before durable."""

    def size(self) -> int:
        """The file's length; of one that is held against writers it may be known without asking."""

    def identity(self) -> Hashable:
        """The same as in `status`; most file systems need not be asked for it."""

    def status(self) -> "FileStatus":
        """What the file system, which is asked, knows of this open file, whatever its name stands for by now."""

    def truncate(self, size: int) -> None:
        """Set the file's length; a grown part reads as zeros."""

    def close(self) -> None:
        """Close without flushing. Idempotent."""


class Access(Enum):
    """How a file is opened, and what others may do meanwhile."""

    INSPECT = "inspect"  # read, whatever others do
    READ = "read"  # read; nobody may write
    WRITE = "write"  # read and write; nobody else may write or hold it with READ
    OWN = "own"  # the same, and what is opened may be renamed and removed

    @property
    def writes(self) -> bool:
        """Whether what is opened so may be written to."""
        return self in (Access.WRITE, Access.OWN)


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a file system knows of a file; *identity* is equal for two names of one file.

    *links* is how many names (hard links) it has, 1 where the file system does not tell.
    """

    identity: Hashable
    size: int
    allocated: int
    modified: float  # seconds since 1970-01-01 UTC
    mode: int | None = None  # permission bits; None where the file system has none that a program could set
    owner: tuple[int, int] | None = None  # numbers of the user and the group
    links: int = 1


def is_named(name: str, prefix: str, suffix: str) -> bool:
    """Whether a name begins and ends so, in whatever capitals."""
    folded = name.casefold()
    return folded.startswith(prefix.casefold()) and folded.endswith(suffix.casefold())


class Space(NamedTuple):
    """Capacity of a file system as this user sees it."""

    total: int
    free: int


class FileSystem(Protocol):
    """A tree of files. Paths are relative to its root, with ``/`` between names."""

    @property
    def has_permissions(self) -> bool:
        """Whether a file has permissions that a program can set, as `FileStatus.mode` tells them."""

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        """Open an existing regular file. Raises FileNotFoundError, PermissionError, InUse.

        With *beneath*, a directory, what is opened lies in it or below it, whatever links say and whoever changes them
        meanwhile: *beneath* itself may be a link, and links below it may lead to places below it. Raises LeadsOutside
        otherwise. A server follows links in its own file system by itself; what it does there cannot be seen.
        """

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        """The path of the file that *path* leads to, which is *path* where its last name is no symbolic link.

        With *beneath*, a directory that *path* leads into: the path below it with no link in it. Raises LeadsOutside.
        Nothing needs to be there; a link that leads in a circle is its own answer.
        """

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        """Make an empty file and open it with Access.OWN. Raises FileExistsError.

        Nobody but its owner may do more with it, at any moment, than with the file *like*; with *exact*, where it is
        to take the place of that file, it has the same permissions. On a share the server decides.
        """

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        """Give a file another name in one atomic step. Raises FileExistsError when it may not replace, InUse.

        *held* is *source* as the caller has it open with Access.OWN; anybody else's claim is InUse. It stays open.
        """

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        """Remove a file. Raises FileNotFoundError, InUse.

        *held* is *path* as the caller has it open with Access.OWN; it is closed, and the file is gone then.
        """

    def stat(self, path: str) -> FileStatus:
        """Look at a file without opening its content. Raises FileNotFoundError."""

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        """Names of the regular files in *directory* ("" is the root), sorted.

        With *prefix* and *suffix* those that begin and end so, in whatever capitals; a server then sends no others.
        """

    def exists(self, path: str) -> bool:
        """Whether there is a regular file of this very name; a server need not look through the directory for it."""

    def staying(self, directory: str) -> AbstractContextManager["FileSystem"]:
        """The same files for one piece of work in *directory*, which a server need not be asked to open again.

        What it gives is for one thread at a time, and no longer than the ``with``.
        """

    def space(self) -> Space:
        """Total and free bytes."""

    def sync_directory(self, directory: str) -> None:
        """Make names created, changed or removed in *directory* durable."""

    def describe(self, path: str) -> str:
        """The full path or URL of *path*, for messages; never with a password."""
