"""Open a local file that must be below a directory, without races with changes of symbolic links.

First the path is resolved; a target outside is refused. Then the resolved path, which contains no links, is opened from
the directory with a system call that follows none (`vhdx.storage.local.linux.open_beneath`), or component by component:
a link that was put there in between makes it fail.
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
    """A file as arguments of system calls: *name*, relative to the descriptor *directory* unless that is None.

    With a directory, the path contains no links, and the file itself must not be one.
    """

    name: str
    directory: int | None = None

    def stat(self) -> os.stat_result:
        """stat(2) of the file. Raises OSError; ELOOP for a link if *directory* is given."""
        found = os.stat(self.name, dir_fd=self.directory, follow_symlinks=self.directory is None)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.name)
        return found

    def open(self, flags: int) -> int:
        """Open the file. Raises OSError."""
        if self.directory is None:
            return os.open(self.name, flags)
        return os.open(self.name, flags | _NO_LINK, dir_fd=self.directory)


def real_names(place: Path, base: Path) -> list[str]:
    """The components of the resolved *place* relative to the resolved *base*. Raises LeadsOutside."""
    names = names_below(os.path.realpath(place), os.path.realpath(base))
    if names is None:
        raise outside(str(place), str(base))
    return names


@contextmanager
def way_to(place: Path, base: Path | None) -> Iterator[Way]:
    """The `Way` to *place* below *base*; without *base* to any place. Raises LeadsOutside, OSError."""
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
    """Open the directory *names* below *base* without following links. Raises OSError."""
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
