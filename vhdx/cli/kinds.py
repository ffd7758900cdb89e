"""Parameter types: sizes, offsets, formats, file names."""

import re

import click
from click.shell_completion import CompletionItem

from vhdx.image.base import ImageFormat

_SIZE = re.compile(r"([0-9]+)(?:([KMGT])(?:iB)?)?")
_HEXADECIMAL = re.compile(r"0[xX]0*([0-9A-Fa-f]+)")
_SCALE = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_MOST = 1 << 63


def parse_size(text: str) -> int:
    """Parse bytes: decimal, with K, M, G or T (powers of 1024, optionally followed by iB), or hexadecimal after 0x.

    Raises ValueError.
    """
    if hexadecimal := _HEXADECIMAL.fullmatch(text):
        size = int(hexadecimal[1], 16) if len(hexadecimal[1]) <= 16 else _MOST
    elif found := _SIZE.fullmatch(text):
        size = int(found[1]) << _SCALE[found[2] or ""] if len(found[1]) < 20 else _MOST
    else:
        raise ValueError(
            f"{text!r} is not a size: must be bytes (decimal, or hexadecimal after 0x), or a number with K, M, G or T "
            f"(KiB, MiB, GiB, TiB)"
        )
    if size >= _MOST:
        raise ValueError(f"{text} exceeds the largest possible disk size")
    return size


class Size(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes, or a usage error."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NewSize(click.ParamType["tuple[int, bool]"]):
    """A size, or an increment after ``+``: the bytes, and whether they are to be added."""

    name = "size"

    def convert(
        self, value: str | tuple[int, bool], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, bool]:
        """The bytes and whether they are added, or a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_size(value.removeprefix("+")), value.startswith("+")
        except ValueError as error:
            self.fail(str(error), param, ctx)


def file_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """File name completion by the shell."""
    return [CompletionItem(incomplete, type="file")]


def directory_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Directory name completion by the shell."""
    return [CompletionItem(incomplete, type="dir")]


SIZE = Size()
NEW_SIZE = NewSize()
FORMAT = click.Choice([format.value for format in ImageFormat])


def image_format(name: str | None) -> ImageFormat | None:
    """The format given by an option, or None."""
    return None if name is None else ImageFormat(name)
