"""What a user can do about a failure, in the options of the command that failed: never in those that it lacks."""

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
    """A remedy for one kind of error. *needs* are options, with a value where only one of their values helps."""

    kind: type[BaseException]
    needs: frozenset[str]
    text: str


def _hint(kind: type[BaseException], needs: str, text: str) -> Hint:
    return Hint(kind, frozenset(filter(None, needs.split(", "))), text)


HINTS = [
    _hint(AnotherFormat, "", ""),  # the message has the remedy
    _hint(
        Unrecognised,
        "-f raw, -F raw",
        "-f raw, -f vhd or -f vhdx says what FIRST is, -F raw, -F vhd or -F vhdx what SECOND is",
    ),
    _hint(Unrecognised, "-f raw", "-f raw, -f vhd or -f vhdx says which it is"),
    _hint(Unrecognised, "-f vhd", "a raw disk has no parent and is none, -f vhd or -f vhdx says what another file is"),
    _hint(
        ParentNotFound,
        "--parents-in",
        "--parents-in DIR says where else to look, vhdx-img relink CHILD PARENT records another file",
    ),
    _hint(ParentMismatch, "", "vhdx-img relink --force CHILD PARENT does that"),
    _hint(WrongParent, "--force, --undo", "--force records it all the same, --undo takes that back"),
    _hint(
        WouldLoseData,
        "--shrink, --force",
        "--shrink cuts off what reads as zeros, --shrink --force whatever is there",
    ),
    _hint(UnequalSizes, "--any-size", "--any-size does it all the same, and a VHDX may have any size"),
    _hint(FileExistsError, "--undo-file", "nothing was changed; --undo-file FILE gives another name"),
    _hint(FileExistsError, "--force", "nothing was changed; give another name, or --force to replace it"),
    _hint(FileExistsError, "", "nothing was changed; give another name"),
]
"""The first match is used."""


def offered(command: click.Command) -> frozenset[str]:
    """The options of *command*, by each of their names, and by name and value where the values are few."""
    found: set[str] = set()
    for option in command.params:
        if isinstance(option, click.Option):
            found.update(option.opts)
            if isinstance(option.type, click.Choice):
                found.update(f"{name} {value}" for name in option.opts for value in option.type.choices)
    return frozenset(found)


def hint(error: BaseException, options: Collection[str]) -> str:
    """What can be done about *error* with *options*; empty where nothing is known to help."""
    return next((one.text for one in HINTS if isinstance(error, one.kind) and one.needs <= set(options)), "")
