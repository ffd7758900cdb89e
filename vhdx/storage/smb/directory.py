"""A directory of a share: lists and flushes it."""

import errno
import struct
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Protocol, TypeVar

from vhdx.errors import Error
from vhdx.logs import debug
from vhdx.storage.base import is_named
from vhdx.storage.smb import handle as h
from vhdx.storage.smb.connection import SmbConnection
from vhdx.storage.smb.handle import Handle
from vhdx.storage.smb.messages import Scan
from vhdx.storage.smb.status import UNSUPPORTED, NtStatus, failures, lost, refusal

_DIRECTORY_INFORMATION = 1
_IS_DIRECTORY = 0x10
_ENTRY = struct.Struct("<I52xII")  # next entry, index and times and sizes, attributes, length of the name
_LISTING = h.READ_DATA | h.READ_ATTRIBUTES
_SYNCING = h.WRITE_DATA | h.APPEND_DATA | h.READ_ATTRIBUTES


_MOST_NAMES = 1 << 20
"""Names in one listing; limits a server whose listing never ends."""

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class _Open(Protocol):
    def __call__(self, *, desired_access: int) -> Handle: ...


class _Work(Protocol[R_co]):
    def __call__(self, handle: Handle, *, is_new: bool) -> R_co: ...


class Directory:
    """A directory that *opening* opens on first use; with a *keeper* with the rights for listing and flushing.

    A handle on *keeper* stays open as long as that connection. If it is lost, with its connection or on the server,
    the next use opens another. Safe to use from several threads.
    """

    def __init__(self, opening: _Open, *, keeper: SmbConnection | None = None) -> None:
        self._opening = opening
        self._keeper = keeper
        self._for_everything = keeper is not None
        self._handle: Handle | None = None
        self._rights = 0
        self._listed = False
        self._lock = threading.RLock()

    def names(self, prefix: str, suffix: str) -> list[str]:
        """The sorted names of the files with this prefix and suffix, ignoring case.

        The server filters them, so other names are not transferred.
        """

        def listed(handle: Handle, *, is_new: bool) -> list[str]:
            scan = self._scan(is_new=is_new)
            # A server may also match the 8.3 short name.
            found = list(islice(_names(handle, f"{prefix}*{suffix}", scan), _MOST_NAMES + 1))
            if len(found) > _MOST_NAMES:
                raise OSError(errno.EFBIG, f"the server lists more than {_MOST_NAMES} files", handle.name)
            return sorted(name for name in found if is_named(name, prefix, suffix))

        with self._lock:  # a handle has one scan position
            return self._using(_LISTING, listed)

    def has(self, name: str) -> bool:
        """Whether there is a file named exactly *name*."""

        def asked(handle: Handle, *, is_new: bool) -> bool:
            scan = self._scan(is_new=is_new)
            try:
                return name in _entries(handle.query_directory(_DIRECTORY_INFORMATION, name, scan))
            except OSError as error:
                if _is_end(error):
                    return False
                raise

        with self._lock:
            return self._using(_LISTING, asked)

    def _scan(self, *, is_new: bool) -> Scan:
        """How a listing begins through a handle; it is the first one through a new handle."""
        scan = Scan.REOPEN if self._listed and not is_new else Scan.RESTART
        self._listed = True
        return scan

    def sync(self) -> None:
        """Make its names durable with FLUSH, for which Samba calls fsync if the handle may add files.

        Does nothing if the server cannot flush a directory.
        """
        self._using(_SYNCING, _flush)

    def query(self, info_class: int, place: struct.Struct) -> tuple[int, ...]:
        """The fields at the start of an information class of its file system (MS-FSCC 2.5)."""

        def asked(handle: Handle, *, is_new: bool) -> tuple[int, ...]:  # noqa: ARG001
            return handle.query(info_class, place, file_system=True)

        return self._using(h.READ_ATTRIBUTES, asked)

    def _using(self, rights: int, work: _Work[T]) -> T:
        """Call *work* with a handle; once more with a new one if a handle from an earlier use was lost."""
        with self._lock:
            before, handle = self._handle, self._opened(rights)
        try:
            return self._worked(handle, work, is_new=handle is not before)
        except ConnectionError:
            if handle is not before:
                raise
        debug(__name__, "%s: handle lost, reopening", handle.name)
        with self._lock:
            if self._handle is handle:
                self._close()
            handle = self._opened(rights)
        return self._worked(handle, work, is_new=True)

    def _worked(self, handle: Handle, work: _Work[T], *, is_new: bool) -> T:
        """What *work* does with *handle*, which is given back then unless it is kept. Raises ConnectionError."""
        try:
            return work(handle, is_new=is_new)
        except Error as error:
            if not handle.is_closed:
                raise
            # By another thread, which found it lost.
            raise lost(handle.name, "the server is gone") from error
        finally:
            if self._handle is not handle:
                handle.close()

    def _opened(self, rights: int) -> Handle:
        """The handle with *rights*; opens it if necessary."""
        if self._handle is not None and (self._rights & rights != rights or not self._handle.connection.alive):
            self._close()
        if self._handle is not None:
            return self._handle
        handle = self._open(rights)
        # Once the keeper is lost nobody closes what is kept here.
        if self._keeper is None or handle.connection is self._keeper:
            self._handle = handle
        return handle

    def _open(self, rights: int) -> Handle:
        if self._for_everything:
            self._rights = _LISTING | _SYNCING
            try:
                return self._opening(desired_access=self._rights)
            except PermissionError:
                self._for_everything = False  # this account lacks one of the rights
        self._rights = rights
        return self._opening(desired_access=rights)

    def _close(self) -> None:
        handle, self._handle, self._listed = self._handle, None, False
        if handle is not None:
            handle.close()

    def close(self) -> None:
        """Close the handle if it is open."""
        with self._lock:
            self._close()

    def abandon(self) -> None:
        """The connection is lost: what was open on it is closed.

        Without the lock, whose owner may be waiting for the caller to make another connection.
        """
        handle = self._handle
        if handle is not None:
            handle.close()


def _flush(handle: Handle, *, is_new: bool) -> None:
    """Flush a directory; ignore that the server cannot, for which INVALID_HANDLE stands only on a new handle."""
    cannot = UNSUPPORTED | {NtStatus.ACCESS_DENIED} | ({NtStatus.INVALID_HANDLE} if is_new else set())
    try:
        handle.flush()
    except OSError as error:
        refused = refusal(error)
        if refused is None or refused.status not in cannot:
            raise


def _names(handle: Handle, pattern: str, scan: Scan) -> Iterator[str]:
    try:
        with failures(handle.name):
            while len(page := handle.query_directory(_DIRECTORY_INFORMATION, pattern, scan)):
                yield from _entries(page)
                scan = Scan.CONTINUE
    except OSError as error:
        if not _is_end(error):
            raise


def _is_end(error: OSError) -> bool:
    """Whether there are no more entries, or none that match."""
    refused = refusal(error)
    return refused is not None and refused.status in (NtStatus.NO_MORE_FILES, NtStatus.NO_SUCH_FILE)


def _entries(entries: memoryview) -> Iterator[str]:
    """The names of the files in one QUERY_DIRECTORY response."""
    while len(entries):
        next_entry, attributes, name_length = _ENTRY.unpack_from(entries)
        if not attributes & _IS_DIRECTORY:
            yield bytes(entries[_ENTRY.size : _ENTRY.size + name_length]).decode("utf-16-le", "replace")
        entries = entries[next_entry:] if next_entry else entries[:0]
