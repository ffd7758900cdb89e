"""Remedies for errors, naming only options that the failed command has."""

from collections.abc import Collection
from typing import NamedTuple

import click

from vhdx.errors import (
    AnotherFormat,
    ParentMismatch,
    ParentNotFound,
    UnequalSizes,
    Unrecognised,
    WouldLoseData,
    WrongParent,
)


class Hint(NamedTuple):
    """A remedy for one kind of error. *needs* are required options, with a value if only that value helps."""

    kind: type[BaseException]
    needs: frozenset[str]
    text: str


def _hint(kind: type[BaseException], needs: str, text: str) -> Hint:
    return Hint(kind, frozenset(filter(None, needs.split(", "))), text)


HINTS = [
    _hint(AnotherFormat, "", ""),  # the message contains the remedy
    _hint(
        Unrecognised,
        "-f raw, -F raw",
        "specify the format of FIRST with -f raw, -f vhd or -f vhdx, of SECOND with -F raw, -F vhd or -F vhdx",
    ),
    _hint(Unrecognised, "-f raw", "specify the format with -f raw, -f vhd or -f vhdx"),
    _hint(Unrecognised, "-f vhd", "a raw disk cannot have a parent or be one; otherwise use -f vhd or -f vhdx"),
    _hint(
        ParentNotFound,
        "--parents-in",
        "--parents-in DIR adds a directory to search, vhdx-img relink CHILD PARENT records another file",
    ),
    _hint(ParentMismatch, "", "vhdx-img relink --force CHILD PARENT does that"),
    _hint(WrongParent, "--force, --undo", "--force records it anyway, --undo restores the previous record"),
    _hint(
        WouldLoseData,
        "--shrink, --force",
        "--shrink removes zeros, --shrink --force also removes data",
    ),
    _hint(UnequalSizes, "--any-size", "--any-size allows it; a VHDX may have any size"),
    _hint(FileExistsError, "--undo-file", "nothing was changed; choose another name with --undo-file FILE"),
    _hint(FileExistsError, "--force", "nothing was changed; choose another name, or use --force to replace it"),
    _hint(FileExistsError, "", "nothing was changed; choose another name"),
]
"""The first match is used."""


def offered(command: click.Command) -> frozenset[str]:
    """The option names of *command*, and name and value for each choice."""
    found: set[str] = set()
    for option in command.params:
        if isinstance(option, click.Option):
            found.update(option.opts)
            if isinstance(option.type, click.Choice):
                found.update(f"{name} {value}" for name in option.opts for value in option.type.choices)
    return frozenset(found)


def hint(error: BaseException, options: Collection[str]) -> str:
    """The remedy for *error* with *options*, or ""."""
    return next((one.text for one in HINTS if isinstance(error, one.kind) and one.needs <= set(options)), "")
