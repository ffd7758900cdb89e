"""The report on an image as a self-contained HTML page without scripts or external files.

The values come from untrusted files. Everything that the template prints is escaped for HTML, has nonprintable
characters replaced by escapes, and is cut if it is very long.
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
    """The outcome at the top of the page; *tone* is good, poor, bad or none."""

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
    """A table with a note; *left_out* says how much was omitted."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    left_out: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter about the structures of a file."""

    title: str
    tables: tuple[PageTable, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """An SVG drawing, or the reason why there is none."""

    svg: str | None
    reason: str = ""
    table: PageTable | None = None

    @property
    def markup(self) -> Markup:
        """The SVG markup; its text is already escaped."""
        return Markup(self.svg or "")  # noqa: S704


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken link."""

    name: str
    text: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The content of the page, in order."""

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
    """Render the page."""
    source = resources.files(__package__).joinpath(_TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_harmless
    )
    return environment.from_string(source).render(page=page)


def _harmless(value: Any) -> Any:
    """The text printed for a value."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if len(value) > _LONGEST:
        value = f"{value[:_LONGEST]}… ({len(value)} characters in all)"
    return escaped(value)
