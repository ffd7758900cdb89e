"""Files under construction: made under a temporary name, given their own when they are complete."""

import errno
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vhdx.errors import Error
from vhdx.storage.base import FileSystem, Storage

_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether *name* is one of those that `temporary_name` makes."""
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(path: str, token: str) -> str:
    """The name under which *path* is built; *token* is eight hexadecimal digits."""
    return f"{path}.{token}.tmp"


@contextmanager
def building(files: FileSystem, path: str, *, token: str, replace: bool = False) -> Iterator[Storage]:
    """An empty file that becomes *path*, durably, when the caller has closed it, or nothing.

    A stop leaves at most the temporary. Raises FileExistsError when there is such a file and it may not be replaced.
    """
    if not replace:
        with suppress(FileNotFoundError):
            files.stat(path)
            raise FileExistsError(f"{files.describe(path)} exists already")
    temporary = temporary_name(path, token)
    try:
        storage = files.create(temporary)
    except FileNotFoundError as error:
        directory = files.describe(posixpath.dirname(path))
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", directory) from error
    try:
        yield storage
        files.rename(temporary, path, replace=replace)
    except BaseException:
        storage.close()
        with suppress(OSError, Error):
            files.remove(temporary)
        raise
    files.sync_directory(posixpath.dirname(path))
