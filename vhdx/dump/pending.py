"""Changes that a replay of the log will make, by file range."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

from vhdx.dump.words import counted
from vhdx.extents import Range
from vhdx.format.log import PAGE, LoggedPage


class Pending:
    """The file ranges that *changes* write to: (offset, page or length of zeros)."""

    def __init__(self, changes: Iterable[tuple[int, LoggedPage | int]]) -> None:
        merged: list[Range] = []
        for place in sorted(Range(offset, what if isinstance(what, int) else PAGE) for offset, what in changes):
            if merged and place.offset <= merged[-1].end:
                merged[-1] = Range(merged[-1].offset, max(merged[-1].end, place.end) - merged[-1].offset)
            else:
                merged.append(place)
        self._starts = [place.offset for place in merged]
        self._ends = [place.end for place in merged]
        self._before = [0, *accumulate(place.length for place in merged)]

    def note(self, offset: int, length: int) -> str:
        """A note about a file range; "" if the replay does not change it."""
        pages = -(-self._bytes(offset, offset + length) // PAGE)
        return f"the log holds newer content: a replay will change {counted(pages, 'page')}" if pages else ""

    def _bytes(self, start: int, end: int) -> int:
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first >= last:
            return 0
        total = self._before[last] - self._before[first]
        return total - max(start - self._starts[first], 0) - max(self._ends[last - 1] - end, 0)

