"""Create a file under a temporary name and rename it when it is complete."""

import errno
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from vhdx.errors import Error, OutOfSpace
from vhdx.storage.base import FileStatus, FileSystem, Storage
from vhdx.storage.permissions import narrowest

_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.tmp", re.DOTALL)
_LONGEST = 255
"""Longest file name of most file systems, in bytes; a share allows 255 UTF-16 code units, never fewer characters."""


def is_temporary(name: str) -> bool:
    """Whether *name* has the form of `temporary_name`."""
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(path: str, token: str) -> str:
    """The temporary name of *path*; *token* is eight hexadecimal digits."""
    return suffixed(path, f".{token}.tmp")


def suffixed(path: str, suffix: str) -> str:
    """*path* with an ASCII *suffix* appended; a name that would be too long is truncated first.

    Distinct long paths may result in the same name.
    """
    directory, name = posixpath.split(path)
    room = _LONGEST - len(suffix)
    while len(name.encode("utf-8", "surrogatepass")) > room:
        name = name[:-1]
    return posixpath.join(directory, name + suffix)


def granting(files: FileSystem, sources: Sequence[Storage]) -> list[FileStatus]:
    """The permissions of *sources*, for `building` in *files*; empty if *files* has no permissions."""
    return [source.status() for source in sources] if files.has_permissions else []


@contextmanager
def building(
    files: FileSystem,
    path: str,
    *,
    token: str,
    replace: bool = False,
    quick: bool = False,
    sources: Sequence[FileStatus] = (),
) -> Iterator[Storage]:
    """Create a temporary file that becomes *path* at the end of the ``with``, or is removed if it raises.

    The caller must make it complete and durable. It is renamed through its own handle and then closed, so nobody else
    can open it in between; the rename is durable. It gets the permissions of the file that it replaces; a new file
    grants others no more than each of *sources*, the files that its content comes from. A crash leaves at most the
    temporary file. Raises FileExistsError if *path* exists and *replace* is False: before anything is created, or on
    the rename with *quick*.
    """
    replaced = None
    if not quick or files.has_permissions:
        with suppress(FileNotFoundError):
            replaced = files.stat(path)
    if replaced is not None and not replace:
        raise FileExistsError(f"{files.describe(path)} already exists")
    like = narrowest(sources) if replaced is None else replaced
    temporary = temporary_name(path, token)
    try:
        storage = files.create(temporary, like=like, exact=replaced is not None)
    except FileNotFoundError as error:
        directory = files.describe(posixpath.dirname(path))
        raise FileNotFoundError(errno.ENOENT, "no such directory", directory) from error
    except PermissionError as error:
        if replaced is None:
            raise
        raise PermissionError(error.errno, error.strerror, files.describe(path)) from error
    try:
        yield storage
        files.rename(temporary, path, replace=replace and (quick or replaced is not None), held=storage)
        files.sync_directory(posixpath.dirname(path))
        # A server that was lost after the rename, and is there again, has made durable what may be without the name.
        _check_kept(storage, files.describe(path))
        storage.close()
    except BaseException as error:
        storage.close()
        with suppress(OSError, Error):
            files.remove(temporary)
        if isinstance(error, OutOfSpace):
            # The temporary file was removed, so name the file that was to be created.
            raise OutOfSpace(str(error).replace(files.describe(temporary), files.describe(path))) from error
        raise


def _check_kept(storage: Storage, name: str) -> None:
    """Raise ConnectionError where a complete file was lost with its connection; *name* is the one that it got."""
    try:
        storage.flush()
    except ConnectionError as error:
        reason = f"{error.strerror}, and may have lost this file; look whether it is there"
        raise ConnectionError(error.errno, reason, name) from error
    except (OSError, Error):
        pass  # it was durable before it got its name
