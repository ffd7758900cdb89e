"""What each file of a recorded run may read as, from event to event, and whether it does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

SECTOR = 512
_WINDOW = 64 << 10


class Nothing(Enum):
    """What there may be instead of a disk."""

    ABSENT = "no such file"
    ANYTHING = "no promise"


Content = bytes | Nothing


class Version(NamedTuple):
    """A content of a disk, from a number of events on."""

    events: int
    content: Content


@dataclass(slots=True)
class Allowed:
    """What one file may read as: *durable*, or any of *later*, sector by sector where they are of one length."""

    durable: Content
    later: list[Content]
    windows: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)

    marks: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        # What passed with fewer of them passes with more.
        self.marks = frozenset(map(hash, self.contents))

    @property
    def anything(self) -> bool:
        return Nothing.ANYTHING in self.contents

    @property
    def contents(self) -> list[Content]:
        return [self.durable, *self.later]

    def fault(self, room: bytearray, size: int) -> str:
        """What is wrong with a disk that reads as the first *size* bytes of *room*; empty when it may."""
        alike = [one for one in self.contents if isinstance(one, bytes) and len(one) == size]
        if not alike:
            return f"it is a disk of {size} bytes"
        # Compared in place: a copy of each disk would cost more than all the rest.
        if any(room.startswith(one) for one in alike):
            return ""
        for start in range(0, size, _WINDOW):
            key = (size, start)
            if key not in self.windows:
                self.windows[key] = list({one[start : start + _WINDOW] for one in alike})
            if not any(room.startswith(one, start) for one in self.windows[key]):
                wrong = _differing(bytes(room[start : min(start + _WINDOW, size)]), self.windows[key])
                if wrong:
                    return f"sectors at {[start + at for at in wrong[:4]]} are neither old nor new"
        return ""


def _differing(piece: bytes, alike: Sequence[bytes]) -> list[int]:
    return [
        at
        for at in range(0, len(piece), SECTOR)
        if all(piece[at : at + SECTOR] != one[at : at + SECTOR] for one in alike)
    ]


@dataclass
class Story:
    """One path: what was durable from when on, and what was begun when."""

    settled: list[Version]
    begun: list[Version] = field(default_factory=list)
    _known: dict[tuple[int, int], Allowed] = field(default_factory=dict)

    def allowed(self, events: int) -> Allowed:
        """What may be found after so many events: what was durable, or whatever was begun since."""
        settled = sum(version.events <= events for version in self.settled)
        begun = sum(version.events <= events for version in self.begun)
        key = (settled, begun)
        if key not in self._known:
            durable = self.settled[settled - 1]
            later = [version.content for version in self.begun[:begun] if version.events >= durable.events]
            self._known[key] = Allowed(durable.content, later)
        return self._known[key]
