"""Exit codes for each kind of failure, and the line that gives the reason."""

import errno
from collections.abc import Collection, Mapping
from enum import IntEnum

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
    """Exit codes of both commands; for `check` and `compare`, some have a special meaning."""

    DONE = 0
    FAILED = 1  # the file does not exist, or the disk or server failed
    DAMAGED = 2  # the image violates its format, or the parent is missing
    REFUSED = 4  # the operation would lose data, or is impossible
    IN_USE = 5
    NO_SPACE = 6
    NOT_ALLOWED = 7  # denied by permissions of the file or share
    SALVAGED = 8  # the new image was created, but parts are lost or uncertain
    USAGE = 64
    BUG = 70
    INTERRUPTED = 130
    PIPE = 141  # the reader of the output has closed the pipe


MEANINGS: dict[int, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "failed",
    Exit.DAMAGED: "damaged, or the parent is missing",
    Exit.REFUSED: "refused",
    Exit.IN_USE: "in use",
    Exit.NO_SPACE: "no space",
    Exit.NOT_ALLOWED: "not allowed",
    Exit.USAGE: "wrong usage",
    Exit.BUG: "a bug",
    Exit.INTERRUPTED: "stopped",
    Exit.PIPE: "nobody reads the output",
}
"""Meanings of the exit codes of most commands."""


def ending(answers: Mapping[int, str]) -> dict[int, str]:
    """The codes of a command that defines its own *answers* and failures."""
    return {**answers, **{code: text for code, text in MEANINGS.items() if code >= Exit.USAGE}}


def exit_codes(meanings: Mapping[int, str]) -> str:
    """The list of exit codes at the end of a help text."""
    return f"Exit codes: {'; '.join(f'{int(code)} {text}' for code, text in sorted(meanings.items()))}."


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
    (ModuleNotFoundError, Exit.FAILED),  # an optional dependency (extra) is not installed
    (MemoryError, Exit.FAILED),
]
"""Subclasses before their base classes."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Stop(Exception):  # ends a command; not an error
    """Ends a command with *code*; a nonempty *message* goes to stderr."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def exit_code(error: BaseException) -> Exit | None:
    """The exit code for an exception; None for an unexpected one."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return Exit.NO_SPACE
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def _needed_by(error: BaseException) -> str:
    """The innermost function of this package that was running when *error* was raised."""
    from traceback import walk_tb  # noqa: PLC0415

    found = "the command"
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.startswith("vhdx."):
            found = f"{module}.{frame.f_code.co_qualname}"
    return found


def reason(error: BaseException, options: Collection[str] | None = None) -> str:
    """One line for an error: file, location, problem, remedy.

    *options* are those that a remedy may name, as returned by `offered`; by default those of the running command.
    """
    if isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        text = f"{' -> '.join(files)}: {error.strerror}" if files else error.strerror
        if not files and error.errno in _FULL:
            text = f"standard output: {text}"
    elif isinstance(error, MemoryError):
        text = f"out of memory in {_needed_by(error)}; raise the limit (ulimit -v or the container's)"
    else:
        text = str(error) or type(error).__name__
    if options is None:
        context = click.get_current_context(silent=True)
        options = offered(context.command) if context is not None else ()
    remedy = hint(error, options)
    return escaped(f"{text}; {remedy}" if remedy else text)
