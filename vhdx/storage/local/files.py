"""Files of this machine: `FileSystem` on a directory.

Who may open what is settled by `locking`. Only regular files are opened. Names are kept by POSIX rules: an open file
can lose its name, which is why `rename` and `remove` look for holders first.
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
from vhdx.storage.local.file import LocalStorage, failures, give_back, status_of
from vhdx.storage.local.way import Way, real_names, way_to

_RACES = 16
_LEASED, _PAUSE = 50, 0.02  # how often, and after how many seconds, a file with a lease on it is tried again


class LocalFileSystem:
    """The files under *root*. An absolute path stands for itself."""

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
            # Another file took the name between opening and locking; what we locked is no longer *path*.
            give_back(fd)
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
            # Whoever saw the name before the lock was there may have taken it away again.
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
            # A link to a regular file counts, because `open` follows it too.
            return sorted(e.name for e in entries if is_named(e.name, prefix, suffix) and _is_file(e))

    def exists(self, path: str) -> bool:
        place = self._place(path)
        with failures(str(place)):
            return place.is_file()

    def staying(self, directory: str) -> contextlib.AbstractContextManager[FileSystem]:  # noqa: ARG002
        """A directory of this machine costs nothing to open."""
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
        with failures(name):
            ntfs.mend(fd)
    return LocalStorage(fd, name, writable=writable, solid=solid)


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        give_back(fd)
        raise


def _claimed(place: Path, access: Access, way: Way | None = None) -> int:
    """A descriptor of a regular file, held for *access*. Raises InUse."""
    if access.writes:
        _check_no_writer(place, way)
    fd = _open_regular(place, os.O_RDWR if access.writes else os.O_RDONLY, way)
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
    with failures(str(place)):
        locking.claim(fd, access, str(place))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle, or where nobody may look
        return False


def _open_regular(place: Path, flags: int, way: Way | None = None) -> int:
    """A descriptor of a regular file. Opening anything else could hang, or move a tape: it is not even tried."""
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
def _unheld(place: Path, held: Storage | None = None) -> Iterator[None]:
    """Hold a file against every reader and writer while its name changes. Raises InUse.

    What the caller holds already, *held*, needs no other hold. A link is only a name, so nobody can hold it.
    """
    if held is not None:
        if status_of(place.lstat()).identity != held.identity():
            raise locking.in_use(str(place))
        yield
        return
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
        give_back(fd)


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
