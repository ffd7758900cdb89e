"""Calls of the Linux kernel that the standard library lacks; elsewhere those that change a file are `Unsupported`.

They are called by way of the C library with 64-bit offsets. Errors are OSError with the kernel's number; the caller
adds the file's name.
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

_OPENAT2 = 437  # the number of the system call, for which C libraries have no function
_RESOLVE = 0x04 | 0x08 | 0x02  # no symbolic link, nothing above the start, no magic link of /proc

_FALLOCATE = ("fallocate64", "fallocate")  # one C library gives 64-bit offsets a name, another has no others
_RENAME = ("renameat2",)
_STATFS = ("fstatfs64", "fstatfs")


class Opening(NamedTuple):
    """A descriptor of a file in some process, and what it shares with its copies in others."""

    process: int
    program: str
    writable: bool
    position: int


_CANNOT = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Make a range read as zeros and give its space back; the file's size stays. Raises Unsupported."""
    _call(_FALLOCATE, fd, _KEEP_SIZE | _PUNCH_HOLE, *_range(offset, length))


def allocate(fd: int, offset: int, length: int) -> None:
    """Allocate space for a range without touching data in it, growing the file as needed. Raises Unsupported.

    Not posix_fallocate: where the file system cannot, the C library would imitate it by writing to every block.
    """
    _call(_FALLOCATE, fd, 0, *_range(offset, length))


def _range(offset: int, length: int) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    if offset + length >= 1 << 63:
        raise OverflowError(f"no file has a byte at {offset + length}")
    return ctypes.c_int64(offset), ctypes.c_int64(length)


def rename_no_replace(source: Path, target: Path) -> None:
    """Rename in one atomic step. Raises FileExistsError when *target* exists, Unsupported."""
    _call(_RENAME, _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_NOREPLACE))


def file_system(fd: int) -> int | None:
    """The kernel's number for the kind of file system that a file is on (statfs(2), f_type); None: not known."""
    status = ctypes.create_string_buffer(256)
    try:
        _call(_STATFS, fd, status)
    except (Unsupported, OSError):
        return None
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF


def openings(fd: int) -> Iterator[Opening]:
    """Who has the file open, this process included, as far as this user may see others (proc(5)).

    They are told by the path under which they opened it, so that no file system is asked.
    """
    with contextlib.suppress(OSError):
        wanted = Path(f"/proc/self/fd/{fd}").readlink()
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                yield from _openings_of(process, wanted, fd)


def _openings_of(process: Path, wanted: Path, own: int) -> Iterator[Opening]:
    with contextlib.suppress(OSError):  # another user's process, or one that just ended
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
    """A descriptor of the directory *path* below that of *fd*, with no link on the way. Raises OSError, Unsupported."""
    if sys.platform != "linux":
        raise Unsupported("there is no openat2")
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    while (found := call(ctypes.c_long(_OPENAT2), ctypes.c_long(fd), os.fsencode(path), ctypes.byref(how), size)) < 0:
        code = ctypes.get_errno()
        # A filter of system calls answers with EPERM, and a kernel that does not know the call with ENOSYS.
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
    raise Unsupported(f"{names[0]} is not in the C library")
