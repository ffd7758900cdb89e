"""The report on an image as one HTML page that needs nothing besides itself: no script, no font, no other file.

The values come from files that anybody may have made. Whatever the template prints is escaped for HTML, has what is
not printable written as escapes, and is cut when it is very long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vhdx.cli.plain import escaped

_TEMPLATE = "report.html.j2"
_LONGEST = 1500


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """What the page says first; *tone* is good, poor, bad or none."""

    tone: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a table by column, text or number."""

    cells: tuple[str | int, ...]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table and what is to be said of it; *left_out* is the line that says what is not in it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    left_out: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the structures of a file."""

    title: str
    tables: tuple[PageTable, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, an SVG document, or the reason why there is none."""

    svg: str | None
    reason: str = ""
    table: PageTable | None = None

    @property
    def markup(self) -> Markup:
        """The picture for the page; its own text is escaped already."""
        return Markup(self.svg or "")  # noqa: S704


@dataclass(frozen=True, slots=True)
class Broken:
    """A link that leads nowhere."""

    name: str
    text: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that is on the page, in its order."""

    name: str
    path: str
    verdict: PageOutcome
    made: str
    version: str
    summary: Sequence[tuple[str, str]]
    chain: Figure
    broken: Sequence[Broken]
    map: Figure
    findings: Sequence[PageTable]
    findings_note: str
    parts: Sequence[Chapter]
    parts_note: str


def html(page: Page) -> str:
    """The page."""
    source = resources.files(__package__).joinpath(_TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_harmless
    )
    return environment.from_string(source).render(page=page)


def _harmless(value: Any) -> Any:
    """What is printed for a value of the page."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if len(value) > _LONGEST:
        value = f"{value[:_LONGEST]}… ({len(value)} characters in all)"
    return escaped(value)
