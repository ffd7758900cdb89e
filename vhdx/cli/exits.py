"""How a command ends: the exit code for each kind of failure, and the one line that says why."""

import errno
from enum import IntEnum

from vhdx.cli.plain import escaped
from vhdx.errors import (
    Cancelled,
    Error,
    FormatError,
    InUse,
    OutOfSpace,
    ParentMismatch,
    ParentNotFound,
    UnequalSizes,
    Unrecognised,
    WouldLoseData,
)


class Exit(IntEnum):
    """Exit codes of both commands; `check` and `compare` give some of them a meaning of their own."""

    DONE = 0
    FAILED = 1  # the file is not there, the disk or the server fails
    DAMAGED = 2  # the bytes break their format, or the parent is missing
    REFUSED = 4  # what was asked would lose something, or is not possible
    IN_USE = 5
    NO_SPACE = 6
    NOT_ALLOWED = 7  # the file's permissions, or the account on the share
    SALVAGED = 8  # the new image was made, and parts of it are lost or not certain
    USAGE = 64
    BUG = 70
    INTERRUPTED = 130
    PIPE = 141  # nobody reads what is printed


_CODES: list[tuple[type[BaseException], Exit]] = [
    (FormatError, Exit.DAMAGED),
    (ParentNotFound, Exit.DAMAGED),
    (ParentMismatch, Exit.DAMAGED),
    (InUse, Exit.IN_USE),
    (OutOfSpace, Exit.NO_SPACE),
    (Cancelled, Exit.INTERRUPTED),
    (Error, Exit.REFUSED),
    (FileExistsError, Exit.REFUSED),
    (PermissionError, Exit.NOT_ALLOWED),
    (OSError, Exit.FAILED),
    (ModuleNotFoundError, Exit.FAILED),  # an extra of the package that is not installed
]
"""Kinds before what they are kinds of."""
_HINTS: list[tuple[type[BaseException], str]] = [
    (Unrecognised, "-f raw, -f vhd or -f vhdx says which it is"),
    (ParentNotFound, "--parents-in DIR says where else to look, vhdx-img relink CHILD PARENT records another file"),
    (ParentMismatch, "vhdx-img relink CHILD PARENT does that"),
    (WouldLoseData, "--shrink cuts off what reads as zeros, --shrink --force whatever is there"),
    (UnequalSizes, "--any-size does it all the same, and a VHDX may have any size"),
    (FileExistsError, "nothing was changed; give another name, or --force to replace it"),
]
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Stop(Exception):  # the way out of a command, not an error of its own
    """Ends a command with *code*; *message*, where there is one, goes to stderr."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def exit_code(error: BaseException) -> Exit | None:
    """The code for what was raised; None for what should not have been."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return Exit.NO_SPACE
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def reason(error: BaseException) -> str:
    """One line that says what is wrong, in the order file, place, remedy."""
    if isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        text = f"{' -> '.join(files)}: {error.strerror}" if files else error.strerror
    else:
        text = str(error) or type(error).__name__
    text += next((f"; {hint}" for kind, hint in _HINTS if isinstance(error, kind)), "")
    return escaped(text)
