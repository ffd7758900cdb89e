"""Which parts of a VHD are taken, in sectors.

Blocks all have one length, so a sorted buffer of their first sectors is enough; everything else is a short list. Freed
blocks are handed out again only after the commit that freed them is durable and no reader is left who was told of
them. The lowest gap that fits is taken first.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

from vhdx.errors import UnsupportedFeature
from vhdx.extents import Range, gaps
from vhdx.format.vhd_bat import LARGEST_FILE, SECTOR

PAGE = 4096
_PER_PAGE = PAGE // SECTOR
_FEW = 32
"""Freed blocks up to which they are taken out of the buffer one by one."""


class VhdFreshPlace(NamedTuple):
    """Space handed out, in bytes; *fresh* space was never used and reads as zeros."""

    offset: int
    fresh: bool


class VhdSpace:
    """Offsets and lengths are in bytes outside, in sectors inside."""

    def __init__(self, starts: "array[int]", *, span: int, bitmap: int, others: list[Range], file_size: int) -> None:
        self._starts = starts
        self._span = span // SECTOR
        self._bitmap = bitmap // SECTOR
        self._others = sorted(_sectors(other) for other in others)
        self._never_used = -(-file_size // SECTOR)
        self._full_until = 0
        self._leaving: list[int] = []
        self._committing: list[int] = []

    @property
    def used_end(self) -> int:
        """The end of the last thing in the file but the footer."""
        last = self._starts[-1] + self._span if self._starts else 0
        return max(last, *(other.end for other in self._others)) * SECTOR

    def take_block(self) -> VhdFreshPlace:
        """A place for a block: the lowest gap, else behind everything. Raises UnsupportedFeature."""
        start = self._block_gap(self.used_end // SECTOR)
        if start is None:
            start = self._aligned(self.used_end // SECTOR)
            if (start + self._span) * SECTOR > LARGEST_FILE:
                raise UnsupportedFeature(f"the file would grow over {LARGEST_FILE} bytes, which no table can name")
        insort(self._starts, start)
        return self._handed_out(start, self._span)

    def take_block_before(self, end: int) -> int | None:
        """Take the lowest gap for a block that ends at *end* or before, where there is one."""
        start = self._block_gap(end // SECTOR)
        if start is None:
            return None
        insort(self._starts, start)
        return self._handed_out(start, self._span).offset

    def take_bytes(self, length: int) -> VhdFreshPlace:
        """A place for something that is no block: the lowest gap, else behind everything."""
        count = -(-length // SECTOR)
        end = self.used_end // SECTOR
        found = next(self._gaps(0, end, count), None)
        place = Range(end if found is None else found.offset, count)
        insort(self._others, place)
        return self._handed_out(place.offset, count)

    def claim(self, place: Range) -> bool:
        """Take that very place if nothing is there."""
        wanted = _sectors(place)
        if not any(gap.offset <= wanted.offset and wanted.end <= gap.end for gap in self._gaps(0, wanted.end, 1)):
            return False
        insort(self._others, wanted)
        self._handed_out(wanted.offset, wanted.length)
        return True

    def drop(self, offset: int) -> None:
        """What lies at *offset* and is no block is needed no more, durably."""
        self._others = [other for other in self._others if other.offset != offset // SECTOR]
        self._full_until = 0

    def fence(self, place: Range) -> None:
        """Hand out nothing of *place*, whatever is there now, until `unfence`."""
        insort(self._others, _sectors(place))

    def unfence(self, place: Range) -> None:
        """What was fenced may be handed out again where nothing is."""
        self._others.remove(_sectors(place))
        self._full_until = 0

    def give_back(self, offset: int) -> None:
        """Undo the taking of a block to which nothing refers."""
        self.free([offset // SECTOR])

    def release(self, offset: int) -> None:
        """Free a block that the commit being staged stops referring to."""
        self._leaving.append(offset // SECTOR)

    def freeze(self) -> None:
        """The commit begins: it is the one that stops referring to what was released up to here."""
        self._committing += self._leaving
        self._leaving.clear()

    def settle(self) -> list[int]:
        """The commit is durable. Returns what nothing in the file refers to any more, for `free`."""
        settled, self._committing = self._committing, []
        return settled

    def free(self, freed: list[int]) -> None:
        """Nobody reads or writes there any more; *freed* are first sectors."""
        lowest = bisect_left(self._starts, min(freed))
        if len(freed) <= _FEW:
            for start in freed:
                del self._starts[bisect_left(self._starts, start)]
        else:
            gone = set(freed)
            self._starts = array("I", (start for start in self._starts if start not in gone))
        before = self._starts[lowest - 1] + self._span if lowest else 0
        self._full_until = min(self._full_until, before)

    def _handed_out(self, start: int, count: int) -> VhdFreshPlace:
        fresh = start >= self._never_used
        self._never_used = max(self._never_used, start + count)
        return VhdFreshPlace(start * SECTOR, fresh)

    def _aligned(self, start: int) -> int:
        """Where a block may begin so that its data is on a whole page."""
        return -(-(start + self._bitmap) // _PER_PAGE) * _PER_PAGE - self._bitmap

    def _block_gap(self, end: int) -> int | None:
        for gap in self._gaps(self._full_until, end, self._span):
            self._full_until = gap.offset
            start = self._aligned(gap.offset)
            return start if start + self._span <= gap.end else gap.offset
        self._full_until = max(self._full_until, end)
        return None

    def _gaps(self, start: int, end: int, least: int) -> Iterator[Range]:
        """Gaps of *least* sectors between *start* and *end*, ascending."""
        others = self._others_joined()
        index = bisect_left(self._starts, start)
        if index and self._starts[index - 1] + self._span > start:
            start = self._starts[index - 1] + self._span
        at = start
        while at < end:
            stop = min(self._starts[index], end) if index < len(self._starts) else end
            if stop - at >= least:
                yield from (gap for gap in gaps(others, at, stop - at) if gap.length >= least)
            at = stop + self._span
            index += 1

    def _others_joined(self) -> list[Range]:
        joined: list[Range] = []
        for other in self._others:
            if joined and other.offset <= joined[-1].end:
                first = joined.pop()
                joined.append(Range(first.offset, max(first.end, other.end) - first.offset))
            else:
                joined.append(other)
        return joined


def _sectors(place: Range) -> Range:
    first = place.offset // SECTOR
    return Range(first, -(-place.end // SECTOR) - first)
