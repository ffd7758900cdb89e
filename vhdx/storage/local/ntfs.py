"""Files on NTFS mounted by Linux (ntfs-3g, ntfs3), where a file with a hole gets FILE_ATTRIBUTE_SPARSE_FILE.

Windows refuses sparse images (0xC03A001A). ntfs-3g sets the attribute when a file is extended or written to beyond its
end, and clears it when the last hole is filled. Both drivers expose the attributes of a file as an extended attribute
that no other file system has.
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
    """The NTFS attributes of an open file; None if it is not on NTFS."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        value = os.getxattr(fd, _NAME)
    except OSError:
        return None
    return _ATTRIBUTES.unpack(value)[0] if len(value) == _ATTRIBUTES.size else None


def has_marks(fd: int) -> bool:
    """Whether the file is on NTFS; clears the sparse attribute of an empty file."""
    found = attributes(fd)
    if found is not None and found & _SPARSE and not os.fstat(fd).st_size:
        _clear(fd, found)
    return found is not None


def mend(fd: int) -> None:
    """Fill the holes of a sparse file if there is enough free space; its content does not change. Raises OSError.

    Takes as long as reading the file and writing its holes. If interrupted, the next call continues.
    """
    found = attributes(fd)
    if found is None or not found & _SPARSE:
        return
    status, volume = os.fstat(fd), os.fstatvfs(fd)
    missing = status.st_size - status.st_blocks * 512
    if missing > volume.f_bavail * volume.f_frsize:
        return  # the file stays sparse
    for start, end in _zero_runs(fd, status.st_size, volume.f_frsize):
        fill(fd, start, end)
    _clear(fd, found)


def fill(fd: int, start: int, end: int) -> None:
    """Write zeros to a range. Raises OSError."""
    zeros = memoryview(_ZEROS)
    while start < end:
        start += os.pwrite(fd, zeros[: end - start], start)


def _clear(fd: int, found: int) -> None:
    """Clear the sparse attribute. A driver that refuses clears it when the last hole is filled."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, _NAME, _ATTRIBUTES.pack(found & ~_SPARSE))


def _zero_runs(fd: int, size: int, cluster: int) -> Iterator[tuple[int, int]]:
    """Runs of clusters that read as zeros; these include every hole, which neither driver reports."""
    step = min(max(cluster, 512), _PIECE)
    for at in range(0, size, _PIECE):
        data = os.pread(fd, min(_PIECE, size - at), at)
        if not data:
            raise OSError(errno.EIO, "the file was truncated concurrently")
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
