"""Pictures of a disk: who holds which part of it, layer by layer, as SVG, PNG or characters of a terminal."""

from vhdx.cli.pictures.heat import terminal
from vhdx.cli.pictures.layout import drawing
from vhdx.cli.pictures.raster import paint
from vhdx.cli.pictures.survey import Survey, survey
from vhdx.cli.pictures.vector import document

__all__ = ["Survey", "png", "survey", "svg", "terminal"]


def svg(found: Survey) -> str:
    """The map as an SVG document that needs nothing besides itself."""
    return document(drawing(found))


def png(found: Survey) -> bytes:
    """The same picture in pixels. Raises ModuleNotFoundError where Pillow, the extra vhdx[png], is not installed."""
    return paint(drawing(found))
