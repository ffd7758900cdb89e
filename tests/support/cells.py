"""What a disk may show that several threads change at the same time, by cell: a part of a sector.

A cell holds what one change put there. It may show a change that has begun, unless a later one, begun when that one was
done, was done before the look began. After a crash what counts as done is what a flush covered that has returned.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

SECTOR = 512
FIRST = 100
"""Bytes of the first of the two cells of a sector; the other has the rest."""
_NEVER = 1 << 60


@dataclass(slots=True)
class Change:
    """One change of some cells. *is_optional*: it may leave them as they were (a discard)."""

    value: int
    begin: int
    begin_event: int
    is_optional: bool = False
    end: int = _NEVER


@dataclass(slots=True)
class Barrier:
    """A flush that has returned: what was done before *begin* is durable from event *end_event* on."""

    begin: int
    end_event: int


@dataclass
class Cells:
    """The history of one disk. Moments are counted; *events* are those of a record of its storage."""

    count: int
    now: int = 0
    barriers: list[Barrier] = field(default_factory=list)
    _changes: list[list[Change]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changes = [[Change(0, -1, -1, end=0)] for _ in range(self.count)]

    def tick(self) -> int:
        self.now += 1
        return self.now

    def begin(self, value: int, cells: range, event: int, *, is_optional: bool = False) -> Change:
        change = Change(value, self.tick(), event, is_optional)
        for cell in cells:
            self._changes[cell].append(change)
        return change

    def done(self, change: Change) -> None:
        change.end = self.tick()

    def seen(self, cell: int, begin: int, end: int) -> set[int]:
        """What a look from *begin* to *end* may show."""
        changes = self._changes[cell]
        sure = [later for later in changes if not later.is_optional and later.end <= begin]
        return {
            change.value
            for change in changes
            if change.begin <= end and not any(later.begin >= change.end for later in sure)
        }

    def left(self, cell: int, event: int) -> set[int]:
        """What a crash after *event* may leave."""
        durable = max((barrier.begin for barrier in self.barriers if barrier.end_event <= event), default=0)
        changes = self._changes[cell]
        sure = [later for later in changes if not later.is_optional and later.end <= durable]
        return {
            change.value
            for change in changes
            if change.begin_event <= event and not any(later.begin >= change.end for later in sure)
        }


def cells_of(offset: int, length: int) -> range:
    """The cells of a range that begins with a sector and ends with one, or with the first cell of one."""
    end = (offset + length) // SECTOR * 2 + ((offset + length) % SECTOR == FIRST)
    return range(offset // SECTOR * 2, end)


def filled(value: int, length: int) -> bytes:
    """*length* bytes, whole fours, that tell of *value*."""
    return value.to_bytes(4, "little") * (length // 4)


def values(data: bytes) -> Iterator[int]:
    """The value of each cell of whole sectors. Raises AssertionError for one that holds two."""
    for at in range(0, len(data), SECTOR):
        for cell in (data[at : at + FIRST], data[at + FIRST : at + SECTOR]):
            assert cell == cell[:4] * (len(cell) // 4), f"two changes in one cell at {at}"
            yield int.from_bytes(cell[:4], "little")
