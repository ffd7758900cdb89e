"""Who has a file of this machine open, and may another have it too.

Three kinds of claim, each for programs that know no other:

* `flock` on the whole file, which every program built on this package respects, on every file system.
* qemu's byte locks (block/file-posix.c): byte 100 + n is locked by whoever needs permission n, byte 200 + n by whoever
  does not share it; n is 0 consistent read, 1 write, 2 write unchanged, 3 resize. All of them are shared locks, so
  they never stand in each other's way; who set his asks whether others have what does not go with it. They belong to
  the open file description (F_OFD_SETLK): closing another descriptor of the file does not drop them. Byte 0 is
  libvirt's.
* Nothing, in programs such as smbd. That one of them has the file open for writing shows in a read lease, which the
  kernel grants only while nobody has: it is asked for, and let go at once.

A claim ends with `release`, in spite of copies of the descriptor in processes that were forked meanwhile.
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
    # What is locked, and what must not be by others: where each begins, and how many bytes.
    Access.READ: ([(100, 1), (201, 1), (203, 1)], [(101, 1), (103, 1), (200, 1)]),
    Access.WRITE: ([(100, 2), (103, 1), (201, 1), (203, 1)], [(101, 1), (103, 1), (200, 2), (203, 1)]),
}
_MEANING = {101: "another program writes to it", 103: "another program may change its size"}
_WHOLE = [0, 0]
"""Start and length of what `flock` is on NFS. A shared one is that of a reader, beside whom no writer can get in."""

_HELD = frozenset({errno.EAGAIN, errno.EACCES})

_GIVEN_BACK = 0x78646876
_NAMED = 3

_WITH_LEASES = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010})
"""ext2 to ext4, XFS, btrfs, tmpfs, F2FS. On network file systems EAGAIN says only that the server has to be asked."""

_MANDATORY = frozenset({0xFF534D42, 0xFE534D42, 0x517B})
"""CIFS and SMB: a byte lock there keeps even its owner from writing to the byte, and its owner's question finds it."""


def claim(fd: int, access: Access, name: str) -> None:
    """Hold an open file for *access* against all who would be in each other's way. Raises InUse, OSError.

    After a failure the caller closes *fd*, by way of `release`.
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
            return  # a file system without such locks: flock has to do
    for start, length in excluded:
        kind, _, *place, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, start, length)))
        if access is Access.READ and (kind, place) == (fcntl.F_RDLCK, _WHOLE):
            continue
        if kind != fcntl.F_UNLCK:
            raise _held(fd, name, _MEANING.get(start, f"another program lets no other {access.value} it"))


def _flock(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def release(fd: int) -> None:
    """End every claim; to be called before *fd* is closed, by the process that opened it.

    Copies of the descriptor may live on in forked processes, which never use them; they are marked by their position.
    """
    if sys.platform == "win32":
        return
    try:
        os.lseek(fd, _GIVEN_BACK, os.SEEK_SET)
        fcntl.flock(fd, fcntl.LOCK_UN)
        if sys.platform == "linux":
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, 100, 104))
    except OSError:  # closing ends them, too
        return


def check_no_writer(fd: int, name: str) -> None:
    """Raises InUse where anybody at all has the file open for writing, and the kernel tells.

    *fd* is open for reading only. Who may not ask (neither owner of the file nor CAP_LEASE), or where (file systems
    without leases of their own), is not told.
    """
    if sys.platform != "linux" or linux.file_system(fd) not in _WITH_LEASES:
        return
    try:
        # Whoever opens the file for writing in between has the kernel send the owner of the lease a signal: not
        # SIGIO, which would end this process, but one that does nothing unless somebody listens.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and not _only_given_back(fd):
            raise _held(fd, name, "it is open for writing") from error
        return
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _only_given_back(fd: int) -> bool:
    """Whether all writers that can be seen, and there are some, are no writers any more; see `release`."""
    positions = {opening.position for opening in linux.openings(fd) if opening.writable}
    return positions == {_GIVEN_BACK}


def in_use(name: str) -> InUse:
    """The error of one who comes second."""
    return InUse(f"{name}: in use, here or by another process; try again when it is closed there")


def _held(fd: int, name: str, what: str) -> InUse:
    others = {
        f"{opening.program} (process {opening.process})": None  # each once, in their order
        for opening in linux.openings(fd)
        if opening.process != os.getpid() and opening.position != _GIVEN_BACK
    }
    who = f" by {', '.join(islice(others, _NAMED))}" if others else ", here or by another process"
    return InUse(f"{name}: in use{who}: {what}; try again when it is closed there")
