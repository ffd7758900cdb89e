"""A drawing of the map of a disk: a bar for each layer, an axis of offsets, a legend."""

from collections.abc import Iterator
from itertools import groupby

from vhdx.cli.pictures.cells import FAINTEST, cell
from vhdx.cli.pictures.shapes import FULL, Anchor, Color, Drawing, Rect, Shape, Text, base_name, shortened
from vhdx.cli.pictures.survey import Portion, Survey
from vhdx.cli.plain import escaped, size_text

BAR = 1024
_MARGIN = 28
_WIDTH = BAR + 2 * _MARGIN
_HEAD = 78
_ROW = 62
_BAR_HEIGHT = 30
_BAR_TOP = 24
_FOOT = 108
_TICKS = 8
_LONGEST_NAME = 56
_GRAIN = 6
"""Granularity in pixels of the proportions in a bar, so that similar columns are one shape."""

_LEGEND = (
    (Color.VISIBLE, "data, visible to the guest"),
    (Color.HIDDEN, "data, hidden by a child"),
    (Color.ZERO, "zeros, hiding the parent"),
    (Color.EMPTY, "not present: read from the parent"),
)


def drawing(survey: Survey) -> Drawing:
    """The drawing of a map."""
    shapes: list[Shape] = []
    height = _HEAD + _ROW * len(survey.layers) + _FOOT
    shapes.append(Rect(0, 0, _WIDTH, height, Color.PAPER))
    title = f"Allocation by layer of {base_name(survey.layers[0].name)}"
    shapes.append(Text(_MARGIN, 36, shortened(escaped(title), 80), 20, bold=True))
    shapes.append(Text(_MARGIN, 57, summary(survey), color=Color.MUTED))
    for number, layer in enumerate(survey.layers):
        shapes += _row(survey, number, layer, _HEAD + _ROW * number)
    bottom = _HEAD + _ROW * len(survey.layers)
    shapes += _axis(survey.size, bottom)
    shapes += _legend(bottom + 62)
    return Drawing(_WIDTH, height, title, described(survey), tuple(shapes))


def summary(survey: Survey) -> str:
    """A summary of the disk in one line."""
    count = len(survey.layers)
    return (
        f"{size_text(survey.size)} disk in {count} layer{'s' * (count != 1)}, leaf first; "
        f"{percent(survey.data, survey.size)} is data, the rest reads as zeros"
    )


def described(survey: Survey) -> str:
    """A text description of the map."""
    rows = [f"{base_name(layer.name)}: {account(layer, survey.size)}" for layer in survey.layers[:_TICKS]]
    left = len(survey.layers) - len(rows)
    return "; ".join([summary(survey), *rows, *([f"and {left} more layers"] if left else [])])


def account(layer: Portion, size: int) -> str:
    """The content of a layer in numbers."""
    held, visible, zero = layer.held.total, layer.visible.total, layer.zero.total
    parts = [f"holds {size_text(held)} ({percent(held, size)})"]
    if held:
        parts.append("all visible" if visible == held else f"{size_text(visible)} visible ({percent(visible, size)})")
    if zero:
        parts.append(f"zeros {size_text(zero)} ({percent(zero, size)})")
    if layer.info.virtual_size != size:
        parts.append(f"own disk size {size_text(layer.info.virtual_size)}")
    return ", ".join(parts)


def percent(part: int, whole: int) -> str:
    """A percentage; 0 % and 100 % are exact."""
    if not part:
        return "0 %"
    if part == whole:
        return "100 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.1 else "> 99.9 %" if share > 99.9 else f"{share:.1f} %"


def _row(survey: Survey, number: int, layer: Portion, top: int) -> Iterator[Shape]:
    base = top + _BAR_TOP - 8
    yield Text(_MARGIN, base, str(number), 13, Color.MUTED)
    yield Text(_MARGIN + 22, base, shortened(escaped(base_name(layer.name)), _LONGEST_NAME), 14, bold=True)
    info = layer.info
    text = f"{info.format.value} {info.type.value} · {account(layer, survey.size)}"
    yield Text(_MARGIN + BAR, base, text, 12, Color.MUTED, "end")
    bar = top + _BAR_TOP
    yield Rect(_MARGIN, bar, _place(survey, layer.end), _BAR_HEIGHT, Color.EMPTY)
    yield from sorted(_bar(survey, layer, bar), key=lambda shape: (shape.color.name, shape.strength))
    for offset in ticks(survey.size):
        yield Rect(_MARGIN + min(_place(survey, offset), BAR - 1), bar + _BAR_HEIGHT, 1, 5, Color.LINE)


def _bar(survey: Survey, layer: Portion, top: int) -> Iterator[Rect]:
    """The cells of a bar, adjacent equal ones joined."""
    looks = ((number, *_look(survey, layer, number)) for number in range(survey.columns))
    for (strength, parts), run in groupby(looks, lambda one: one[1:]):
        columns = [one[0] for one in run]
        if not strength:
            continue
        left = _place(survey, survey.column(columns[0]).offset)
        right = max(_place(survey, survey.column(columns[-1]).end), left + 1)
        at = top
        for color, part in zip((Color.VISIBLE, Color.HIDDEN, Color.ZERO), parts, strict=True):
            if part:
                yield Rect(_MARGIN + left, at, right - left, part * _BAR_HEIGHT // _GRAIN, color, strength)
                at += part * _BAR_HEIGHT // _GRAIN


def _look(survey: Survey, layer: Portion, number: int) -> tuple[int, tuple[int, int, int]]:
    found = cell(layer, number, number + 1, survey.column(number).length)
    return found.strength(), found.parts(_GRAIN)


def _place(survey: Survey, offset: int) -> int:
    """The x coordinate of a disk offset."""
    return offset * BAR // max(survey.size, 1)


def _axis(size: int, bottom: int) -> Iterator[Shape]:
    """The axis of offsets below the last bar."""
    for offset in ticks(size):
        anchor: Anchor = "start" if not offset else "end" if offset == size else "middle"
        x = _MARGIN + offset * BAR // max(size, 1)
        yield Text(x, bottom + 16, size_text(offset) if offset else "0", 12, Color.MUTED, anchor)


def ticks(size: int) -> list[int]:
    """Offsets with a label: multiples of a power of two, and the end, which replaces one close to it."""
    step = 1 << max((max(size, 1) // _TICKS - 1).bit_length(), 9)
    offsets = [*range(0, size, step), size]
    if len(offsets) > 2 and offsets[-1] - offsets[-2] < step * 3 // 4:
        del offsets[-2]
    return offsets if size else [0]


def _legend(base: int) -> Iterator[Shape]:
    x = _MARGIN
    for color, text in _LEGEND:
        yield Rect(x, base - 11, 14, 14, color)
        yield Text(x + 21, base, text, 12, Color.MUTED)
        x += 62 + 6 * len(text)
    base += 24
    yield Text(_MARGIN, base, "colour strength shows how full a column is:", 12, Color.MUTED)
    x = _MARGIN + 262
    for strength in range(FAINTEST, FULL + 1):
        yield Rect(x, base - 11, 20, 14, Color.VISIBLE, strength)
        x += 20
    yield Text(x + 9, base, "full", 12, Color.MUTED)
