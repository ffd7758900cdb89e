"""Arithmetic on ranges and bitmaps.

Ranges are ``(offset, length)``, half-open, in bytes unless a name says otherwise.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple


class Range(NamedTuple):
    """The bytes from *offset* up to, not including, *offset* + *length*."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class Presence(Enum):
    """Allocation state of a range in one image."""

    DATA = "data"  # in this file
    ZERO = "zero"  # zeros, whatever a parent holds
    NOT_PRESENT = "not present"  # ask the parent; zeros where there is none


NOT_PRESENT = Presence.NOT_PRESENT
"""Module-level alias for hot paths: avoids the attribute lookup on the class."""


class Extent(NamedTuple):
    """A range of a disk with one presence; DATA lies contiguously at *file_offset* of the image's file."""

    offset: int
    length: int
    presence: Presence
    file_offset: int | None = None

    @property
    def end(self) -> int:
        return self.offset + self.length


class Span(NamedTuple):
    """The part of a range that falls into one unit: its number, first byte inside it, length."""

    number: int
    within: int
    length: int


def spans(offset: int, length: int, unit: int) -> Iterator[Span]:
    """Cut a range at multiples of *unit*."""
    end = offset + length
    while offset < end:
        number, within = divmod(offset, unit)
        piece = min(unit - within, end - offset)
        yield Span(number, within, piece)
        offset += piece


def coalesce(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Join neighbours that say the same and, for data, continue each other in the file."""
    pending: Extent | None = None
    for extent in extents:
        if pending is not None and _continues(pending, extent):
            pending = pending._replace(length=pending.length + extent.length)
            continue
        if pending is not None:
            yield pending
        pending = extent
    if pending is not None:
        yield pending


def _continues(first: Extent, second: Extent) -> bool:
    if first.presence is not second.presence or first.end != second.offset:
        return False
    if first.file_offset is None or second.file_offset is None:
        return first.file_offset is second.file_offset
    return first.file_offset + first.length == second.file_offset


_RUNS = re.compile("0+|1+")


def bit_runs(bitmap: bytes | memoryview, start: int, count: int) -> Iterator[tuple[int, int, bool]]:
    """Runs of equal bits among *count* bits from bit *start*: (first bit, length, value).

    Bit 0 of byte 0 comes first (VHDX order). First bits are numbered from the start of the bitmap.
    """
    if count <= 0:
        return
    first = start // 8
    field = int.from_bytes(bitmap[first : (start + count + 7) // 8], "little") >> (start - first * 8)
    field &= (1 << count) - 1
    # A power-of-two base makes the text in linear time, and the matching is done in C: no loop over bits.
    text = format(field, f"0{count}b")[::-1]
    for run in _RUNS.finditer(text):
        first, stop = run.span()
        yield start + first, stop - first, text[first] == "1"


def all_equal(bitmap: bytes, start: int, stop: int) -> bool | None:
    """The value of the bits from *start* to before *stop*, when all of them have the same."""
    first = start >> 3
    count = stop - start
    field = int.from_bytes(bitmap[first : (stop + 7) >> 3], "little") >> (start & 7) & ((1 << count) - 1)
    if not field:
        return False
    return True if field + 1 == 1 << count else None


def put_bits(bitmap: bytearray | memoryview, start: int, count: int, *, value: bool) -> None:
    """Set or clear *count* bits from bit *start*, in place."""
    if count <= 0:
        return
    first, last = start // 8, (start + count + 7) // 8
    field = int.from_bytes(bitmap[first:last], "little")
    mask = ((1 << count) - 1) << (start - first * 8)
    field = field | mask if value else field & ~mask
    bitmap[first:last] = field.to_bytes(last - first, "little")


def clip(ranges: Iterable[Range], offset: int, length: int) -> Iterator[Range]:
    """The parts of *ranges* inside (*offset*, *length*)."""
    end = offset + length
    for piece in ranges:
        start, stop = max(piece.offset, offset), min(piece.end, end)
        if start < stop:
            yield Range(start, stop - start)


def gaps(ranges: Iterable[Range], offset: int, length: int) -> Iterator[Range]:
    """The parts of (*offset*, *length*) that ascending, disjoint *ranges* leave out."""
    at = offset
    for piece in clip(ranges, offset, length):
        if piece.offset > at:
            yield Range(at, piece.offset - at)
        at = piece.end
    if at < offset + length:
        yield Range(at, offset + length - at)
