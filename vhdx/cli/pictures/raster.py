"""Drawings as PNG, through Pillow, which is imported only here."""

import io
from typing import TYPE_CHECKING

from vhdx.cli.pictures.shapes import FULL, Anchor, Color, Drawing, Rect, Text, Triangle
from vhdx.cli.plain import escaped

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_FACES = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}


def paint(drawing: Drawing) -> bytes:
    """The drawing as a PNG file. Raises ModuleNotFoundError, naming the extra, when Pillow is missing."""
    try:
        from PIL import Image, ImageDraw  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        message = f"PNG needs {error.name}: install the extra vhdx[png], or draw an SVG"
        raise ModuleNotFoundError(message, name=error.name) from error
    picture = Image.new("RGB", (drawing.width, drawing.height), Color.PAPER.rgb)
    # In RGBA mode ImageDraw blends colours.
    brush = ImageDraw.Draw(picture, "RGBA")
    fonts = _Fonts()
    for shape in drawing.shapes:
        match shape:
            case Rect(x, y, width, height, color, strength):
                fill = (*color.rgb, 255 * strength // FULL)
                brush.rectangle((x, y, x + width - 1, y + height - 1), fill=fill)
            case Triangle(x, y, height, color):
                brush.polygon([(x, y), (x - height, y - height), (x + height, y - height)], fill=color.rgb)
            case Text():
                _write(brush, fonts, shape)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _write(brush: "ImageDraw", fonts: "_Fonts", text: Text) -> None:
    font = fonts.font(text.size, bold=text.bold)
    brush.text((text.x, text.y), escaped(text.text), fill=text.color.rgb, font=font, anchor=_ANCHORS[text.anchor])


class _Fonts:
    """Fonts by size and weight: DejaVu if installed, otherwise Pillow's default."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], FreeTypeFont | ImageFont] = {}

    def font(self, size: int, *, bold: bool) -> "FreeTypeFont | ImageFont":
        from PIL import ImageFont  # noqa: PLC0415

        if (size, bold) not in self._known:
            try:
                self._known[size, bold] = ImageFont.truetype(_FACES[bold], size)
            except OSError:
                self._known[size, bold] = ImageFont.load_default(size)
        return self._known[size, bold]
