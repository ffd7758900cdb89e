"""Permissions of a new file that is derived from another or replaces it; never wider than those, at any moment."""

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from vhdx.storage.base import FileStatus

_BITS = 0o777
_OWNER = 0o600
_GROUP = 0o070
_OTHERS = 0o007
_ANY = 0o666


def narrowest(sources: Sequence[FileStatus]) -> FileStatus | None:
    """Permissions that grant no more than each of *sources*; None if none of them has a mode."""
    known = [one for one in sources if one.mode is not None]
    if not known:
        return None
    mode = _BITS
    for one in known:
        mode &= one.mode or 0
    if len({one.owner for one in known}) > 1:
        mode = _without_group(mode)
    return replace(known[0], mode=mode)


def first_mode(like: FileStatus | None, directory: os.stat_result, *, exact: bool) -> int:
    """The mode for creating a file in *directory*, before the umask.

    Always grants the owner read and write. With *exact* it grants others nothing, because `take_over` follows.
    """
    if like is None or like.mode is None:
        return _ANY
    if exact:
        return _OWNER
    group = directory.st_gid if directory.st_mode & stat.S_ISGID else os.getegid()
    same = like.owner is None or like.owner[1] == group
    return _OWNER | ((like.mode if same else _without_group(like.mode)) & _ANY)


def take_over(fd: int, like: FileStatus) -> None:
    """Set the owner, if permitted, and the mode of a file to those of the file that it replaces."""
    if like.mode is None:
        return
    if like.owner is not None:
        user, group = like.owner
        try:
            os.fchown(fd, user, group)
        except OSError:
            with contextlib.suppress(OSError):
                os.fchown(fd, -1, group)
    same = like.owner is None or os.fstat(fd).st_gid == like.owner[1]
    # A file system without permissions refuses and uses its fixed ones.
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, (like.mode if same else _without_group(like.mode)) & _BITS)


def _without_group(mode: int) -> int:
    """The mode for another group: its bits reduced to those of others."""
    return mode & ~_GROUP | mode & (mode & _OTHERS) << 3
