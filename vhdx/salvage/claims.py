"""Tracks which ranges of a file are allocated, and which more than once."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice

from vhdx.errors import UnsupportedFeature
from vhdx.extents import Range, spans

_PAGE = 1 << 16
_TWICE, _STRUCTURE = 2, 3
_ONE_MORE = bytes((1, 2, 2, 3)).ljust(256, b"\3")
_MOST_STARTS = 1 << 22
SHARED = "its block overlaps another one, and the right one cannot be determined"
ON_STRUCTURE = "its block overlaps another structure of the file"


class Claims:
    """A byte for each unit of *unit* bytes, allocated on demand: memory is bounded by the file size."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._pages: dict[int, bytearray] = {}

    def _parts(self, place: Range) -> Iterable[tuple[int, int, int]]:
        first, last = place.offset // self._unit, -(-place.end // self._unit)
        return spans(first, last - first, _PAGE)

    def structure(self, place: Range) -> None:
        """Mark a range that no block may overlap."""
        for number, within, count in self._parts(place):
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[within : within + count] = bytes((_STRUCTURE,)) * count

    def claim(self, place: Range) -> None:
        """Mark the range of a block."""
        for number, within, count in self._parts(place):
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[within : within + count] = page[within : within + count].translate(_ONE_MORE)

    def dispute(self, place: Range) -> str:
        """Why the block that claimed *place* is invalid; "" if it overlaps nothing."""
        worst = max(
            (max(page[within : within + count]) for number, within, count in self._parts(place)
             if (page := self._pages.get(number)) is not None),
            default=0,
        )
        return ON_STRUCTURE if worst == _STRUCTURE else SHARED if worst == _TWICE else ""

    def unclaimed(self, end: int) -> int:
        """Number of unclaimed whole units before *end*."""
        units = end // self._unit
        taken = 0
        for number, page in self._pages.items():
            count = min(max(units - number * _PAGE, 0), _PAGE)
            taken += count - page.count(0, 0, count)
        return units - taken


class Starts:
    """Start offsets of blocks of equal length, in units of the caller; two closer than *span* overlap."""

    def __init__(self, starts: Iterable[int], span: int) -> None:
        found = array("I", islice(starts, _MOST_STARTS + 1))
        if len(found) > _MOST_STARTS:
            raise UnsupportedFeature(f"more than {_MOST_STARTS} blocks cannot be checked for overlaps")
        self._starts: Sequence[int] = array("I", sorted(found))
        self._span = span

    def __len__(self) -> int:
        return len(self._starts)

    def shared(self, start: int) -> bool:
        """Whether the block at *start*, one of the starts, overlaps another."""
        at = bisect_left(self._starts, start)
        before = at > 0 and start - self._starts[at - 1] < self._span
        return before or (at + 1 < len(self._starts) and self._starts[at + 1] - start < self._span)
