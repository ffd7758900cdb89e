"""Checks of the file size, the file type identifier and the reserved areas of the first MiB (MS-VHDX 2.1, 2.2.1)."""

from collections.abc import Iterator

from vhdx.check.finding import Finding, found
from vhdx.format import header, identifier, region
from vhdx.format.header import AREA

MIB = 1 << 20
LARGEST_FILE = 128 << 40
"""Twice the largest disk; no image needs more, and data structures with an element per MiB stay bounded."""

_GAPS = (
    (identifier.IDENTIFIER.size, header.OFFSETS[0]),
    (header.OFFSETS[0] + header.HEADER.size, header.OFFSETS[1]),
    (header.OFFSETS[1] + header.HEADER.size, region.OFFSETS[0]),
    (region.OFFSETS[1] + region.TABLE_SIZE, AREA),
)


def check_size(size: int) -> Iterator[Finding]:
    """Check the file size in bytes."""
    if size < AREA:
        yield found("file-too-short", None, f"{size} bytes are too few for a VHDX; the file is truncated or not a VHDX")
    elif size % MIB:
        yield found("file-size-alignment", None, f"the file size of {size} bytes is not a multiple of 1 MiB")


def check_identifier(area: bytes) -> Iterator[Finding]:
    """Check signature and creator; *area* is the first MiB of the file."""
    if area[: len(identifier.SIGNATURE)] != identifier.SIGNATURE:
        yield found("file-identifier", 0, f"the signature is {area[:8]!r} instead of {identifier.SIGNATURE!r}")
    creator = area[8 : identifier.IDENTIFIER.size]
    try:
        creator.decode("utf-16-le").split("\0", 1)
    except UnicodeDecodeError:
        yield found("creator-text", 8, "the creator is not UTF-16 text; it is informative only")


def check_gaps(area: bytes) -> Iterator[Finding]:
    """Check that the reserved areas of the first MiB are zero."""
    for start, end in _GAPS:
        at = first_set(area, start, end)
        if at is not None:
            yield found("reserved-area", at, f"reserved bytes {start} to {end} are not all zero")


def first_set(data: bytes, start: int, end: int) -> int | None:
    """Offset of the first nonzero byte from *start* to before *end*, or None."""
    part = data[start:end]
    if part == bytes(len(part)):
        return None
    rest = part.lstrip(b"\0")
    return min(end, len(data)) - len(rest) if rest else None
