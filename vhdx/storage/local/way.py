"""The way to a file of this machine that stays in a directory: by what is really opened, not by letters alone.

A path is followed in two steps. First its links are looked up, which tells where it leads; what leads out ends here.
Then that place, which has no link in it any more, is walked to from the directory, by a system call that follows none
(`vhdx.storage.local.linux.open_beneath`) or name by name: a link that somebody puts there in between ends the walk.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vhdx.storage.base import Unsupported
from vhdx.storage.beneath import names_below, outside
from vhdx.storage.local import linux

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class Way(NamedTuple):
    """A file as system calls take it: *name* in the directory open as *directory*, where there is one.

    With a directory nothing on the way is a link, and the file itself must not be one.
    """

    name: str
    directory: int | None = None

    def stat(self) -> os.stat_result:
        """What the file system says of the file. Raises OSError, ELOOP for a link where none may be."""
        found = os.stat(self.name, dir_fd=self.directory, follow_symlinks=self.directory is None)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.name)
        return found

    def open(self, flags: int) -> int:
        """A descriptor. Raises OSError."""
        if self.directory is None:
            return os.open(self.name, flags)
        return os.open(self.name, flags | _NO_LINK, dir_fd=self.directory)


def real_names(place: Path, base: Path) -> list[str]:
    """The names that lead from *base* to what *place* leads to, none of them a link now. Raises LeadsOutside."""
    names = names_below(os.path.realpath(place), os.path.realpath(base))
    if names is None:
        raise outside(str(place), str(base))
    return names


@contextmanager
def way_to(place: Path, base: Path | None) -> Iterator[Way]:
    """How *place* is reached without leaving *base*; anywhere without one. Raises LeadsOutside, OSError."""
    if base is None:
        yield Way(str(place))
        return
    *above, name = real_names(place, base)
    fd = _directory(base, above)
    try:
        yield Way(name, fd)
    finally:
        os.close(fd)


def _directory(base: Path, names: Sequence[str]) -> int:
    """A descriptor of the directory that *names* lead to from *base*, none of them a link. Raises OSError."""
    fd = os.open(base, _DIRECTORY)
    if not names:
        return fd
    try:
        return linux.open_beneath(fd, "/".join(names))
    except Unsupported:
        return _walk(fd, names)
    finally:
        os.close(fd)


def _walk(base: int, names: Sequence[str]) -> int:
    fd = os.dup(base)
    for name in names:
        above, fd = fd, -1
        try:
            fd = os.open(name, _DIRECTORY | _NO_LINK, dir_fd=above)
        finally:
            os.close(above)
    return fd
