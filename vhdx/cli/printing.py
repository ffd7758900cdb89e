"""Output of commands: lines and JSON, escaped for terminals; warnings go to stderr."""

import json
from collections.abc import Iterable
from typing import Any

import click

from vhdx.cli.plain import escaped, json_text


def print_line(text: str = "") -> None:
    """Print one line."""
    click.echo(escaped(text))


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    click.echo(escaped(f"warning: {text}"), err=True)


def print_json(value: Any) -> None:
    """Print a JSON document; non-ASCII characters are escaped."""
    click.echo(json_text(value))


def print_list(values: Iterable[Any]) -> None:
    """Print a JSON list, one value per line, without keeping the values: there may be millions."""
    before = "["
    for value in values:
        click.echo(before + json.dumps(value), nl=False)
        before = ",\n"
    click.echo("]" if before != "[" else "[]")
