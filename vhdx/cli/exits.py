"""How a command ends: the exit code for each kind of failure, and the one line that says why."""

import errno
from collections.abc import Collection
from enum import IntEnum
from traceback import walk_tb

import click

from vhdx.cli.hints import hint, offered
from vhdx.cli.plain import escaped
from vhdx.errors import (
    Cancelled,
    Error,
    FormatError,
    InUse,
    OutOfSpace,
    ParentMismatch,
    ParentNotFound,
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
    (MemoryError, Exit.FAILED),
]
"""Kinds before what they are kinds of."""
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


def _needed_by(error: BaseException) -> str:
    """The innermost function of this package that was running when *error* was raised."""
    found = "the command"
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.startswith("vhdx."):
            found = f"{module}.{frame.f_code.co_qualname}"
    return found


def reason(error: BaseException, options: Collection[str] | None = None) -> str:
    """One line that says what is wrong, in the order file, place, remedy.

    *options* are those that a remedy may name, as `offered` has them; those of the running command unless given.
    """
    if isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        text = f"{' -> '.join(files)}: {error.strerror}" if files else error.strerror
        if not files and error.errno in _FULL:
            text = f"standard output: {text}"
    elif isinstance(error, MemoryError):
        text = f"out of memory in {_needed_by(error)}; let it have more (ulimit -v, the limit of the container)"
    else:
        text = str(error) or type(error).__name__
    if options is None:
        context = click.get_current_context(silent=True)
        options = offered(context.command) if context is not None else ()
    remedy = hint(error, options)
    return escaped(f"{text}; {remedy}" if remedy else text)
