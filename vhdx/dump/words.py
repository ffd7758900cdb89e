"""Formatting of numbers and bytes."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(size: int) -> str:
    """A number of bytes in the largest unit that does not exceed it."""
    if size == 1:
        return "1 byte"
    unit = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    whole, rest = divmod(size, 1 << 10 * unit)
    return f"{whole} {_UNITS[unit]}" if not rest else f"{size / (1 << 10 * unit):.2f} {_UNITS[unit]}"


def quoted(data: bytes) -> str:
    """Bytes as ASCII text, nonprintable ones as escapes."""
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data)



def numbers(first: int, count: int, noun: str, several: str = "") -> str:
    """A range of numbered items: ``block 3``, ``blocks 3..7``."""
    return f"{noun} {first}" if count == 1 else f"{several or noun + 's'} {first}..{first + count - 1}"


def counted(number: int, noun: str) -> str:
    """*number* and *noun*, in the plural unless *number* is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"
