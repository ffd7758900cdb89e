"""Files of this machine: `Storage` on a file descriptor, `FileSystem` on a directory.

Who may open what is settled by `locking`. Only regular files are opened. Names are kept by POSIX rules: an open file
can lose its name, which is why `rename` and `remove` look for holders first. Works on POSIX systems; what only Linux
has (holes, reservation, copies inside the kernel) is Unsupported elsewhere.
"""

import contextlib
import errno
import os
import stat
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from vhdx.errors import Error, FormatError, OutOfSpace, ReadOnly
from vhdx.extents import Range
from vhdx.storage import beneath as confined
from vhdx.storage import linux, locking, ntfs, ownership, permissions
from vhdx.storage.base import Access, Buffer, FileStatus, Move, Space, Storage, Unsupported
from vhdx.storage.beneath import Way

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_COPY = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
_VECTOR = 1024  # buffers that one system call takes (IOV_MAX)
_RACES = 16
_LEASED, _PAUSE = 50, 0.02  # how often, and after how many seconds, a file with a lease on it is tried again


def _failure(error: OSError, name: str) -> Exception:
    """What the contract calls *error*, naming the file."""
    reason = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        return OutOfSpace(f"{name}: the file would be larger than its file system allows")
    if error.errno in _FULL:
        return OutOfSpace(f"{name}: {reason}; make room and try again")
    if error.errno == errno.EROFS:
        return PermissionError(error.errno, reason, name)
    return OSError(error.errno, reason, name)


@contextlib.contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failure(error, name) from error
    except OverflowError as error:
        raise _failure(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), name) from error


class LocalStorage:
    """One open file of this machine, for the process that opened it; closed by itself when it is dropped."""

    def __init__(self, fd: int, name: str, *, writable: bool, solid: bool = False) -> None:
        """*solid*: the file must not get holes, since its file system marks files that have some."""
        self._fd = fd
        self._name = name
        self._writable = writable
        self._opener = os.getpid()
        self._unclosed = ownership.unless_closed(self, name, partial(_give_back, fd), waits=False)
        self._solid = solid
        self._growing: contextlib.AbstractContextManager[object] = threading.Lock() if solid else nullcontext()

    @property
    def name(self) -> str:
        return self._name

    @property
    def writable(self) -> bool:
        return self._writable

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)
        try:
            if len(pieces) != 1 or not self._read_whole(*pieces[0]):
                for offset, buffers in _runs(pieces):
                    self._read_run(offset, buffers)
        except OSError as error:
            raise self._failed(error) from error
        if self._fd < 0:  # closed meanwhile, so others may have changed what was read
            raise ownership.refusal(self._name, ownership.CLOSED)

    def _read_whole(self, offset: int, buffer: memoryview) -> bool:
        """Whether one system call filled the buffer, as it nearly always does."""
        try:
            return os.preadv(self._fd, [buffer], offset) == buffer.nbytes
        except OverflowError:
            return False

    def _read_run(self, offset: int, buffers: list[memoryview]) -> None:
        while buffers:
            try:
                done = os.preadv(self._fd, buffers, offset)
            except OverflowError:  # an offset that no system call takes is behind the end of any file
                done = 0
            if not done:
                raise self._past_end(offset, sum(map(len, buffers)))
            offset += done
            buffers = _rest(buffers, done)

    def _past_end(self, offset: int, wanted: int) -> Exception:
        if self._fd < 0:
            return ownership.refusal(self._name, ownership.CLOSED)
        reason = f"the file ends before the {wanted} bytes that were to be read from here"
        return FormatError("file", offset, reason, file=self._name)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._check_writable()
        try:
            if self._solid:
                self._write_solid(pieces)
                return
            for offset, buffers in _runs(pieces):
                self._write_run(offset, buffers)
        except OSError as error:
            raise self._failed(error) from error

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
        """Where there must be no holes, nothing is put behind the end of the file before zeros lead there."""
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
        if not isinstance(origin, LocalStorage) or not hasattr(os, "copy_file_range"):
            raise Unsupported("only files of this machine are copied inside the kernel")
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
        except OverflowError as error:  # what no file has is told by who reads or writes it
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
        with self._working():
            for offset, length in ranges:
                if length:
                    linux.punch_hole(self._fd, offset, length)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._check_writable()
        self._check_may_have_holes()
        with self._working():
            for offset, length in ranges:
                if length:
                    linux.allocate(self._fd, offset, length)

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        if not hasattr(os, "SEEK_DATA"):
            raise Unsupported("this system does not tell data from holes")
        self._check_open()
        return self._data(offset, offset + length)

    def _data(self, at: int, end: int) -> Iterator[Range]:
        while at < end:
            start = self._seek(at, os.SEEK_DATA)
            if start is None or start >= end:
                return
            # There is always a hole at the end of the file, unless it was cut in between.
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
                raise Unsupported(error.strerror) from error
            raise _failure(error, self._name) from error
        self._check_open()
        return place

    def flush(self) -> None:
        with self._working():
            getattr(os, "fdatasync", os.fsync)(self._fd)

    def size(self) -> int:
        with self._working():
            return os.fstat(self._fd).st_size

    def status(self) -> FileStatus:
        with self._working():
            return _status(os.fstat(self._fd))

    def truncate(self, size: int) -> None:
        self._check_writable()
        with self._working(), self._growing:
            self._fill_up_to(size)
            os.ftruncate(self._fd, size)

    def close(self) -> None:
        if self._unclosed.detach() is None:
            return
        # Forget the number first: nobody shall start anything with it from here on.
        fd, self._fd = self._fd, -1
        opener, self._opener = self._opener, ownership.CLOSED
        with _failures(self._name):
            _release(self, fd, claimed=opener == os.getpid())

    def _check_open(self) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)

    def _check_may_have_holes(self) -> None:
        if self._solid:
            raise Unsupported(f"{self._name}: only zeros that are written leave no hole")

    def _check_writable(self) -> None:
        if self._opener != os.getpid():
            raise ownership.refusal(self._name, self._opener)
        if not self._writable:
            raise ReadOnly(f"{self._name}: the file was opened for reading only")

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """A file that is closed meanwhile is closed, whatever the system says of the number that it had."""
        self._check_open()
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error
        self._check_open()

    def _failed(self, error: OSError) -> Exception:
        if self._fd < 0:
            return ownership.refusal(self._name, ownership.CLOSED)
        return _failure(error, self._name)


def _give_back(fd: int) -> None:
    locking.release(fd)
    os.close(fd)


def _release(storage: LocalStorage, fd: int, *, claimed: bool) -> None:
    """Give the file back now, and its number only when nobody holds *storage* any more.

    Another thread may be on its way into a system call with the number; it must not meet the next file to be opened.
    The claims on the file are those of the process that opened it: a copy in another ends without a word.
    """
    if claimed:
        locking.release(fd)
    try:
        nothing = os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # no number is free, or there is no such device: giving the file back matters more
        os.close(fd)
        return
    try:
        os.dup2(nothing, fd, inheritable=False)
    finally:
        os.close(nothing)
    weakref.finalize(storage, os.close, fd)


def _runs(pieces: Sequence[tuple[int, Buffer]]) -> Iterator[tuple[int, list[memoryview]]]:
    """Pieces that continue each other in the file, as one vector for one system call."""
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
    """What is left of a vector of which *done* bytes are through."""
    for number, buffer in enumerate(buffers):
        if done < len(buffer):
            return [buffer[done:], *buffers[number + 1 :]]
        done -= len(buffer)
    return []


class LocalFileSystem:
    """The files under *root*. An absolute path stands for itself."""

    def __init__(self, root: str | Path = ".") -> None:
        self._root = Path(root).absolute()

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        place = self._place(path)
        base = None if beneath is None else self._place(beneath)
        for _ in range(_RACES):
            with _failures(str(place)), confined.way(place, base) as way:
                fd = _claimed(place, access, way)
                with _closed_on_error(fd):
                    if access is Access.INSPECT or _still_named(fd, place, way):
                        return _storage(fd, str(place), writable=access is Access.WRITE)
            # Another file took the name between opening and locking; what we locked is no longer *path*.
            _give_back(fd)
        raise locking.in_use(str(place))

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        place = self._place(path)
        if beneath is None:
            if not place.is_symlink():
                return path
            real = os.path.realpath(place)
            names = confined.names_below(real, os.path.realpath(place.parent))
            return real if names is None else str(Path(os.path.dirname(path), *names))  # noqa: PTH120  "" stays ""
        return str(Path(beneath, *confined.real_names(place, self._place(beneath))))

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        place = self._place(path)
        with _failures(str(place)):
            mode = permissions.first_mode(like, place.parent.stat(), exact=exact)
            fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with _closed_on_error(fd):
            if like is not None and exact:
                permissions.take_over(fd, like)
                _check_may_be_renamed(place)
            _claim(fd, Access.WRITE, place)
            # Whoever saw the name before the lock was there may have taken it away again.
            if not _still_named(fd, place):
                raise locking.in_use(str(place))
            return _storage(fd, str(place), writable=True)

    def rename(self, source: str, target: str, *, replace: bool) -> None:
        old, new = self._place(source), self._place(target)
        with _failures(f"{old} to {new}"):
            if not replace:
                with _unheld(old):
                    _rename_no_replace(old, new)
                return
            with _unheld(old), contextlib.ExitStack() as stack:
                if old != new:
                    with contextlib.suppress(FileNotFoundError):
                        stack.enter_context(_unheld(new))
                old.replace(new)

    def remove(self, path: str) -> None:
        place = self._place(path)
        with _failures(str(place)), _unheld(place):
            place.unlink()

    def stat(self, path: str) -> FileStatus:
        place = self._place(path)
        with _failures(str(place)):
            status = place.stat()
        _check_regular(status, str(place))
        return _status(status)

    def list(self, directory: str) -> list[str]:
        place = self._place(directory)
        with _failures(str(place)), os.scandir(place) as entries:
            # A link to a regular file counts, because `open` follows it too.
            return sorted(entry.name for entry in entries if _is_file(entry))

    def space(self) -> Space:
        with _failures(str(self._root)):
            status = os.statvfs(self._root)
        return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)

    def sync_directory(self, directory: str) -> None:
        place = self._place(directory)
        with _failures(str(place)):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def describe(self, path: str) -> str:
        return str(self._root / path)

    def _place(self, path: str) -> Path:
        if sys.platform == "win32":
            raise Error(f"{path}: files of this machine are opened on POSIX systems only; use an smb:// URL")
        try:
            encoded = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise Error(f"{path!r}: no file can have this name, it is not valid Unicode") from error
        if b"\0" in encoded:
            raise Error(f"{path!r}: no file can have this name, it contains a NUL")
        return self._root / path


def _storage(fd: int, name: str, *, writable: bool) -> LocalStorage:
    """The file as a storage; on NTFS one for writing has no holes from here on."""
    solid = writable and ntfs.has_marks(fd)
    if solid:
        with _failures(name):
            ntfs.mend(fd)
    return LocalStorage(fd, name, writable=writable, solid=solid)


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _give_back(fd)
        raise


def _claimed(place: Path, access: Access, way: Way | None = None) -> int:
    """A descriptor of a regular file, held for *access*. Raises InUse."""
    if access is Access.WRITE:
        _check_no_writer(place, way)
    fd = _open_regular(place, os.O_RDWR if access is Access.WRITE else os.O_RDONLY, way)
    with _closed_on_error(fd):
        _claim(fd, access, place)
    return fd


def _check_no_writer(place: Path, way: Way | None) -> None:
    """Raises InUse where somebody has the file open for writing, even one who locks nothing."""
    try:
        fd = _open_regular(place, os.O_RDONLY, way)
    except PermissionError:  # writing may be allowed where reading is not
        return
    try:
        locking.check_no_writer(fd, str(place))
    finally:
        os.close(fd)


def _claim(fd: int, access: Access, place: Path) -> None:
    with _failures(str(place)):
        locking.claim(fd, access, str(place))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle, or where nobody may look
        return False


def _status(status: os.stat_result) -> FileStatus:
    return FileStatus(
        (status.st_dev, status.st_ino),
        status.st_size,
        status.st_blocks * 512,
        status.st_mtime,
        stat.S_IMODE(status.st_mode),
        (status.st_uid, status.st_gid),
        status.st_nlink,
    )


def _open_regular(place: Path, flags: int, way: Way | None = None) -> int:
    """A descriptor of a regular file. Opening anything else could hang, or move a tape: it is not even tried."""
    way = way or Way(str(place))
    with _failures(str(place)):
        _check_regular(way.stat(), str(place))
        fd = _open(place, way, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with _closed_on_error(fd):
            _check_regular(os.fstat(fd), str(place))
        return fd


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Error(f"{name}: not a regular file; directories, devices and pipes cannot hold an image")


def _open(place: Path, way: Way, flags: int) -> int:
    """Open a file without waiting for it; a lease on it, such as `locking.check_no_writer` takes, is soon let go."""
    for _ in range(_LEASED):
        with contextlib.suppress(BlockingIOError):
            return way.open(flags)
        time.sleep(_PAUSE)
    raise locking.in_use(str(place))


def _still_named(fd: int, place: Path, way: Way | None = None) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), place.stat() if way is None else way.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _unheld(place: Path) -> Iterator[None]:
    """Hold a file against every reader and writer while its name changes. Raises InUse.

    A link is only a name, so nobody can hold it.
    """
    if not stat.S_ISREG(place.lstat().st_mode):
        yield
        return
    # For writing, because flock on NFS grants an exclusive lock only there.
    fd = _claimed(place, Access.WRITE)
    try:
        # A file that took the name in between is somebody else's, and held or not is not the one that was meant.
        if not _still_named(fd, place):
            raise locking.in_use(str(place))
        yield
    finally:
        _give_back(fd)


def _check_may_be_renamed(place: Path) -> None:
    """Raises PermissionError for a new file that nobody may write to, neither `rename` nor `remove` then; it is gone.

    Such are the permissions of what it is to replace, which could not be replaced either.
    """
    try:
        os.close(os.open(place, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        place.unlink()
        reason = "what may not be written to is not replaced"
        raise PermissionError(errno.EACCES, reason, str(place)) from error


def _rename_no_replace(old: Path, new: Path) -> None:
    try:
        linux.rename_no_replace(old, new)
    except Unsupported:
        # Both names exist for a moment, but a link never replaces anything.
        os.link(old, new, follow_symlinks=False)
        old.unlink()
