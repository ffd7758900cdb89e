"""Drawings as SVG, for separate files and for pages.

Every shape has the class of its colour, so that a page can define other colours for dark mode; otherwise the attributes
apply.
"""

from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree

from vhdx.cli.pictures.shapes import FULL, Color, Drawing, Rect, Shape, Text, Triangle
from vhdx.cli.plain import escaped

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def document(drawing: Drawing) -> str:
    """The drawing as an SVG document with escaped text."""
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(drawing.width),
            "height": str(drawing.height),
            "viewBox": f"0 0 {drawing.width} {drawing.height}",
            "role": "img",
            "aria-label": escaped(f"{drawing.title}. {drawing.description}"),
            "font-family": _FONT,
        },
    )
    ElementTree.SubElement(root, "title").text = escaped(drawing.title)
    ElementTree.SubElement(root, "desc").text = escaped(drawing.description)
    for key, shapes in groupby(drawing.shapes, _kind):
        if isinstance(key, tuple):
            _add_rects(root, shapes, *key)
            continue
        for shape in shapes:
            _add(root, shape)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _kind(shape: Shape) -> tuple[Color, int] | None:
    """The key for rectangles that can share one element."""
    return (shape.color, shape.strength) if isinstance(shape, Rect) else None


def _add_rects(root: ElementTree.Element, shapes: Iterable[Shape], color: Color, strength: int) -> None:
    # A map may have very many rectangles, and one path is a quarter as long.
    outline = "".join(
        f"M{shape.x} {shape.y}h{shape.width}v{shape.height}h-{shape.width}z"
        for shape in shapes
        if isinstance(shape, Rect)
    )
    attributes = {**_colored(color), "d": outline, "shape-rendering": "crispEdges"}
    if strength < FULL:
        attributes["fill-opacity"] = f"{strength / FULL:g}"
    ElementTree.SubElement(root, "path", attributes)


def _add(root: ElementTree.Element, shape: Shape) -> None:
    match shape:
        case Triangle(x, y, height, color):
            outline = f"M{x} {y}l-{height} -{height}h{2 * height}z"
            ElementTree.SubElement(root, "path", {**_colored(color), "d": outline})
        case Text():
            attributes = {
                **_colored(shape.color), "x": str(shape.x), "y": str(shape.y), "font-size": str(shape.size)
            }
            if shape.anchor != "start":
                attributes["text-anchor"] = shape.anchor
            if shape.bold:
                attributes["font-weight"] = "600"
            ElementTree.SubElement(root, "text", attributes).text = escaped(shape.text)
        case Rect():
            pass  # drawn before, all of one color as one path


def _colored(color: Color) -> dict[str, str]:
    return {"class": color.name.lower(), "fill": color.value}
