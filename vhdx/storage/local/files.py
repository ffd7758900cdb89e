"""Local files: `FileSystem` on a directory.

`locking` enforces `Access`. Only regular files are opened. On POSIX systems an open file can be renamed and removed, so
`rename` and `remove` check for locks first.
"""

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vhdx.errors import Error
from vhdx.storage import permissions
from vhdx.storage.base import Access, FileStatus, FileSystem, Space, Storage, Unsupported, is_named
from vhdx.storage.beneath import names_below
from vhdx.storage.local import linux, locking, ntfs
from vhdx.storage.local.file import LocalStorage, failures, status_of, unlock_and_close
from vhdx.storage.local.way import Way, real_names, way_to

_RACES = 16
_LEASED, _PAUSE = 50, 0.02  # attempts and seconds between them, for a file with a lease


class LocalFileSystem:
    """The files under *root*. Absolute paths are used as they are."""

    has_permissions = True

    def __init__(self, root: str | Path = ".") -> None:
        self._root = Path(root).absolute()

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        place = self._place(path)
        base = None if beneath is None else self._place(beneath)
        for _ in range(_RACES):
            with failures(str(place)), way_to(place, base) as way:
                fd = _claimed(place, access, way)
                with _closed_on_error(fd):
                    if access is Access.INSPECT or _still_named(fd, place, way):
                        return _storage(fd, str(place), writable=access.writes)
            # Another file was renamed to *path* between opening and locking.
            unlock_and_close(fd)
        raise locking.in_use(str(place))

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        place = self._place(path)
        if beneath is None:
            if not place.is_symlink():
                return path
            real = os.path.realpath(place)
            names = names_below(real, os.path.realpath(place.parent))
            return real if names is None else str(Path(os.path.dirname(path), *names))  # noqa: PTH120  "" stays ""
        return str(Path(beneath, *real_names(place, self._place(beneath))))

    def create(self, path: str, *, like: FileStatus | None = None, exact: bool = False) -> Storage:
        place = self._place(path)
        with failures(str(place)):
            mode = permissions.first_mode(like, place.parent.stat(), exact=exact)
            fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with _closed_on_error(fd):
            if like is not None and exact:
                permissions.take_over(fd, like)
                _check_may_be_renamed(place)
            _claim(fd, Access.WRITE, place)
            # Another process may have removed or renamed the file before it was locked.
            if not _still_named(fd, place):
                raise locking.in_use(str(place))
            return _storage(fd, str(place), writable=True)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        old, new = self._place(source), self._place(target)
        with failures(f"{old} to {new}"):
            if not replace:
                with _unheld(old, held):
                    _rename_no_replace(old, new)
                return
            with _unheld(old, held), contextlib.ExitStack() as stack:
                if old != new:
                    with contextlib.suppress(FileNotFoundError):
                        stack.enter_context(_unheld(new))
                old.replace(new)

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        place = self._place(path)
        with failures(str(place)), _unheld(place, held):
            place.unlink()
        if held is not None:
            held.close()

    def stat(self, path: str) -> FileStatus:
        place = self._place(path)
        with failures(str(place)):
            status = place.stat()
        _check_regular(status, str(place))
        return status_of(status)

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        place = self._place(directory)
        with failures(str(place)), os.scandir(place) as entries:
            # Includes links to regular files, which `open` follows.
            return sorted(e.name for e in entries if is_named(e.name, prefix, suffix) and _is_file(e))

    def exists(self, path: str) -> bool:
        place = self._place(path)
        with failures(str(place)):
            return place.is_file()

    def staying(self, directory: str) -> contextlib.AbstractContextManager[FileSystem]:  # noqa: ARG002
        """The same files: nothing is gained by keeping a local directory open."""
        return contextlib.nullcontext(self)

    def space(self) -> Space:
        with failures(str(self._root)):
            status = os.statvfs(self._root)
        return Space(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)

    def sync_directory(self, directory: str) -> None:
        place = self._place(directory)
        with failures(str(place)):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def describe(self, path: str) -> str:
        return str(self._root / path)

    def _place(self, path: str) -> Path:
        if sys.platform == "win32":
            raise Error(f"{path}: local files are supported on POSIX systems only; use an smb:// URL")
        try:
            encoded = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise Error(f"{path!r}: invalid file name: not valid Unicode") from error
        if b"\0" in encoded:
            raise Error(f"{path!r}: invalid file name: contains a NUL")
        return self._root / path


def _storage(fd: int, name: str, *, writable: bool) -> LocalStorage:
    """The file as a storage; on NTFS, fills the holes of a writable file."""
    solid = writable and ntfs.has_marks(fd)
    if solid:
        with failures(name):
            ntfs.mend(fd)
    return LocalStorage(fd, name, writable=writable, solid=solid)


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        unlock_and_close(fd)
        raise


def _claimed(place: Path, access: Access, way: Way | None = None) -> int:
    """Open and lock a regular file for *access*. Raises InUse."""
    if access.writes:
        _check_no_writer(place, way)
    fd = _open_regular(place, os.O_RDWR if access.writes else os.O_RDONLY, way)
    with _closed_on_error(fd):
        _claim(fd, access, place)
    return fd


def _check_no_writer(place: Path, way: Way | None) -> None:
    """Raise InUse if the file is open for writing, even without a lock."""
    try:
        fd = _open_regular(place, os.O_RDONLY, way)
    except PermissionError:  # a file may be writable but not readable
        return
    try:
        locking.check_no_writer(fd, str(place))
    finally:
        os.close(fd)


def _claim(fd: int, access: Access, place: Path) -> None:
    with failures(str(place)):
        locking.claim(fd, access, str(place))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a circular link, or no permission to follow it
        return False


def _open_regular(place: Path, flags: int, way: Way | None = None) -> int:
    """Open a regular file. Checks the type first: opening a pipe could block, opening a device could have effects."""
    way = way or Way(str(place))
    with failures(str(place)):
        _check_regular(way.stat(), str(place))
        fd = _open(place, way, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with _closed_on_error(fd):
            _check_regular(os.fstat(fd), str(place))
        return fd


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Error(f"{name}: not a regular file; directories, devices and pipes cannot hold an image")


def _open(place: Path, way: Way, flags: int) -> int:
    """Open a file; retry while it has a lease, such as the brief one of `locking.check_no_writer`."""
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
def _unheld(place: Path, held: Storage | None = None) -> Iterator[None]:
    """Lock a file exclusively while it is renamed or removed. Raises InUse.

    Not necessary for *held*, which the caller has locked, or for a symbolic link, which cannot be locked.
    """
    if held is not None:
        if status_of(place.lstat()).identity != held.identity():
            raise locking.in_use(str(place))
        yield
        return
    if not stat.S_ISREG(place.lstat().st_mode):
        yield
        return
    # Opened for writing, because NFS grants an exclusive flock only then.
    fd = _claimed(place, Access.WRITE)
    try:
        # Another file may have been renamed to *place* meanwhile.
        if not _still_named(fd, place):
            raise locking.in_use(str(place))
        yield
    finally:
        unlock_and_close(fd)


def _check_may_be_renamed(place: Path) -> None:
    """Remove a new file that is not writable, and raise PermissionError: `rename` and `remove` could not lock it.

    It has the permissions of the file that it should replace, which is not writable either.
    """
    try:
        os.close(os.open(place, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        place.unlink()
        reason = "not writable, so it cannot be replaced"
        raise PermissionError(errno.EACCES, reason, str(place)) from error


def _rename_no_replace(old: Path, new: Path) -> None:
    try:
        linux.rename_no_replace(old, new)
    except Unsupported:
        # Both names exist for a moment, but link(2) never replaces a file.
        os.link(old, new, follow_symlinks=False)
        old.unlink()
