"""Permissions of a new file that comes from another or takes its place: at no moment wider than those."""

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
    """What grants no more than each of *sources*; None where none of them says anything."""
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
    """The bits to make a file with in *directory*, from which the umask takes away.

    Its owner, who is to fill it, may always read and write it. Where *exact* bits follow, nobody else may anything yet.
    """
    if like is None or like.mode is None:
        return _ANY
    if exact:
        return _OWNER
    group = directory.st_gid if directory.st_mode & stat.S_ISGID else os.getegid()
    same = like.owner is None or like.owner[1] == group
    return _OWNER | ((like.mode if same else _without_group(like.mode)) & _ANY)


def take_over(fd: int, like: FileStatus) -> None:
    """Give a file the owner, where that is permitted, and the permissions of the one that it replaces."""
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
    # A file system without permissions of its own refuses, and has given what it always gives.
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, (like.mode if same else _without_group(like.mode)) & _BITS)


def _without_group(mode: int) -> int:
    """The bits for another group: no more than everybody has."""
    return mode & ~_GROUP | mode & (mode & _OTHERS) << 3
