"""Locks of local files.

Three mechanisms, each for other programs:

* `flock` on the whole file, which every program built on this package respects, on every file system.
* qemu's byte locks (block/file-posix.c): a process locks byte 100 + n if it needs permission n, and byte 200 + n if it
  does not share it; n is 0 consistent read, 1 write, 2 write unchanged, 3 resize. All are shared locks, so they never
  conflict; after setting its own, a process queries whether others hold conflicting ones. They belong to the open file
  description (F_OFD_SETLK), so closing another descriptor of the file does not drop them. libvirt uses byte 0.
* Programs such as smbd take no lock. A read lease detects that one of them has the file open for writing, because the
  kernel grants it only if nobody has; it is requested and released at once.

`release` ends all locks, even if forked processes have copies of the descriptor.
"""

import errno
import os
import signal
import struct
import sys
from itertools import islice

from vhdx.errors import InUse
from vhdx.storage.base import Access
from vhdx.storage.local import linux

if sys.platform != "win32":
    import fcntl

_FLOCK = struct.Struct("hhqqi0q")  # type, whence, start, length, process
_BYTES = {
    # Bytes to lock, and bytes that others must not have locked: offset and length.
    Access.READ: ([(100, 1), (201, 1), (203, 1)], [(101, 1), (103, 1), (200, 1)]),
    Access.WRITE: ([(100, 2), (103, 1), (201, 1), (203, 1)], [(101, 1), (103, 1), (200, 2), (203, 1)]),
}
_MEANING = {101: "another program writes to it", 103: "another program may change its size"}
_WHOLE = [0, 0]
"""Start and length of the byte lock that `flock` is on NFS. A shared one is a reader's, which excludes writers."""

_HELD = frozenset({errno.EAGAIN, errno.EACCES})

_RELEASED = 0x78646876
_NAMED = 3

_WITH_LEASES = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010})
"""ext2 to ext4, XFS, btrfs, tmpfs, F2FS. On network file systems EAGAIN does not mean that there is a writer."""

_MANDATORY = frozenset({0xFF534D42, 0xFE534D42, 0x517B})
"""CIFS and SMB, where byte locks are mandatory even for their owner, and are reported to it as conflicts."""


def claim(fd: int, access: Access, name: str) -> None:
    """Lock an open file for *access*. Raises InUse, OSError.

    After an error the caller must call `release` and close *fd*.
    """
    if access is Access.INSPECT:
        return
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if access.writes else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # CIFS says EACCES
        raise in_use(name) from error
    if sys.platform == "linux" and linux.file_system(fd) not in _MANDATORY:
        _claim_bytes(fd, access, name)


def _claim_bytes(fd: int, access: Access, name: str) -> None:
    if sys.platform != "linux":
        return
    held, excluded = _BYTES[Access.WRITE if access.writes else Access.READ]
    for start, length in held:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, start, length))
        except OSError as error:
            if error.errno in _HELD:
                raise _held(fd, name, "another program has locked it") from error
            return  # the file system has no such locks; only flock protects the file
    for start, length in excluded:
        kind, _, *place, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, start, length)))
        if access is Access.READ and (kind, place) == (fcntl.F_RDLCK, _WHOLE):
            continue
        if kind != fcntl.F_UNLCK:
            raise _held(fd, name, _MEANING.get(start, f"another program does not allow others to {access.value} it"))


def _flock(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def release(fd: int) -> None:
    """Release all locks; to be called before *fd* is closed, by the process that opened it.

    Forked processes may keep copies of the descriptor, which they never use; the file position marks those.
    """
    if sys.platform == "win32":
        return
    try:
        os.lseek(fd, _RELEASED, os.SEEK_SET)
        fcntl.flock(fd, fcntl.LOCK_UN)
        if sys.platform == "linux":
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, 100, 104))
    except OSError:  # closing releases them, too
        return


def check_no_writer(fd: int, name: str) -> None:
    """Raise InUse if any program has the file open for writing, as far as a lease can detect it.

    *fd* must be open for reading only. Detects nothing without permission (owner of the file, or CAP_LEASE) or on file
    systems without leases.
    """
    if sys.platform != "linux" or linux.file_system(fd) not in _WITH_LEASES:
        return
    try:
        # If the file is opened for writing meanwhile, the kernel signals the lease holder: not with SIGIO, which would
        # end this process, but with a signal that is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and not _only_released(fd):
            raise _held(fd, name, "it is open for writing") from error
        return
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _only_released(fd: int) -> bool:
    """Whether all visible descriptors open for writing, at least one, are released ones; see `release`."""
    positions = {opening.position for opening in linux.openings(fd) if opening.writable}
    return positions == {_RELEASED}


def in_use(name: str) -> InUse:
    """The error for a locked file."""
    return InUse(f"{name}: in use by this or another process; close it there and try again")


def _held(fd: int, name: str, what: str) -> InUse:
    others = {
        f"{opening.program} (process {opening.process})": None  # unique, in order
        for opening in linux.openings(fd)
        if opening.process != os.getpid() and opening.position != _RELEASED
    }
    who = ", ".join(islice(others, _NAMED)) if others else "this or another process"
    return InUse(f"{name}: in use by {who}: {what}; close it there and try again")
