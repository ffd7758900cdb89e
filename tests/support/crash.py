"""What a crash may leave of a recorded run, by the letter of the storage contract.

Before the last completed flush of a file everything is there. Of its later writes and size changes any subset may have
survived, in any order, torn at sector edges. Names are durable after the sync of their directories; of later changes
any may be lost, except that what survives of one name is a prefix of its history. A rename is lost or kept whole.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from posixpath import dirname

from tests.support.memory import MemoryFileSystem, Pages
from tests.support.recording import (
    Create,
    Event,
    Flush,
    Grow,
    Mark,
    NameEvent,
    RecordingFileSystem,
    Remove,
    Rename,
    Resize,
    SyncDirectory,
    Write,
)
from tests.support.survival import Change, survivals

SECTOR = 512
Names = dict[str, int]


@dataclass(frozen=True, slots=True)
class CrashState:
    """The files as they may be found when the machine stops once *event_index* events have completed.

    *marks* are the labels of the marks that the run had passed. *fingerprints* by path are equal for equal bytes.
    """

    files: MemoryFileSystem
    event_index: int
    marks: tuple[str, ...]
    description: str
    fingerprints: dict[str, int]


def crash_states(
    recorder: RecordingFileSystem, *, samples: int = 0, seed: int = 0, exhaustive: int = 0
) -> Iterator[CrashState]:
    """States that a crash may leave, each with files of its own, after each number of completed events.

    For each: all and nothing of what is not durable, for bytes and for names. *samples* more, spread over the run, keep
    some of it by chance. Where *exhaustive* is not 0, before each flush, sync or mark, and at the end: everything that
    `tests.support.survival` finds, for up to so many pending events at a time all subsets, and names in every way. (The
    states before such a point are among those at the point.) A state is not repeated until a flush, a sync or a mark:
    from there on more is owed of it.
    """
    chance = random.Random(seed)
    history = _History(recorder)
    seen: set[int] = set()
    owed = 0.0
    for index in range(len(recorder.events) + 1):
        if index:
            history.advance(recorder.events[index - 1])
        choices = history.extremes()
        owed += samples / (len(recorder.events) + 1)
        if history.has_pending():
            choices.extend(history.sample(chance) for _ in range(int(owed)))
            owed -= int(owed)
        at_end = index == len(recorder.events) or isinstance(recorder.events[index], Flush | SyncDirectory | Mark)
        more = history.everything(exhaustive) if exhaustive and at_end and history.has_pending() else ()
        for choice in chain(choices, more):
            fingerprints = choice.fingerprints()
            key = hash((history.barriers, frozenset(fingerprints.items())))
            if key not in seen:
                seen.add(key)
                description = f"after {index} of {len(recorder.events)} events: {choice.description}"
                yield CrashState(choice.file_system(), index, tuple(history.marks), description, fingerprints)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What survives."""

    names: Names
    files: dict[int, Pages]
    description: str

    def fingerprints(self) -> dict[str, int]:
        return {path: self.files[file].fingerprint() for path, file in self.names.items()}

    def file_system(self) -> MemoryFileSystem:
        return MemoryFileSystem({path: self.files[file].copy() for path, file in self.names.items()})


@dataclass(slots=True)
class _File:
    """One file on the way: its durable bytes, its bytes as its users see them, and what lies between."""

    durable: Pages = field(default_factory=Pages)
    live: Pages = field(default_factory=Pages)
    pending: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class _NameChange:
    """A change of names that waits for the sync of *directories*."""

    event: NameEvent
    paths: frozenset[str]
    directories: set[str]


class _History:
    """A recorded run followed event by event."""

    def __init__(self, recorder: RecordingFileSystem) -> None:
        self.barriers = 0
        self.marks: list[str] = []
        self._durable_names: Names = dict(recorder.identities)
        self._live_names: Names = dict(recorder.identities)
        self._pending_names: list[_NameChange] = []
        self._files = {
            recorder.identities[path]: _File(pages.copy(), pages.copy()) for path, pages in recorder.initial.items()
        }

    def advance(self, event: Event) -> None:
        """Let one more event complete."""
        match event:
            case Write() | Resize() | Grow():
                file = self._files[event.file]
                change = Change(event)
                change.apply(file.live)
                file.pending.append(change)
            case Flush():
                file = self._files[event.file]
                file.durable = file.live.copy()
                file.pending.clear()
                self.barriers += 1
            case Create() | Rename() | Remove():
                self._change_names(event)
            case SyncDirectory():
                self._sync(event.directory)
                self.barriers += 1
            case Mark():
                self.marks.append(event.label)
                self.barriers += 1

    def _change_names(self, event: NameEvent) -> None:
        if isinstance(event, Create):
            self._files[event.file] = _File()
        paths = {event.source, event.target} if isinstance(event, Rename) else {event.path}
        _apply(event, self._live_names)
        self._pending_names.append(_NameChange(event, frozenset(paths), {dirname(path) or "." for path in paths}))

    def _sync(self, directory: str) -> None:
        durable: set[int] = set()
        # From the newest back, because what is durable takes with it what happened to the same names before.
        for number in reversed(range(len(self._pending_names))):
            change = self._pending_names[number]
            change.directories.discard(directory)
            later = (self._pending_names[other] for other in durable)
            if not change.directories or any(change.paths & other.paths for other in later):
                durable.add(number)
        for number in sorted(durable):
            _apply(self._pending_names[number].event, self._durable_names)
        self._pending_names = [change for number, change in enumerate(self._pending_names) if number not in durable]

    def has_pending(self) -> bool:
        """Whether a crash now could lose anything."""
        return bool(self._pending_names) or any(file.pending for file in self._files.values())

    def extremes(self) -> list[_Choice]:
        """All and nothing of what is not durable, for bytes and for names."""
        durable = {number: file.durable for number, file in self._files.items()}
        live = {number: file.live for number, file in self._files.items()}
        return [
            _Choice(self._durable_names, durable, "nothing that was not durable survives"),
            _Choice(self._live_names, live, "everything survives"),
            _Choice(self._live_names, durable, "all names survive, but no bytes that were not flushed"),
            _Choice(self._durable_names, live, "all bytes survive, but no names that were not synced"),
        ]

    def everything(self, most: int) -> Iterator[_Choice]:
        """Every survival of what is pending, with every survival of the names."""
        durable = {number: file.durable for number, file in self._files.items()}
        changes = [change for file in self._files.values() for change in file.pending]
        names = list(self._names())
        for left in survivals(changes, durable, most=most):
            for survived, note in names:
                yield _Choice(survived, left.files, f"{left.description or 'no bytes survive'}{note}")

    def _names(self) -> Iterator[tuple[Names, str]]:
        """Every set of names that may survive, those that users saw first."""
        if not self._pending_names:
            yield self._durable_names, ""
            return
        seen = []
        for kept in product((True, False), repeat=len(self._pending_names)):
            names, notes = self._durable_names.copy(), []
            lost: set[str] = set()
            for change, keep in zip(self._pending_names, kept, strict=True):
                if keep and not change.paths & lost:
                    _apply(change.event, names)
                    continue
                lost |= change.paths
                notes.append(f"; lost {change.event}")
            if names not in seen:
                seen.append(names)
                yield names, "".join(notes)

    def sample(self, chance: random.Random) -> _Choice:
        """Some of what is not durable."""
        notes: list[str] = []
        names = self._durable_names.copy()
        lost: set[str] = set()
        for change in self._pending_names:
            if change.paths & lost or chance.random() < 0.5:
                lost |= change.paths
                notes.append(f"lost {change.event}")
            else:
                _apply(change.event, names)
        files = {}
        for number, file in self._files.items():
            files[number] = file.durable.copy() if file.pending else file.durable
            if file.pending:
                notes.extend(_survive(file.pending, files[number], chance))
        return _Choice(names, files, "; ".join(notes) or "everything survives")


def _apply(event: NameEvent, names: Names) -> None:
    match event:
        case Create():
            names[event.path] = event.file
        case Rename():
            names[event.target] = names.pop(event.source)
        case Remove():
            del names[event.path]


def _survive(pending: Sequence[Change], pages: Pages, chance: random.Random) -> Iterator[str]:
    """Let some of *pending* reach *pages*; says what became of each."""
    keep, tear = chance.choice((0.0, 0.3, 0.7, 1.0)), chance.choice((0.0, 0.0, 0.3))
    # One odd event among many is where most faults show, and an even chance for each would hardly ever draw it.
    odd = chance.randrange(len(pending))
    order = list(range(len(pending)))
    if chance.random() < 0.5:
        chance.shuffle(order)
    for number in order:
        change = pending[number]
        event = change.event
        torn = chance.random() < (0.5 if number == odd else tear)
        kept = (chance.random() < keep) != (number == odd)
        if torn and isinstance(event, Write):
            yield f"tore {change.brief()} keeping {_tear(event, pages, chance)}"
        elif kept:
            change.apply(pages)
            yield f"kept {change.brief()}"
        else:
            yield f"lost {change.brief()}"


def _tear(event: Write, pages: Pages, chance: random.Random) -> str:
    """Let some sectors of a write reach *pages*, and its growth of the file perhaps without them."""
    first, last = event.offset // SECTOR, -(-event.end // SECTOR)
    kept = _sectors(last - first, chance)
    for start, stop in kept:
        begin, end = max((first + start) * SECTOR, event.offset), min((first + stop) * SECTOR, event.end)
        data = None if event.data is None else event.data[begin - event.offset : end - event.offset]
        Write(event.file, begin, end - begin, data).apply(pages)
    if chance.random() < 0.5:
        pages.grow(event.end)
    return f"sectors {kept}"


def _sectors(count: int, chance: random.Random) -> list[tuple[int, int]]:
    """The runs of sectors, (first, behind last), that survive of *count*."""
    one = chance.randrange(count)
    shape = chance.randrange(5)
    if shape == 0:
        runs = [(0, one)]
    elif shape == 1:
        runs = [(one + 1, count)]
    elif shape == 2:
        runs = [(one, one + 1)] if count > 1 else []
    elif shape == 3:
        runs = [(0, one), (one + 1, count)]
    else:
        cuts = sorted(chance.choices(range(count + 1), k=4))
        runs = [(cuts[0], cuts[1]), (cuts[2], cuts[3])]
    return [(start, stop) for start, stop in runs if start < stop]
