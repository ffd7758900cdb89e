"""Three calls of the Linux kernel that the standard library lacks; elsewhere each of them is `Unsupported`.

They are called by way of the C library with 64-bit offsets. Errors are OSError with the kernel's number; the caller
adds the file's name.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vhdx.storage.base import Unsupported

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_AT_FDCWD = -100
_NOREPLACE = 0x01

_FALLOCATE = ("fallocate64", "fallocate")  # one C library gives 64-bit offsets a name, another has no others
_RENAME = ("renameat2",)

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
