"""What commands print: lines and JSON, with nothing in them that could steer a terminal; warnings go to stderr."""

import json
from collections.abc import Iterable
from typing import Any

import click

from vhdx.cli.plain import escaped


def print_line(text: str = "") -> None:
    """One line."""
    click.echo(escaped(text))


def print_warning(text: str) -> None:
    """One line on stderr, so that nobody takes it for the answer."""
    click.echo(escaped(f"warning: {text}"), err=True)


def print_json(value: Any) -> None:
    """A JSON document; letters beyond ASCII are escaped."""
    click.echo(json.dumps(value, indent=2))


def print_list(values: Iterable[Any]) -> None:
    """A JSON list with one value to a line, none of which is kept: there may be millions."""
    before = "["
    for value in values:
        click.echo(before + json.dumps(value), nl=False)
        before = ",\n"
    click.echo("]" if before != "[" else "[]")
