"""Files under construction: made under a temporary name, given their own when they are complete."""

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
"""Bytes that most file systems take as a name; a share's 255 units of UTF-16 are never fewer letters."""


def is_temporary(name: str) -> bool:
    """Whether *name* is one of those that `temporary_name` makes."""
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(path: str, token: str) -> str:
    """The name under which *path* is built; *token* is eight hexadecimal digits."""
    return suffixed(path, f".{token}.tmp")


def suffixed(path: str, suffix: str) -> str:
    """*path* with *suffix*, of ASCII, behind its name; of a name that gets too long so, the last letters are left out.

    Distinct long paths may become one.
    """
    directory, name = posixpath.split(path)
    room = _LONGEST - len(suffix)
    while len(name.encode("utf-8", "surrogatepass")) > room:
        name = name[:-1]
    return posixpath.join(directory, name + suffix)


def granting(files: FileSystem, sources: Sequence[Storage]) -> list[FileStatus]:
    """The permissions of *sources*, for `building` in *files*; nothing is asked where no program could set them."""
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
    """An empty file that becomes *path*, durably, when the caller has made it complete and durable, or nothing.

    It is renamed through the handle that the caller has, and closed then, so at no moment it is anybody else's. It gets
    the permissions of the file that it replaces; a new one grants others no more than each of *sources*, the files that
    its content comes from. A stop leaves at most the temporary file. Raises FileExistsError when
    there is such a file and it may not be replaced: before anything is done, unless that is *quick*.
    """
    replaced = None
    if not quick or files.has_permissions:
        with suppress(FileNotFoundError):
            replaced = files.stat(path)
    if replaced is not None and not replace:
        raise FileExistsError(f"{files.describe(path)} exists already")
    like = narrowest(sources) if replaced is None else replaced
    temporary = temporary_name(path, token)
    try:
        storage = files.create(temporary, like=like, exact=replaced is not None)
    except FileNotFoundError as error:
        directory = files.describe(posixpath.dirname(path))
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", directory) from error
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
            # Nobody knows the temporary, and it is gone.
            raise OutOfSpace(str(error).replace(files.describe(temporary), files.describe(path))) from error
        raise


def _check_kept(storage: Storage, name: str) -> None:
    """Raise ConnectionError where a complete file was lost with its connection; *name* is the one that it got."""
    try:
        storage.flush()
    except ConnectionError as error:
        reason = f"{error.strerror}, and may have lost this file; look whether it is there"
        raise ConnectionError(error.errno, reason, name) from error
