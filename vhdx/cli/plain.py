"""Text for people: what an image says made harmless for a terminal, and sizes that can be read."""

from collections.abc import Iterable, Sequence

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def escaped(text: str) -> str:
    """*text* with everything that is not printable, and could steer a terminal, written as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def size_text(size: int) -> str:
    """A number of bytes in the largest unit that it fills: ``1.5 GiB``, and ``513 bytes``."""
    if size < 1024:
        return f"{size} bytes" if size != 1 else "1 byte"
    unit = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    whole = size / (1 << 10 * unit)
    if round(whole) == 1024 and unit + 1 < len(_UNITS):
        return f"1 {_UNITS[unit + 1]}"
    return f"{whole:.4g} {_UNITS[unit]}" if whole < 1000 else f"{whole:.0f} {_UNITS[unit]}"


def exact_size(size: int) -> str:
    """The same with the number of bytes behind it."""
    return size_text(size) if size < 1024 else f"{size_text(size)} ({size} bytes)"


def table(rows: Sequence[Sequence[str]], *, gap: int = 2, right: Iterable[int] = ()) -> list[str]:
    """Lines with columns as wide as their widest cell; those in *right* are flush right."""
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
