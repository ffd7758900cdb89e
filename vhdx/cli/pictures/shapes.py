"""Shapes of drawings: rectangles, triangles and lines of text with integer coordinates in pixels."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

FULL = 8
"""Maximum strength of a colour; the minimum is 1, because 0 would be invisible."""


Anchor = Literal["start", "middle", "end"]


class Color(Enum):
    """Colours by meaning, with their values on a white background.

    Data colours are from the palette of Okabe and Ito, which colour-blind people can distinguish.
    """

    PAPER = "#ffffff"
    INK = "#1f2328"
    MUTED = "#59636e"
    LINE = "#c4cbd3"
    BOX = "#f6f8fa"
    EMPTY = "#eceff2"
    VISIBLE = "#0072b2"
    HIDDEN = "#e69f00"
    ZERO = "#cc79a7"
    BAD = "#b3261e"

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.value[1:3], 16), int(self.value[3:5], 16), int(self.value[5:], 16)


class Rect(NamedTuple):
    """A filled rectangle with an opacity of *strength* eighths."""

    x: int
    y: int
    width: int
    height: int
    color: Color
    strength: int = FULL


class Triangle(NamedTuple):
    """A triangle pointing down with its tip at (*x*, *y*), twice as wide as high."""

    x: int
    y: int
    height: int
    color: Color


class Text(NamedTuple):
    """One line, *size* pixels high, that starts, ends or is centred at *x*; *y* is the baseline."""

    x: int
    y: int
    text: str
    size: int = 13
    color: Color = Color.INK
    anchor: Anchor = "start"
    bold: bool = False


Shape = Rect | Triangle | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing; later shapes cover earlier ones. *title* and *description* are for screen readers."""

    width: int
    height: int
    title: str
    description: str
    shapes: tuple[Shape, ...]


def shortened(text: str, most: int) -> str:
    """*text* in at most *most* characters, shortened in the middle, because names differ at their ends."""
    if len(text) <= most:
        return text
    end = most * 2 // 3
    return f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def base_name(name: str) -> str:
    """The last component of a path or URL."""
    return name.replace("\\", "/").rsplit("/", 1)[-1] or name
