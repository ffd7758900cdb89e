"""Text output: escaping for terminals, human-readable sizes, tables."""

TYPE_CHECKING = False  # typing is expensive to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

SCHEMA = 1
"""Version of the schema of everything that ``--json`` prints; docs/commands.md describes it."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def escaped(text: str) -> str:
    """*text* with nonprintable characters, which could control a terminal, as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def size_text(size: int) -> str:
    """A number of bytes in the largest unit that does not exceed it: ``513 bytes``, ``1.5 GiB``.

    A rounded number has a full fraction: 1 MiB + 1 byte is ``1.000 MiB``, 1000 MiB + 1 byte is ``1000.0 MiB``. Other
    numbers are exact.
    """
    if size < 1024:
        return f"{size} bytes" if size != 1 else "1 byte"
    number = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    unit = 1 << 10 * number
    places = max(4 - len(str(size // unit)), 1)
    scaled, rest = divmod(size * 10**places, unit)
    if 2 * rest >= unit:
        scaled += 1
    whole, part = divmod(scaled, 10**places)
    digits = f"{part:0{places}}"
    if not rest:
        digits = digits.rstrip("0")
    return f"{whole}{'.' if digits else ''}{digits} {_UNITS[number]}"


def exact_size(size: int) -> str:
    """Like `size_text`, followed by the number of bytes."""
    return size_text(size) if size < 1024 else f"{size_text(size)} ({size} bytes)"


def json_text(value: "Mapping[str, Any]") -> str:
    """A JSON object with the version of its schema as the first key; non-ASCII characters are escaped."""
    import json  # noqa: PLC0415

    return json.dumps({"schema": SCHEMA, **value}, indent=2)


def table(rows: "Sequence[Sequence[str]]", *, gap: int = 2, right: "Iterable[int]" = ()) -> list[str]:
    """Lines with columns as wide as their widest cell; the columns in *right* are right-aligned."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    flush = frozenset(right)
    return [
        (" " * gap)
        .join(
            cell.rjust(width) if number in flush else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        .rstrip()
        for row in rows
    ]
