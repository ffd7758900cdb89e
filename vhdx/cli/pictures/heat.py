"""The map of a disk as characters, one line per layer, for a terminal of any width."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from vhdx.cli.pictures.cells import Cell, cell
from vhdx.cli.pictures.layout import percent, summary
from vhdx.cli.pictures.shapes import base_name
from vhdx.cli.pictures.survey import Portion, Survey
from vhdx.cli.plain import escaped, size_text

_NARROWEST_BAR = 16
_RESET = "\x1b[0m"


class _Kind(NamedTuple):
    """The predominant kind of a cell: characters from nearly empty to full, colour escape, name."""

    unicode: str
    ascii: str
    color: str
    text: str


_VISIBLE = _Kind("░▒▓█", ".:+#", "\x1b[94m", "data, visible")
_HIDDEN = _Kind("╱╳", "xX", "\x1b[33m", "data, hidden by a child")
_ZERO = _Kind("·•", "o0", "\x1b[35m", "zeros, hiding the parent")
_NOTHING = "not present: read from the parent"


class _Look(NamedTuple):
    """Capabilities of the terminal."""

    color: bool
    unicode: bool

    def drawn(self, kind: _Kind, cells: str) -> str:
        return f"{kind.color}{cells}{_RESET}" if self.color else cells

    def letters(self, kind: _Kind) -> str:
        return kind.unicode if self.unicode else kind.ascii

    def text(self, text: str) -> str:
        """*text* in characters that the terminal supports, without control characters."""
        text = escaped(text)
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode()


def terminal(found: Survey, width: int, *, color: bool, unicode: bool = True) -> list[str]:
    """Lines at most *width* characters wide; without *unicode* in ASCII, without *color* without escapes."""
    look = _Look(color, unicode)
    names = [look.text(f"{number} {base_name(layer.name)}") for number, layer in enumerate(found.layers)]
    shares = [percent(layer.held.total, found.size) for layer in found.layers]
    room = width - 9 - 2
    label = min(max(map(cell_len, names)), room - _NARROWEST_BAR, max(width // 4, 12))
    if label < 4:
        label = 0
    bar = room - label - 1 if label else max(width - 2, 1)
    edge = "│" if unicode else "|"
    lines = [_fit(look.text(summary(found)), width)]
    for name, layer, share in zip(names, found.layers, shares, strict=True):
        cells = f"{edge}{_bar(found, layer, bar, look)}{edge}" if width > 2 else ""
        lines.append(f"{_fixed(name, label)} {cells} {share:>8}" if label else cells)
    size = size_text(found.size)
    if bar > len(size) + 1:
        lines.append(" " * (label + 2 if label else 1) + "0" + size.rjust(bar - 1))
    return [*lines, *_packed(_legend(look), width)]


def _bar(survey: Survey, layer: Portion, width: int, look: _Look) -> str:
    """A layer in *width* characters; adjacent characters of one colour share an escape."""
    pieces: list[tuple[_Kind | None, str]] = []
    for number in range(width if survey.columns else 0):
        first = number * survey.columns // width
        stop = max((number + 1) * survey.columns // width, first + 1)
        length = survey.column(stop - 1).end - survey.column(first).offset
        kind, letter = _letter(cell(layer, first, stop, length), look)
        if pieces and pieces[-1][0] is kind:
            pieces[-1] = kind, pieces[-1][1] + letter
        else:
            pieces.append((kind, letter))
    text = "".join(letters if kind is None else look.drawn(kind, letters) for kind, letters in pieces)
    return text or " " * width


def _letter(found: Cell, look: _Look) -> tuple[_Kind | None, str]:
    """The predominant kind of a cell and its character."""
    most, kind = max((found.visible, _VISIBLE), (found.hidden, _HIDDEN), (found.zero, _ZERO), key=lambda one: one[0])
    if not most:
        return None, " "
    letters = look.letters(kind)
    return kind, letters[-(-found.filled * len(letters) // found.length) - 1]


def _legend(look: _Look) -> Iterable[tuple[str, str]]:
    """Pieces of the legend: plain text for measuring, and text to print."""
    for kind in (_VISIBLE, _HIDDEN, _ZERO):
        letters = look.letters(kind)
        yield f"{letters} {kind.text}", f"{look.drawn(kind, letters)} {kind.text}"
    text = f"blank: {_NOTHING}"
    yield text, text


def _packed(pieces: Iterable[tuple[str, str]], width: int) -> list[str]:
    """The pieces in as few lines as possible; one that is wider than a line is cut, and loses its colour."""
    lines: list[str] = []
    used = 0
    for plain, drawn in pieces:
        length = cell_len(plain)
        if lines and used + 3 + length <= width:
            lines[-1] += "   " + drawn
            used += 3 + length
        else:
            lines.append(drawn if length <= width else _fit(plain, width))
            used = min(length, width)
    return lines


def _fixed(text: str, width: int) -> str:
    """*text* in exactly *width* cells; a long name is shortened in the middle."""
    if cell_len(text) > width:
        mark = "~"
        end = width // 2
        tail = text
        while cell_len(tail) > end:
            tail = tail[1:]
        text = set_cell_size(text, width - cell_len(tail) - 1) + mark + tail
    return set_cell_size(text, width)


def _fit(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width)
