"""A share as a file system."""

import errno
import posixpath
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from vhdx.errors import Error, InUse
from vhdx.logs import debug
from vhdx.storage.base import Access, FileStatus, Space, Storage
from vhdx.storage.beneath import names_below, outside
from vhdx.storage.smb import handle as h
from vhdx.storage.smb.connection import SmbConnection
from vhdx.storage.smb.directory import Directory
from vhdx.storage.smb.handle import Handle
from vhdx.storage.smb.status import NtStatus, refusal
from vhdx.storage.smb.storage import SmbStorage

_RENAME_INFORMATION, _DISPOSITION_INFORMATION = 10, 13
_FULL_SIZE_INFORMATION = 7
# FileFsFullSizeInformation (MS-FSCC 2.5.4): TotalAllocationUnits, CallerAvailableAllocationUnits,
# ActualAvailableAllocationUnits, SectorsPerAllocationUnit, BytesPerSector.
_FULL_SIZE = struct.Struct("<QQQII")

_ATTEMPTS, _PAUSE = 20, 0.05  # seconds
_READING = h.READ_DATA | h.READ_ATTRIBUTES
_WRITING = _READING | h.WRITE_DATA | h.APPEND_DATA | h.WRITE_ATTRIBUTES
_MODES = {
    Access.INSPECT: (_READING, h.SHARE_ALL),
    Access.READ: (_READING, h.SHARE_READ),
    Access.WRITE: (_WRITING, h.SHARE_READ),
    Access.OWN: (_WRITING | h.DELETE, h.SHARE_READ),
}
"""DesiredAccess and ShareAccess: a reader that does not share writing cannot open a file beside a writer."""


class SmbFileSystem:
    """Implements `FileSystem`. If the connection is lost, the next call reconnects; open files stay lost."""

    has_permissions = False

    def __init__(
        self,
        connect: Callable[[], SmbConnection],
        server: str,
        share: str,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self._connect = connect
        self._server = server
        self._share = share
        self._kept = kept
        self.name = f"{server}/{share}"

    def _handle(
        self,
        path: str,
        *,
        desired_access: int,
        share_access: int = h.SHARE_ALL,
        create_disposition: int = h.OPEN,
        create_options: int = 0,
    ) -> Handle:
        """Open a handle; on STATUS_DELETE_PENDING, retry for up to a second.

        A deleted file stays in this state while another client has it open with Access.INSPECT, which is brief.
        """
        attempts = _ATTEMPTS
        while True:
            try:
                return self._at_once(
                    path,
                    desired_access=desired_access,
                    share_access=share_access,
                    create_disposition=create_disposition,
                    create_options=create_options,
                )
            except InUse as error:
                attempts -= 1
                refused = refusal(error)
                if not attempts or refused is None or refused.status != NtStatus.DELETE_PENDING:
                    raise
            debug(__name__, "%s: delete pending, retrying", self.describe(path))
            time.sleep(_PAUSE)

    def _at_once(
        self, path: str, *, desired_access: int, share_access: int, create_disposition: int, create_options: int
    ) -> Handle:
        place = _checked(path)
        connection = self._connect()
        return Handle(
            connection,
            connection.tree(self._share),
            place,
            self.describe(path),
            desired_access=desired_access,
            share_access=share_access,
            create_disposition=create_disposition,
            create_options=create_options | (0 if create_options & h.DIRECTORY_FILE else h.NON_DIRECTORY_FILE),
        )

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> SmbStorage:
        """Open a file; see `FileSystem.open`.

        With *beneath*, no component of the path may be a reparse point that is a link. A Windows server reports links
        and returns STATUS_STOPPED_ON_SYMLINK, which is not followed. Samba follows links in its own file system, as far
        as its configuration allows.
        """
        desired_access, share_access = _MODES[access]
        create_options = 0
        if beneath is not None:
            self._check_way(path, beneath)
            create_options = h.OPEN_REPARSE_POINT
        handle = self._handle(
            path, desired_access=desired_access, share_access=share_access, create_options=create_options
        )
        try:
            if handle.is_reparse_point and beneath is not None:
                handle = self._reopened(handle, path, desired_access, share_access)
            return SmbStorage(handle, access)
        except BaseException:
            handle.close()
            raise

    def _check_way(self, path: str, beneath: str) -> None:
        """Raise LeadsOutside unless *path* is below *beneath*, lexically and without a link on the way."""
        names = names_below(posixpath.normpath(path), beneath)
        if names is None:
            raise outside(self.describe(path), self.describe(beneath))
        for depth in range(1, len(names)):
            directory = posixpath.join(beneath, *names[:depth])
            create_options = h.DIRECTORY_FILE | h.OPEN_REPARSE_POINT
            handle = self._handle(directory, desired_access=h.READ_ATTRIBUTES, create_options=create_options)
            try:
                if handle.is_link():
                    raise outside(self.describe(path), self.describe(beneath))
            finally:
                handle.close()

    def _reopened(self, shown: Handle, path: str, desired_access: int, share_access: int) -> Handle:
        """Reopen *shown*, a reparse point that is no link, without OPEN_REPARSE_POINT. Raises LeadsOutside for a link.

        A second handle keeps the file id from being reused meanwhile.
        """
        refused = outside(self.describe(path), self.describe(posixpath.dirname(path)))
        if shown.is_link():
            raise refused
        kept = self._handle(path, desired_access=h.READ_ATTRIBUTES, create_options=h.OPEN_REPARSE_POINT)
        try:
            identity = shown.status().identity
            shown.close()
            handle = self._handle(path, desired_access=desired_access, share_access=share_access)
            if {kept.status().identity, handle.status().identity} != {identity}:
                handle.close()
                raise refused
            return handle
        finally:
            kept.close()

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        """Returns *path*: the server resolves links; see `open`."""
        if beneath is not None and names_below(posixpath.normpath(path), beneath) is None:
            raise outside(self.describe(path), self.describe(beneath))
        return path

    def create(
        self,
        path: str,
        *,
        like: FileStatus | None = None,  # noqa: ARG002  the server decides
        exact: bool = False,  # noqa: ARG002
    ) -> SmbStorage:
        """Create a file with the permissions inherited from its directory; see `FileSystem.create`."""
        desired_access, share_access = _MODES[Access.OWN]
        handle = self._handle(
            path, desired_access=desired_access, share_access=share_access, create_disposition=h.CREATE
        )
        return _storage(handle, Access.OWN)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        """Rename atomically on the server; see `FileSystem.rename`.

        Opens the target first, because Samba would replace a file that another client has open. A target that is open
        with Access.INSPECT on the same connection cannot be replaced; this is brief, so retries before it raises InUse.
        """
        new_name = _checked(target).replace("/", "\\").encode("utf-16-le")
        command = struct.pack("<B7xQI", replace, 0, len(new_name)) + new_name
        own = _handle_of(held)
        handle = own or self._handle(source, desired_access=h.DELETE | h.READ_ATTRIBUTES)
        try:
            attempts = _ATTEMPTS if replace else 1
            while not self._renamed(handle, command, target, replace=replace, last=attempts == 1):
                attempts -= 1
                debug(__name__, "%s: open for inspection, retrying the rename", self.describe(target))
                time.sleep(_PAUSE)
        finally:
            if own is None:
                handle.close()

    def _renamed(self, handle: Handle, command: bytes, target: str, *, replace: bool, last: bool) -> bool:
        """Try once; False if the target is open with Access.INSPECT and this is not the *last* attempt."""
        if replace:
            self._check_unheld(target, beside=h.SHARE_ALL)
        try:
            handle.set(_RENAME_INFORMATION, command)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "already exists", self.describe(target)) from None
        except FileNotFoundError:
            # The source is open, so it is the directory of the target.
            raise FileNotFoundError(errno.ENOENT, "no such directory", self.describe(target)) from None
        except PermissionError:
            if not last:
                return False
            if replace:
                self._check_unheld(target, beside=h.SHARE_NONE)
            raise
        return True

    def _check_unheld(self, path: str, *, beside: int) -> None:
        """Raise InUse if the file is open in a way that conflicts with the ShareAccess *beside*."""
        try:
            self._handle(path, desired_access=h.DELETE, share_access=beside).close()
        except FileNotFoundError:
            return

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        """Remove a file; see `FileSystem.remove`. Its name is free once the last Access.INSPECT handle is closed.

        Raises ConnectionError if the connection is lost meanwhile; the file may or may not exist then.
        """
        own = _handle_of(held)
        if own is None:
            self._handle(path, desired_access=h.DELETE, create_options=h.DELETE_ON_CLOSE).finish()
            return
        own.set(_DISPOSITION_INFORMATION, b"\1")
        own.finish()

    def stat(self, path: str) -> FileStatus:
        """Query a file; see `FileSystem.stat`."""
        handle = self._handle(path, desired_access=h.READ_ATTRIBUTES)
        try:
            return handle.status()
        finally:
            handle.close()

    def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        """Names of the files in a directory; see `FileSystem.list`."""
        if any(map(_forbidden, prefix + suffix)):
            return []
        with self._directory(directory) as found:
            return found.names(prefix, suffix)

    def exists(self, path: str) -> bool:
        """Whether there is a file named exactly so; one QUERY_DIRECTORY that matches only this name."""
        directory, name = posixpath.split(_checked(path))
        with self._directory(directory) as found:
            return found.has(name)

    def staying(self, directory: str) -> AbstractContextManager["SmbFileSystem"]:
        """The same files; the connection keeps *directory* open. See `FileSystem.staying`."""
        return nullcontext(SmbFileSystem(self._connect, self._server, self._share, self._kept | {directory}))

    @contextmanager
    def _directory(self, directory: str) -> Iterator[Directory]:
        """A directory; closed at the end of the ``with`` unless the connection keeps it open."""
        opening = partial(self._handle, directory, create_options=h.DIRECTORY_FILE)
        if directory in self._kept:
            connection = self._connect()
            kept = connection.kept.setdefault(
                (self._share.casefold(), directory), Directory(opening, keeper=connection)
            )
            assert isinstance(kept, Directory)
            yield kept
            return
        found = Directory(opening)
        try:
            yield found
        finally:
            found.close()

    def space(self) -> Space:
        """Capacity of the share for this account."""
        with self._directory("") as root:
            total, free, _, sectors, sector_size = root.query(_FULL_SIZE_INFORMATION, _FULL_SIZE)
        return Space(total * sectors * sector_size, free * sectors * sector_size)

    def sync_directory(self, directory: str) -> None:
        """Flush a directory; see `Directory.sync`."""
        with self._directory(directory) as found:
            found.sync()

    def describe(self, path: str) -> str:
        """The URL of a path."""
        return posixpath.join(self.name, path)


def _storage(handle: Handle, access: Access) -> SmbStorage:
    try:
        return SmbStorage(handle, access)
    except BaseException:
        handle.close()
        raise


def _handle_of(held: Storage | None) -> Handle | None:
    """The caller's own handle."""
    if held is None:
        return None
    storage = held.innermost()
    assert isinstance(storage, SmbStorage)
    return storage.handle


def _forbidden(character: str) -> bool:
    return ord(character) < 32 or character in '\\:*?"<>|' or 0xD800 <= ord(character) < 0xE000


def _checked(path: str) -> str:
    """*path* itself. Raises Error if it leaves the share, or if servers may interpret it differently."""
    for name in path.split("/") if path else []:
        if not name or name[-1] in ". " or any(map(_forbidden, name)):
            raise Error(f"{path!r}: not a valid path on a share; separate names with /")
    return path
