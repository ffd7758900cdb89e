"""The ``--help`` page of a program, formatted like click's, without importing click."""

import os
import sys
import textwrap

from vhdx.cli.summaries import ABOUT, CODES, LISTS

TYPE_CHECKING = False  # typing takes longer to load than the page to be made
if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = {
    "--debug": "Print the traceback on failure.",
    "--version": "Show the version and exit.",
    "-h, --help": "Show this message and exit.",
}
_NARROWEST, _WIDEST, _DEFAULT = 50, 100, 80


def front_page(program: str) -> str:
    """The page of *program*, wrapped to the width of the terminal, with a final newline."""
    width = max(min(_columns(), _WIDEST) - 2, _NARROWEST)
    parts = [
        f"Usage: {program} [OPTIONS] COMMAND [ARGS]...",
        *(_indented(paragraph, width) for paragraph in ABOUT[program].split("\n\n")),
        f"Options:\n{_listed(OPTIONS, width)}",
        f"Commands:\n{_listed(LISTS[program], width)}",
        _indented(CODES, width),
    ]
    return "\n\n".join(parts) + "\n"


def _columns() -> int:
    try:
        columns = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        columns = 0
    if columns > 0:
        return columns
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _DEFAULT if sys.__stdout__ else _DEFAULT
    except (OSError, ValueError):
        return _DEFAULT


def _indented(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  ")


def _listed(texts: "Mapping[str, str]", width: int) -> str:
    """Two columns: names and texts."""
    place = 2 + max(map(len, texts)) + 2
    return "\n".join(
        textwrap.fill(text, width, initial_indent=f"  {name}".ljust(place), subsequent_indent=" " * place)
        for name, text in texts.items()
    )
