"""What commands print on stdout: lines and JSON, with nothing in them that could steer a terminal."""

import json
from typing import Any

import click

from vhdx.cli.plain import escaped


def print_line(text: str = "") -> None:
    """One line."""
    click.echo(escaped(text))


def print_json(value: Any) -> None:
    """A JSON document; letters beyond ASCII are escaped."""
    click.echo(json.dumps(value, indent=2))
