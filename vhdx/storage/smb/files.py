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
from vhdx.storage.smb.status import DELETE_PENDING, refusal
from vhdx.storage.smb.storage import SmbStorage

_RENAME_INFORMATION, _DISPOSITION_INFORMATION = 10, 13
_FULL_SIZE_INFORMATION = 7
_FULL_SIZE = struct.Struct("<QQQII")  # total, free for the account, free, sectors in a unit, bytes in a sector

_ATTEMPTS, _PAUSE = 20, 0.05  # seconds
_READING = h.READ_DATA | h.READ_ATTRIBUTES
_WRITING = _READING | h.WRITE_DATA | h.APPEND_DATA | h.WRITE_ATTRIBUTES
_MODES = {
    Access.INSPECT: (_READING, h.SHARE_ALL),
    Access.READ: (_READING, h.SHARE_READ),
    Access.WRITE: (_WRITING, h.SHARE_READ),
    Access.OWN: (_WRITING | h.DELETE, h.SHARE_READ),
}
"""Wanted rights and what others may have: a reader that shares no writing cannot get in beside a writer."""


class SmbFileSystem:
    """Implements `FileSystem`. When its connection is lost the next call makes another; open files stay lost."""

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
        self, path: str, *, access: int, share: int = h.SHARE_ALL, disposition: int = h.OPEN, options: int = 0
    ) -> Handle:
        """A handle; a file that was removed is waited for until nobody inspects it any more, which is soon.

        Nobody can open it until then, though it is gone for everybody: who only looked must not make others fail.
        """
        attempts = _ATTEMPTS
        while True:
            try:
                return self._at_once(path, access=access, share=share, disposition=disposition, options=options)
            except InUse as error:
                attempts -= 1
                refused = refusal(error)
                if not attempts or refused is None or refused.status != DELETE_PENDING:
                    raise
            debug(__name__, "%s: waiting until it is deleted", self.describe(path))
            time.sleep(_PAUSE)

    def _at_once(self, path: str, *, access: int, share: int, disposition: int, options: int) -> Handle:
        place = _checked(path)
        connection = self._connect()
        return Handle(
            connection,
            connection.tree(self._share),
            place,
            self.describe(path),
            access=access,
            share=share,
            disposition=disposition,
            options=options | (0 if options & h.DIRECTORY else h.NOT_DIRECTORY),
        )

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> SmbStorage:
        """Open a file; see `FileSystem.open`.

        With *beneath* no name on the way may be a link that the server shows: a Windows server shows them, and hands
        symbolic links to the client to follow, which is never done. Samba follows those of its own disk by itself, as
        far as its configuration lets it.
        """
        wanted, share = _MODES[access]
        options = 0
        if beneath is not None:
            self._check_way(path, beneath)
            options = h.OPEN_REPARSE_POINT
        handle = self._handle(path, access=wanted, share=share, options=options)
        try:
            if handle.is_reparse_point and beneath is not None:
                handle = self._behind(handle, path, wanted, share)
            return SmbStorage(handle, access)
        except BaseException:
            handle.close()
            raise

    def _check_way(self, path: str, beneath: str) -> None:
        """Raise LeadsOutside unless *path* stays below *beneath*, by its letters and without a link among them."""
        names = names_below(posixpath.normpath(path), beneath)
        if names is None:
            raise outside(self.describe(path), self.describe(beneath))
        for depth in range(1, len(names)):
            directory = posixpath.join(beneath, *names[:depth])
            handle = self._handle(directory, access=h.READ_ATTRIBUTES, options=h.DIRECTORY | h.OPEN_REPARSE_POINT)
            try:
                if handle.is_link():
                    raise outside(self.describe(path), self.describe(beneath))
            finally:
                handle.close()

    def _behind(self, shown: Handle, path: str, wanted: int, share: int) -> Handle:
        """The same file as others read it, *shown* being one that has a reparse point. Raises LeadsOutside for a link.

        A second handle keeps the number of the file from being another's while it is opened again.
        """
        refused = outside(self.describe(path), self.describe(posixpath.dirname(path)))
        if shown.is_link():
            raise refused
        kept = self._handle(path, access=h.READ_ATTRIBUTES, options=h.OPEN_REPARSE_POINT)
        try:
            identity = shown.status().identity
            shown.close()
            handle = self._handle(path, access=wanted, share=share)
            if {kept.status().identity, handle.status().identity} != {identity}:
                handle.close()
                raise refused
            return handle
        finally:
            kept.close()

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        """*path*: which links there are on a server, and where they lead, only it knows; see `open`."""
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
        """Make a file with the permissions that its directory hands on; see `FileSystem.create`."""
        wanted, share = _MODES[Access.OWN]
        return _storage(self._handle(path, access=wanted, share=share, disposition=h.CREATE), Access.OWN)

    def rename(self, source: str, target: str, *, replace: bool, held: Storage | None = None) -> None:
        """Rename in one step on the server; see `FileSystem.rename`.

        The target is looked at first: Samba would replace a file that somebody else holds. A file that is being
        inspected cannot be replaced over the connection that inspects it: that takes a moment and is waited for, and
        is InUse where it does not end.
        """
        new_name = _checked(target).replace("/", "\\").encode("utf-16-le")
        command = struct.pack("<B7xQI", replace, 0, len(new_name)) + new_name
        own = _handle_of(held)
        handle = own or self._handle(source, access=h.DELETE | h.READ_ATTRIBUTES)
        try:
            attempts = _ATTEMPTS if replace else 1
            while not self._renamed(handle, command, target, replace=replace, last=attempts == 1):
                attempts -= 1
                debug(__name__, "%s: waiting until nobody looks into it", self.describe(target))
                time.sleep(_PAUSE)
        finally:
            if own is None:
                handle.close()

    def _renamed(self, handle: Handle, command: bytes, target: str, *, replace: bool, last: bool) -> bool:
        """Try to; False where the target is being inspected, and it is not the last time that it is tried."""
        if replace:
            self._check_unheld(target, beside=h.SHARE_ALL)
        try:
            handle.set(_RENAME_INFORMATION, command)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "it exists already", self.describe(target)) from None
        except FileNotFoundError:
            # The source is open already.
            raise FileNotFoundError(errno.ENOENT, "no such directory", self.describe(target)) from None
        except PermissionError:
            if not last:
                return False
            if replace:
                self._check_unheld(target, beside=h.SHARE_NONE)
            raise
        return True

    def _check_unheld(self, path: str, *, beside: int) -> None:
        """Raise InUse where somebody has the file open in a way that goes not with *beside*."""
        try:
            self._handle(path, access=h.DELETE, share=beside).close()
        except FileNotFoundError:
            return

    def remove(self, path: str, *, held: Storage | None = None) -> None:
        """Remove a file; see `FileSystem.remove`. Its name is free when the last who inspects it closes it.

        When the connection is lost meanwhile, that is a ConnectionError, and the file may or may not be there.
        """
        own = _handle_of(held)
        if own is None:
            self._handle(path, access=h.DELETE, options=h.DELETE_ON_CLOSE).finish()
            return
        own.set(_DISPOSITION_INFORMATION, b"\1")
        own.finish()

    def stat(self, path: str) -> FileStatus:
        """Look at a file; see `FileSystem.stat`."""
        handle = self._handle(path, access=h.READ_ATTRIBUTES)
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
        """Whether there is a file of this very name: one question, answered without a look at the others."""
        directory, name = posixpath.split(_checked(path))
        with self._directory(directory) as found:
            return found.has(name)

    def staying(self, directory: str) -> AbstractContextManager["SmbFileSystem"]:
        """The same files, with a handle on *directory* that the connection keeps; see `FileSystem.staying`."""
        return nullcontext(SmbFileSystem(self._connect, self._server, self._share, self._kept | {directory}))

    @contextmanager
    def _directory(self, directory: str) -> Iterator[Directory]:
        """A directory, which is closed behind the ``with`` unless it is kept."""
        opening = partial(self._handle, directory, options=h.DIRECTORY)
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
    """The handle of what the caller itself has open."""
    if held is None:
        return None
    storage = held.innermost()
    assert isinstance(storage, SmbStorage)
    return storage.handle


def _forbidden(character: str) -> bool:
    return ord(character) < 32 or character in '\\:*?"<>|' or 0xD800 <= ord(character) < 0xE000


def _checked(path: str) -> str:
    """The path as the server gets it. Raises Error where it leaves the share or servers may read it otherwise."""
    for name in path.split("/") if path else []:
        if not name or name[-1] in ". " or any(map(_forbidden, name)):
            raise Error(f"{path!r}: not a path inside a share; use names with / between them")
    return path
