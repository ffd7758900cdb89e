"""The result of a salvage: lost ranges of the disk, and structures taken on trust."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

_MOST_RANGES = 1 << 17
"""Number of lost ranges kept individually; further ones are only counted."""


class LostRange(NamedTuple):
    """A range of the disk, in bytes, that could not be read; it reads as zeros in the new image."""

    offset: int
    length: int
    reason: str

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class SalvageNote:
    """A problem with *structure* of *file*; *offset* is in bytes, None if it has no file offset.

    *on_trust*: the salvage relies on a guess: the damaged structure was used, or information from it is missing.
    """

    file: str
    structure: str
    offset: int | None
    message: str
    on_trust: bool

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.file}: {self.structure}{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The result of `Engine.salvage`. Sizes are in bytes.

    *size* is the disk size; *read* the bytes read from files, without holes and absent blocks; *lost* the lost ranges,
    ascending and disjoint; *unlisted* the number of lost ranges that are not in *lost*.
    """

    size: int
    read: int
    lost: tuple[LostRange, ...]
    lost_bytes: int
    unlisted: int
    notes: tuple[SalvageNote, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing was lost and no structure was taken on trust."""
        return not self.lost and not any(note.on_trust for note in self.notes)


@dataclass(slots=True)
class Ledger:
    """Collects lost ranges, in any order, and notes."""

    read: int = 0
    lost_bytes: int = 0
    unlisted: int = 0
    notes: list[SalvageNote] = field(default_factory=list)
    _lost: list[LostRange] = field(default_factory=list)

    def lose(self, offset: int, length: int, reason: str) -> None:
        """Record a lost range of the disk; ranges must not overlap."""
        self.lost_bytes += length
        last = self._lost[-1] if self._lost else None
        if last is not None and last.end == offset and last.reason == reason:
            self._lost[-1] = last._replace(length=last.length + length)
        elif len(self._lost) < _MOST_RANGES:
            self._lost.append(LostRange(offset, length, reason))
        else:
            self.unlisted += 1

    def report(self, size: int) -> Salvaged:
        """The result; *size* is the disk size in bytes."""
        lost = tuple(_joined(sorted(self._lost, key=attrgetter("offset"))))
        return Salvaged(size, self.read, lost, self.lost_bytes, self.unlisted, tuple(self.notes))


def _joined(ranges: list[LostRange]) -> Iterator[LostRange]:
    pending: LostRange | None = None
    for one in ranges:
        if pending is not None and pending.end == one.offset and pending.reason == one.reason:
            pending = pending._replace(length=pending.length + one.length)
            continue
        if pending is not None:
            yield pending
        pending = one
    if pending is not None:
        yield pending


@dataclass(frozen=True, slots=True)
class Noting:
    """Notes about one file."""

    file: str
    notes: list[SalvageNote]

    def trust(self, structure: str, offset: int | None, message: str) -> None:
        """Add a note: the salvage relies on a guess."""
        self.notes.append(SalvageNote(self.file, structure, offset, message, on_trust=True))

    def tell(self, structure: str, offset: int | None, message: str) -> None:
        """Add a note that does not affect the data."""
        self.notes.append(SalvageNote(self.file, structure, offset, message, on_trust=False))
