"""Output of commands: lines and JSON, escaped for terminals; warnings go to stderr."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from vhdx.cli.plain import escaped, json_text


def print_line(text: str = "") -> None:
    """Print one line."""
    click.echo(escaped(text))


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    click.echo(escaped(f"warning: {text}"), err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON object, with the version of its schema; non-ASCII characters are escaped."""
    click.echo(json_text(value))


def print_result(record: Mapping[str, Any], lines: Iterable[str], *, as_json: bool, quiet: bool = False) -> None:
    """Print what a command did: the *record* as JSON if that was asked for, otherwise the *lines*, unless *quiet*."""
    if as_json:
        print_json(record)
    elif not quiet:
        for line in lines:
            print_line(line)


def print_list(values: Iterable[Any]) -> None:
    """Print a JSON list, one value per line, without keeping the values: there may be millions."""
    before = "["
    for value in values:
        click.echo(before + json.dumps(value), nl=False)
        before = ",\n"
    click.echo("]" if before != "[" else "[]")
