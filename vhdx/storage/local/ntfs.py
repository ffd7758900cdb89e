"""Files on NTFS as Linux mounts it (ntfs-3g, ntfs3), where a file with a hole is marked as sparse.

Windows refuses images that are marked so (0xC03A001A). ntfs-3g sets the mark as soon as a file is extended by its size
or written to behind its end, and takes it away when the last hole is filled. Both drivers show the attributes of a file
as an extended attribute, which no other file system has.
"""

import contextlib
import errno
import os
import struct
from collections.abc import Iterator

_NAME = "system.ntfs_attrib"
_ATTRIBUTES = struct.Struct("<I")
_SPARSE = 0x200
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


def attributes(fd: int) -> int | None:
    """The NTFS attributes of an open file; None where it is on no NTFS."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        value = os.getxattr(fd, _NAME)
    except OSError:
        return None
    return _ATTRIBUTES.unpack(value)[0] if len(value) == _ATTRIBUTES.size else None


def has_marks(fd: int) -> bool:
    """Whether holes are marked where the file is; the mark of one that is empty is taken away."""
    found = attributes(fd)
    if found is not None and found & _SPARSE and not os.fstat(fd).st_size:
        _clear(fd, found)
    return found is not None


def mend(fd: int) -> None:
    """Fill the holes of a file that is marked, where there is room. What it reads as never changes. Raises OSError.

    Takes as long as reading the file and writing its holes; stopped anywhere, the next call goes on.
    """
    found = attributes(fd)
    if found is None or not found & _SPARSE:
        return
    status, volume = os.fstat(fd), os.fstatvfs(fd)
    missing = status.st_size - status.st_blocks * 512
    if missing > volume.f_bavail * volume.f_frsize:
        return  # it stays as usable as it was
    for start, end in _zero_runs(fd, status.st_size, volume.f_frsize):
        fill(fd, start, end)
    _clear(fd, found)


def fill(fd: int, start: int, end: int) -> None:
    """Write zeros to a range. Raises OSError."""
    zeros = memoryview(_ZEROS)
    while start < end:
        start += os.pwrite(fd, zeros[: end - start], start)


def _clear(fd: int, found: int) -> None:
    """Take the mark away. A driver that cannot do it does it when the last hole is filled."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, _NAME, _ATTRIBUTES.pack(found & ~_SPARSE))


def _zero_runs(fd: int, size: int, cluster: int) -> Iterator[tuple[int, int]]:
    """Runs of clusters that read as zeros: every hole is among them, and neither driver tells where they are."""
    step = min(max(cluster, 512), _PIECE)
    for at in range(0, size, _PIECE):
        data = os.pread(fd, min(_PIECE, size - at), at)
        if not data:
            raise OSError(errno.EIO, "the file became shorter")
        start = None
        for part in range(0, len(data), step):
            empty = not data[part : part + step].strip(b"\0")
            if empty and start is None:
                start = part
            if not empty and start is not None:
                yield at + start, at + part
                start = None
        if start is not None:
            yield at + start, at + len(data)
