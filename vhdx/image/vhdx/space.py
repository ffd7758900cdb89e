"""Which parts of a file are taken, in whole MiB.

Freed space is handed out again only after the commit that freed it is durable, since until then a crash may bring the
old owner back, and only when no reader is left who was told of it. The lowest gap that fits is taken first, which
keeps files compact.
"""

from typing import NamedTuple

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range

MIB = 1 << 20
_LARGEST_FILE = 128 << 40
_FREE, _TAKEN, _LEAVING = b"\0", b"\1", b"\2"


class FreshPlace(NamedTuple):
    """Space handed out; *fresh* space lies behind the old end of the file and reads as zeros."""

    offset: int
    fresh: bool


class SpaceMap:
    """A byte of state for every MiB of the file."""

    def __init__(self, file_size: int) -> None:
        if file_size > _LARGEST_FILE:
            raise UnsupportedFeature(f"a file of {file_size} bytes is larger than any that is written here")
        self._map = bytearray(-(-file_size // MIB))
        self._file_size = file_size
        # No gap of so many MiB begins before: found once, it need not be found again.
        self._full_until: dict[int, int] = {}
        self._used = 0
        self._leaving: list[Range] = []
        self._committing: list[Range] = []

    def take(self, owner: str, offset: int, length: int, *, within: int) -> None:
        """Note that *owner* lies at a place found in the file; *within* is the file's size.

        Raises FormatError when the place is taken already or extends beyond end of file.
        """
        if offset + length > within:
            reason = f"its place at {offset} of {length} bytes extends beyond end of file at {within}"
            raise FormatError(owner, None, reason)
        first, count = offset // MIB, -(-length // MIB)
        if self._map.find(_TAKEN, first, first + count) >= 0:
            raise FormatError(owner, None, f"its place at {offset} of {length} bytes belongs to something else too")
        self._mark(Range(first * MIB, count * MIB), _TAKEN)

    def allocate_before(self, length: int, end: int) -> int | None:
        """Take the lowest gap of *length* bytes that ends at *end* or before it, where there is one."""
        count = length // MIB
        first = self._gap(count, end // MIB)
        if first < 0:
            return None
        self._mark(Range(first * MIB, length), _TAKEN)
        return first * MIB

    def allocate(self, length: int) -> FreshPlace:
        """Take the lowest gap of *length* bytes, or space behind the end, to which the caller grows the file."""
        count = length // MIB
        first = self._gap(count, len(self._map))
        if first < 0:
            first = self._used
            if first * MIB + length > _LARGEST_FILE:
                raise UnsupportedFeature(f"the file would grow over {_LARGEST_FILE} bytes")
            self._map.extend(bytes(first + count - len(self._map)))
        self._mark(Range(first * MIB, length), _TAKEN)
        return FreshPlace(first * MIB, first * MIB >= self._file_size)

    def give_back(self, offset: int, length: int) -> None:
        """Undo an allocation that nothing refers to."""
        self._mark(Range(offset, length), _FREE)

    def release(self, offset: int, length: int) -> None:
        """Free a place that the commit being staged stops referring to."""
        freed = Range(offset, length)
        self._mark(freed, _LEAVING)
        self._leaving.append(freed)

    def freeze(self) -> None:
        """The commit begins: it is the one that stops referring to what was released up to here."""
        self._committing += self._leaving
        self._leaving.clear()

    def settle(self) -> list[Range]:
        """The commit is durable. Returns what nothing in the file refers to any more, for `free`."""
        settled, self._committing = self._committing, []
        return settled

    def free(self, places: list[Range]) -> None:
        """Nobody reads or writes there any more."""
        for place in places:
            self._mark(place, _FREE)

    def _gap(self, count: int, end: int) -> int:
        """Where the lowest gap of *count* MiB before *end* begins; negative where there is none."""
        start = self._full_until.get(count, 0)
        first = self._map.find(_FREE * count, start, end)
        self._full_until[count] = first if first >= 0 else max(start, end - count + 1)
        return first

    def _mark(self, place: Range, state: bytes) -> None:
        first, count = place.offset // MIB, -(-place.length // MIB)
        self._map[first : first + count] = state * count
        if state != _FREE:
            self._used = max(self._used, first + count)
            return
        for wanted, start in self._full_until.items():
            self._full_until[wanted] = min(start, max(first - wanted + 1, 0))
        if first + count == self._used:
            self._used = len(self._map[: self._used].rstrip(_FREE))

    @property
    def used_end(self) -> int:
        """The end of the last MiB that is not free."""
        return self._used * MIB

    @property
    def file_size(self) -> int:
        """The file's length as it was last set."""
        return self._file_size

    def grown(self, file_size: int) -> None:
        """The file has this length now."""
        self._file_size = file_size
