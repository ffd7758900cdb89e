"""Linux system calls that the standard library lacks; on other systems those that change a file are `Unsupported`.

They are called through the C library with 64-bit offsets. Errors are OSError with the kernel's errno; the caller adds
the file name.
"""

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vhdx.storage.base import Unsupported

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_AT_FDCWD = -100
_NOREPLACE = 0x01

_OPENAT2 = 437  # system call number; C libraries have no wrapper
_RESOLVE = 0x04 | 0x08 | 0x02  # RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS

_FALLOCATE = ("fallocate64", "fallocate")  # glibc has a name of its own for 64-bit offsets, musl has only those
_RENAME = ("renameat2",)
_STATFS = ("fstatfs64", "fstatfs")


class Opening(NamedTuple):
    """A descriptor of a file in a process; *position* is shared with its copies in other processes."""

    process: int
    program: str
    writable: bool
    position: int


_CANNOT = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Make a range read as zeros and free its space; the file size stays. Raises Unsupported."""
    _call(_FALLOCATE, fd, _KEEP_SIZE | _PUNCH_HOLE, *_range(offset, length))


def allocate(fd: int, offset: int, length: int) -> None:
    """Allocate space for a range without changing its data; extends the file as needed. Raises Unsupported.

    Not posix_fallocate, which the C library emulates by writing to every block if the file system lacks support.
    """
    _call(_FALLOCATE, fd, 0, *_range(offset, length))


def _range(offset: int, length: int) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    if offset + length >= 1 << 63:
        raise OverflowError(f"offset {offset + length} exceeds the largest file size")
    return ctypes.c_int64(offset), ctypes.c_int64(length)


def rename_no_replace(source: Path, target: Path) -> None:
    """Rename atomically. Raises FileExistsError if *target* exists, Unsupported."""
    _call(_RENAME, _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_NOREPLACE))


def file_system(fd: int) -> int | None:
    """The type of the file system of a file (f_type of statfs(2)); None: unknown."""
    status = ctypes.create_string_buffer(256)
    try:
        _call(_STATFS, fd, status)
    except (Unsupported, OSError):
        return None
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF


def openings(fd: int) -> Iterator[Opening]:
    """Descriptors of the file in all processes whose descriptors this user may see (proc(5)), except *fd* itself.

    They are found by path, so no file system is accessed.
    """
    with contextlib.suppress(OSError):
        wanted = Path(f"/proc/self/fd/{fd}").readlink()
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                yield from _openings_of(process, wanted, fd)


def _openings_of(process: Path, wanted: Path, own: int) -> Iterator[Opening]:
    with contextlib.suppress(OSError):  # a process of another user, or one that has ended
        for descriptor in (process / "fd").iterdir():
            if (process.name, descriptor.name) == (str(os.getpid()), str(own)):
                continue
            with contextlib.suppress(OSError):
                if descriptor.readlink() == wanted:
                    yield _opening(process, descriptor.name)


def _opening(process: Path, descriptor: str) -> Opening:
    lines = (process / "fdinfo" / descriptor).read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    writable = int(fields["flags"], 8) & os.O_ACCMODE != os.O_RDONLY
    program = (process / "comm").read_text(errors="replace").strip()
    return Opening(int(process.name), program, writable, int(fields["pos"]))


def open_beneath(fd: int, path: str) -> int:
    """Open the directory *path* below that of *fd* without following links (openat2). Raises OSError, Unsupported."""
    if sys.platform != "linux":
        raise Unsupported("openat2 requires Linux")
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    while (found := call(ctypes.c_long(_OPENAT2), ctypes.c_long(fd), os.fsencode(path), ctypes.byref(how), size)) < 0:
        code = ctypes.get_errno()
        # A seccomp filter returns EPERM, a kernel without openat2 ENOSYS.
        if code in _CANNOT or code in (errno.EPERM, errno.E2BIG, errno.EAGAIN):
            raise Unsupported(f"openat2: {os.strerror(code)}")
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), path)
    return int(found)


def _call(names: Sequence[str], *arguments: object) -> None:
    function = _function(names)
    while function(*arguments) != 0:
        code = ctypes.get_errno()
        if code in _CANNOT:
            raise Unsupported(f"{names[0]}: {os.strerror(code)}")
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def _function(names: Sequence[str]) -> Callable[..., Any]:
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        for name in names:
            if hasattr(library, name):
                return getattr(library, name)  # type: ignore[no-any-return]
    raise Unsupported(f"the C library has no {names[0]}")
