"""An open local file: `Storage` on a file descriptor.

For POSIX systems; holes, reservation and copies in the kernel are Unsupported except on Linux.
"""

import contextlib
import errno
import os
import stat
import sys
import threading
import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from vhdx.errors import FormatError, OutOfSpace, ReadOnly
from vhdx.extents import Range
from vhdx.storage import ownership
from vhdx.storage.base import Buffer, Can, Capabilities, FileStatus, Move, Storage, Unsupported
from vhdx.storage.local import linux, locking, ntfs

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_COPY = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
_VECTOR = 1024  # buffers per system call (IOV_MAX)
_ON_LINUX = Can.UNKNOWN if sys.platform == "linux" else Can.NO
_AT_FIRST = Capabilities(_ON_LINUX, _ON_LINUX, Can.UNKNOWN if hasattr(os, "SEEK_DATA") else Can.NO)


def failure(error: OSError, name: str) -> Exception:
    """*error* as an error of the storage contract, with the name of the file."""
    reason = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        return OutOfSpace(f"{name}: exceeds the largest file size of its file system")
    if error.errno in _FULL:
        return OutOfSpace(f"{name}: {reason}; free space and try again")
    if error.errno == errno.EROFS:
        return PermissionError(error.errno, reason, name)
    return OSError(error.errno, reason, name)


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Translate errors of the operating system into errors of the storage contract."""
    try:
        yield
    except OSError as error:
        raise failure(error, name) from error
    except OverflowError as error:
        raise failure(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), name) from error


class LocalStorage:
    """An open local file. Usable only in the process that opened it; closed when it is garbage-collected."""

    def __init__(self, fd: int, name: str, *, writable: bool, solid: bool = False) -> None:
        """*solid*: the file must not get holes, because its file system would mark it as sparse."""
        self._fd = fd
        self._name = name
        self._writable = writable
        self._opener = os.getpid()
        self._unclosed = ownership.unless_closed(self, name, partial(unlock_and_close, fd), waits=False)
        self._solid = solid
        self._can = replace(_AT_FIRST, zero=Can.NO, reserve=Can.NO) if solid else _AT_FIRST
        self._growing: contextlib.AbstractContextManager[object] = threading.Lock() if solid else nullcontext()

    @property
    def name(self) -> str:
        return self._name

    @property
    def writable(self) -> bool:
        return self._writable

    def can(self) -> Capabilities:
        return self._can

    def can_copy(self, source: Storage) -> Can:
        return Can.UNKNOWN if isinstance(source, LocalStorage) and hasattr(os, "copy_file_range") else Can.NO

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)
        try:
            if len(pieces) != 1 or not self._read_whole(*pieces[0]):
                for offset, buffers in _runs(pieces):
                    self._read_run(offset, buffers)
        except OSError as error:
            raise self._failed(error) from error
        if self._fd < 0:  # closed meanwhile, so others may have changed the file during the read
            raise ownership.refusal(self._name, ownership.CLOSED)

    def _read_whole(self, offset: int, buffer: memoryview) -> bool:
        """Read with one system call; whether that filled the buffer, as it nearly always does."""
        try:
            return os.preadv(self._fd, [buffer], offset) == buffer.nbytes
        except OverflowError:
            return False

    def _read_run(self, offset: int, buffers: list[memoryview]) -> None:
        while buffers:
            try:
                done = os.preadv(self._fd, buffers, offset)
            except OverflowError:  # an offset too large for a system call is beyond the end of any file
                done = 0
            if not done:
                raise self._past_end(offset, sum(map(len, buffers)))
            offset += done
            buffers = _rest(buffers, done)

    def _past_end(self, offset: int, wanted: int) -> Exception:
        if self._fd < 0:
            return ownership.refusal(self._name, ownership.CLOSED)
        reason = f"a range of {wanted} bytes extends beyond end of file"
        return FormatError("file", offset, reason, file=self._name)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._check_writable()
        try:
            if self._solid:
                self._write_solid(pieces)
            elif len(pieces) != 1 or not self._write_whole(*pieces[0]):
                for offset, buffers in _runs(pieces):
                    self._write_run(offset, buffers)
        except OSError as error:
            raise self._failed(error) from error

    def _write_whole(self, offset: int, buffer: Buffer) -> bool:
        """Whether one system call wrote the buffer, as it nearly always does."""
        return os.pwritev(self._fd, [buffer], offset) == memoryview(buffer).nbytes

    def _write_solid(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        with self._growing:
            for offset, buffers in _runs(pieces):
                self._fill_up_to(offset)
                self._write_run(offset, buffers)

    def _write_run(self, offset: int, buffers: list[memoryview]) -> None:
        while buffers:
            done = os.pwritev(self._fd, buffers, offset)
            offset += done
            buffers = _rest(buffers, done)

    def _fill_up_to(self, offset: int) -> None:
        """For a file that must not get holes: write zeros from end of file to *offset*."""
        size = os.fstat(self._fd).st_size if self._solid else offset
        if offset > size:
            try:
                ntfs.fill(self._fd, size, offset)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, size)
                raise

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        self._check_writable()
        origin = source.innermost()
        if not isinstance(origin, LocalStorage) or self.can_copy(origin) is Can.NO:
            raise Unsupported("the kernel can copy only between local files")
        origin._check_open()
        try:
            with self._growing:
                for move in moves:
                    if move.length:
                        self._fill_up_to(move.target_offset)
                    self._copy_move(origin, move)
        except OSError as error:
            origin._check_open()
            if error.errno in _NO_COPY:
                raise Unsupported(error.strerror) from error
            raise self._failed(error) from error
        except OverflowError as error:  # the fallback raises the error for such an offset
            raise Unsupported(str(error)) from error

    def _copy_move(self, origin: "LocalStorage", move: Move) -> None:
        start, target, length = move
        while length:
            done = os.copy_file_range(origin._fd, self._fd, length, start, target)
            if not done:
                raise origin._past_end(start, length)
            start, target, length = start + done, target + done, length - done

    def innermost(self) -> Storage:
        return self

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._check_writable()
        self._check_may_have_holes()
        with self._learning("zero", ranges), self._working():
            for offset, length in ranges:
                if length:
                    linux.punch_hole(self._fd, offset, length)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._check_writable()
        self._check_may_have_holes()
        with self._learning("reserve", ranges), self._working():
            for offset, length in ranges:
                if length:
                    linux.allocate(self._fd, offset, length)

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        if self._can.allocated is Can.NO:
            raise Unsupported("this system does not report holes")
        self._check_open()
        return self._data(offset, offset + length)

    def _data(self, at: int, end: int) -> Iterator[Range]:
        while at < end:
            start = self._seek(at, os.SEEK_DATA)
            if start is None or start >= end:
                return
            # There is always a hole at end of file, unless the file was truncated concurrently.
            at = self._seek(start, os.SEEK_HOLE) or start
            if at == start:
                return
            yield Range(start, min(at, end) - start)

    def _seek(self, offset: int, whence: int) -> int | None:
        try:
            place = os.lseek(self._fd, offset, whence)
        except OverflowError:
            return None
        except OSError as error:
            self._check_open()
            if error.errno == errno.ENXIO:
                return None
            if error.errno == errno.EINVAL:
                self._can = replace(self._can, allocated=Can.NO)
                raise Unsupported(error.strerror) from error
            raise failure(error, self._name) from error
        self._check_open()
        if self._can.allocated is Can.UNKNOWN:
            self._can = replace(self._can, allocated=Can.YES)
        return place

    @contextlib.contextmanager
    def _learning(self, operation: str, ranges: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Remember whether the file system supports an operation."""
        try:
            yield
        except Unsupported:
            self._can = replace(self._can, **{operation: Can.NO})
            raise
        if any(length for _, length in ranges) and getattr(self._can, operation) is Can.UNKNOWN:
            self._can = replace(self._can, **{operation: Can.YES})

    def flush(self) -> None:
        with self._working():
            getattr(os, "fdatasync", os.fsync)(self._fd)

    def size(self) -> int:
        with self._working():
            return os.fstat(self._fd).st_size

    def identity(self) -> Hashable:
        return self.status().identity

    def status(self) -> FileStatus:
        with self._working():
            return status_of(os.fstat(self._fd))

    def truncate(self, size: int) -> None:
        self._check_writable()
        with self._working(), self._growing:
            self._fill_up_to(size)
            os.ftruncate(self._fd, size)

    def close(self) -> None:
        if self._unclosed.detach() is None:
            return
        # Clear the descriptor first, so that no new call uses it.
        fd, self._fd = self._fd, -1
        opener, self._opener = self._opener, ownership.CLOSED
        with failures(self._name):
            _release(self, fd, claimed=opener == os.getpid())

    def _check_open(self) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)

    def _check_may_have_holes(self) -> None:
        if self._solid:
            raise Unsupported(f"{self._name}: would create a hole, and the file must not become sparse")

    def _check_writable(self) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)
        if not self._writable:
            raise ReadOnly(f"{self._name}: opened read-only")

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Translate errors; if the file was closed meanwhile, raise that instead of the system's error."""
        self._check_open()
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error
        self._check_open()

    def _failed(self, error: OSError) -> Exception:
        if self._fd < 0:
            return ownership.refusal(self._name, ownership.CLOSED)
        return failure(error, self._name)


def unlock_and_close(fd: int) -> None:
    """Release all locks held through a descriptor and close it."""
    locking.release(fd)
    os.close(fd)


def _release(storage: LocalStorage, fd: int, *, claimed: bool) -> None:
    """Close the file now, but free the descriptor number only when *storage* is garbage-collected.

    Another thread may be about to enter a system call with the number, which must not refer to another file. The locks
    belong to the process that opened the file, so a forked process (*claimed* False) does not release them.
    """
    if claimed:
        locking.release(fd)
    try:
        nothing = os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # no descriptor is free, or /dev/null is missing: closing the file is more important
        os.close(fd)
        return
    try:
        os.dup2(nothing, fd, inheritable=False)
    finally:
        os.close(nothing)
    weakref.finalize(storage, os.close, fd)


def _runs(pieces: Sequence[tuple[int, Buffer]]) -> Iterator[tuple[int, list[memoryview]]]:
    """Contiguous pieces as one vector for one system call."""
    start = end = 0
    run: list[memoryview] = []
    for offset, buffer in pieces:
        view = memoryview(buffer).cast("B")
        if not view:
            continue
        if run and (offset != end or len(run) == _VECTOR):
            yield start, run
            run = []
        if not run:
            start = offset
        run.append(view)
        end = offset + len(view)
    if run:
        yield start, run


def _rest(buffers: list[memoryview], done: int) -> list[memoryview]:
    """The rest of a vector after *done* bytes."""
    for number, buffer in enumerate(buffers):
        if done < len(buffer):
            return [buffer[done:], *buffers[number + 1 :]]
        done -= len(buffer)
    return []


def status_of(status: os.stat_result) -> FileStatus:
    """stat(2) as `FileStatus`."""
    return FileStatus(
        (status.st_dev, status.st_ino),
        status.st_size,
        status.st_blocks * 512,
        status.st_mtime,
        stat.S_IMODE(status.st_mode),
        (status.st_uid, status.st_gid),
        status.st_nlink,
    )
