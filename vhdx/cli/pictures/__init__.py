"""Drawings of a disk's allocation by layer: SVG, PNG, or characters on a terminal."""

from vhdx.cli.pictures.heat import terminal
from vhdx.cli.pictures.layout import drawing
from vhdx.cli.pictures.raster import paint
from vhdx.cli.pictures.survey import Survey, survey
from vhdx.cli.pictures.vector import document

__all__ = ["Survey", "png", "survey", "svg", "terminal"]


def svg(found: Survey) -> str:
    """The map as a self-contained SVG document."""
    return document(drawing(found))


def png(found: Survey) -> bytes:
    """The map as a PNG file. Raises ModuleNotFoundError when Pillow (the extra vhdx[png]) is not installed."""
    return paint(drawing(found))
