"""Parameter types: sizes, offsets, formats, file names."""

import re

import click
from click.shell_completion import CompletionItem

from vhdx.cli.plain import exact_size
from vhdx.image.base import ImageFormat

_HEXADECIMAL = re.compile(r"0[xX]0*([0-9A-Fa-f]+)")
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))? ?([A-Za-z]*)")
_PRINTED = re.compile(r"[0-9.]+ [A-Za-z]+ \(([0-9]+) bytes\)")
_SCALE = {"": 0, "b": 0, "byte": 0, "bytes": 0} | {
    unit + rest: 10 * number for number, unit in enumerate("kmgtpe", 1) for rest in ("", "b", "ib")
}
"""Exponents of two by unit, in lower case."""
_LONGEST = 32
_MOST = 1 << 63


def parse_size(text: str) -> int:
    """Parse bytes: decimal, hexadecimal after 0x, or a number with an optional fraction and unit (powers of 1024).

    Also accepts the output of `vhdx.cli.plain.exact_size`, and that of `size_text` if it is not rounded. Raises
    ValueError.
    """
    if printed := _PRINTED.fullmatch(text):
        text = printed[1]
    if hexadecimal := _HEXADECIMAL.fullmatch(text):
        size = int(hexadecimal[1], 16) if len(hexadecimal[1]) <= 16 else _MOST
    elif (found := _NUMBER.fullmatch(text)) and found[3].lower() in _SCALE:
        size = _scaled(text, found[1].lstrip("0"), found[2] or "", _SCALE[found[3].lower()])
    else:
        raise ValueError(
            f"{text!r} is not a size: must be bytes (decimal, or hexadecimal after 0x), or a number with K, M, G, T, P "
            f"or E (powers of 1024), such as 64M, 1.5G or 512KiB"
        )
    if size >= _MOST:
        raise ValueError(f"{text} exceeds the largest possible disk size")
    return size


def _scaled(text: str, whole: str, fraction: str, power: int) -> int:
    if len(whole) + len(fraction) > _LONGEST:
        return _MOST
    scaled, rest = divmod(int(whole + fraction or "0") << power, int(10 ** len(fraction)))
    if rest:
        near = f"{scaled >> 20}M" if scaled >> 20 else str(scaled)
        raise ValueError(f"{text} is not a whole number of bytes; give {near} or the exact bytes")
    return scaled


def powers_note(text: str) -> str:
    """A note about a unit that means a power of 1000 elsewhere (KB, MB, ...); empty for other sizes."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(found[3]) != 2:
        return ""
    size = parse_size(text)
    return f"{text} uses powers of 1024, as PowerShell does: {exact_size(size)}"


def _size_of(text: str) -> int:
    """The bytes; prints a note if the unit is ambiguous. Raises ValueError."""
    size = parse_size(text)
    note = powers_note(text)
    if note:
        click.echo(f"note: {note}", err=True)
    return size


class Size(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes, or a usage error."""
        if isinstance(value, int):
            return value
        try:
            return _size_of(value)
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
            return _size_of(value.removeprefix("+")), value.startswith("+")
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
