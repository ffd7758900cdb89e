"""What lies around the structures of the first MiB (MS-VHDX 2.1, 2.2.1)."""

from collections.abc import Iterator

from vhdx.check.finding import Finding, found
from vhdx.format import header, identifier, region
from vhdx.format.header import AREA

MIB = 1 << 20
LARGEST_FILE = 128 << 40
"""Twice the largest disk; nothing needs more, and what is counted by the MiB stays in bounds."""

_GAPS = (
    (identifier.IDENTIFIER.size, header.OFFSETS[0]),
    (header.OFFSETS[0] + header.HEADER.size, header.OFFSETS[1]),
    (header.OFFSETS[1] + header.HEADER.size, region.OFFSETS[0]),
    (region.OFFSETS[1] + region.TABLE_SIZE, AREA),
)


def check_size(size: int) -> Iterator[Finding]:
    """The length of the file by itself, in bytes."""
    if size < AREA:
        yield found("file-too-short", None, f"{size} bytes are too few for a VHDX; it was cut off or is something else")
    elif size % MIB:
        yield found("file-size-alignment", None, f"the length of {size} bytes is not a multiple of 1 MiB")


def check_identifier(area: bytes) -> Iterator[Finding]:
    """Signature and creator in the first MiB of the file."""
    if area[: len(identifier.SIGNATURE)] != identifier.SIGNATURE:
        yield found("file-identifier", 0, f"the file begins with {area[:8]!r} and not with {identifier.SIGNATURE!r}")
    creator = area[8 : identifier.IDENTIFIER.size]
    try:
        creator.decode("utf-16-le").split("\0", 1)
    except UnicodeDecodeError:
        yield found("creator-text", 8, "the creator's name is not UTF-16 text; it is for information only")


def check_gaps(area: bytes) -> Iterator[Finding]:
    """What nothing uses in the first MiB of the file is zero."""
    for start, end in _GAPS:
        at = first_set(area, start, end)
        if at is not None:
            yield found("reserved-area", at, f"bytes {start} to {end} are reserved, but not all of them are zero")


def first_set(data: bytes, start: int, end: int) -> int | None:
    """Where the first byte other than zero lies between two offsets, or None."""
    part = data[start:end]
    if part == bytes(len(part)):
        return None
    rest = part.lstrip(b"\0")
    return min(end, len(data)) - len(rest) if rest else None
