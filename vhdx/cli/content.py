"""The allocated content of a disk, and comparison of two disks."""

from collections.abc import Iterator
from typing import NamedTuple

from vhdx.chain.chain import Chain
from vhdx.cli.printing import print_warning
from vhdx.extents import Presence, Range

_PIECE = 4 << 20
_SECTOR = 512


def warn_of_shared(chain: Chain) -> None:
    """Warn on stderr of overlapping blocks. Call before reading the whole disk.

    Raises FormatError if reading the disk would take unbounded time.
    """
    for fault in chain.shared():
        print_warning(str(fault))


def data_ranges(chain: Chain) -> Iterator[Range]:
    """The ranges of the disk that have data in a file, ascending, adjacent ones joined. Others read as zeros."""
    start = end = 0
    for _, extent in chain.extents(0, chain.size):
        if extent.presence is not Presence.DATA:
            continue
        if extent.offset > end:
            if end > start:
                yield Range(start, end - start)
            start = extent.offset
        end = extent.end
    if end > start:
        yield Range(start, end - start)


def united(first: Iterator[Range], second: Iterator[Range]) -> Iterator[Range]:
    """The union of two ascending sequences of ranges."""
    pending: Range | None = None
    heads = [next(first, None), next(second, None)]
    sources = (first, second)
    while any(heads):
        which = min((number for number in (0, 1) if heads[number]), key=lambda number: heads[number] or Range(0, 0))
        found = heads[which]
        assert found is not None
        heads[which] = next(sources[which], None)
        if pending is not None and found.offset <= pending.end:
            pending = Range(pending.offset, max(pending.end, found.end) - pending.offset)
            continue
        if pending is not None:
            yield pending
        pending = found
    if pending is not None:
        yield pending


class Step(NamedTuple):
    """Progress of a comparison, and a range that differs, or None."""

    done: int
    differing: Range | None


def differences(first: Chain, second: Chain) -> Iterator[Step]:
    """Compare two disks; yields every range of sectors that differs. The shorter disk is extended with zeros.

    Adjacent ranges are joined within a piece of 4 MiB.
    """
    longest = max(first.size, second.size)
    for wanted in united(data_ranges(first), data_ranges(second)):
        for at in range(wanted.offset, wanted.end, _PIECE):
            length = min(_PIECE, wanted.end - at)
            one, other = _padded(first, at, length), _padded(second, at, length)
            if one != other:
                yield from (Step(at, found) for found in _differing(one, other, at))
            yield Step(at + length, None)
    yield Step(longest, None)


def _padded(chain: Chain, offset: int, length: int) -> bytes:
    there = max(0, min(length, chain.size - offset))
    return (chain.read(offset, there) if there else b"").ljust(length, b"\0")


def _differing(one: bytes, other: bytes, start: int) -> Iterator[Range]:
    """Ranges of whole sectors that differ, found by halving the piece down to one sector."""
    stack = [(0, len(one))]
    pending: Range | None = None
    while stack:
        at, length = stack.pop()
        if one[at : at + length] == other[at : at + length]:
            continue
        if length > _SECTOR:
            half = -(-length // 2 // _SECTOR) * _SECTOR
            stack += [(at + half, length - half), (at, half)]
            continue
        if pending is not None and pending.end == start + at:
            pending = Range(pending.offset, pending.length + length)
            continue
        if pending is not None:
            yield pending
        pending = Range(start + at, length)
    if pending is not None:
        yield pending
