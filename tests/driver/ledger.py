"""What an operation asked of the shares, in order, as far as it matters to what a crash may leave.

Of all that was recorded it keeps changes and barriers. A barrier counts where something had changed since the last one
of its kind: of others no promise hangs. Opening, closing, reading and listing leave no trace.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.driver.places import Anatomy, Marks, Place
from tests.support import recording
from tests.support.memory import MemoryFileSystem, Pages
from tests.support.recording import Event, RecordingFileSystem
from vhdx.errors import Error
from vhdx.format.record import NO_GUID

IMAGES = (".vhdx",)


class Share(NamedTuple):
    """A share before the operation: what it held, by path, and which file that was."""

    pages: Mapping[str, Pages]
    identities: Mapping[str, int]


class Dirty(NamedTuple):
    """A file of which something is not durable. *committed*: its log, which counts and is durable, has all of that."""

    share: int
    path: str
    committed: bool


@dataclass(frozen=True)
class Step:
    """A change or a barrier. *path* is the name of the file at the time; *to* its new one where it is renamed.

    *pending* is what had changed of it and was not durable just before: places of the file, or for a sync names.
    *dirty* are all files of which something was not durable, *names* all changes of names, each with its share.
    *logged*: the change is in the log, durably. *marks* are those of the file before and after. *age* is how much had
    been changed before a barrier that it is for.
    """

    verb: str
    share: int
    path: str = ""
    place: Place = Place.WHOLE
    to: str = ""
    pending: frozenset[str] = frozenset()
    dirty: frozenset[Dirty] = frozenset()
    names: frozenset[tuple[int, str]] = frozenset()
    logged: bool = False
    marks: tuple[Marks | None, Marks | None] = (None, None)
    age: int = 0

    @property
    def is_barrier(self) -> bool:
        return self.verb in ("flush", "sync")


Drop = Callable[[Step], bool]
"""Whether this barrier is not carried out, though it is asked for."""


class Record:
    """File systems that write down into one list what happens to them."""

    def __init__(self, *shares: MemoryFileSystem) -> None:
        self.events: list[tuple[int, Event]] = []
        self.files = [RecordingFileSystem(share) for share in shares]
        self.shares = [Share(files.initial, dict(files.identities)) for files in self.files]
        for number, files in enumerate(self.files):
            files.events = _Shared(number, self.events)

    def steps(self, drop: Drop = lambda _: False) -> list[Step]:
        """What happened, without the barriers that *drop* picks: as if the server had ignored them."""
        ledger = _Ledger(self.shares, drop)
        for number, event in self.events:
            ledger.add(number, event)
        return ledger.steps


class _Shared(list[Event]):
    """The events of one share, entered into those of all as they come."""

    def __init__(self, share: int, all_events: list[tuple[int, Event]]) -> None:
        super().__init__()
        self._share = share
        self._all = all_events

    def append(self, event: Event) -> None:
        super().append(event)
        self._all.append((self._share, event))

    def extend(self, events: Any) -> None:
        for event in events:
            self.append(event)


@dataclass
class _File:
    path: str
    pages: Pages
    pending: dict[str, None]
    anatomy: Anatomy | None = None
    age: int = 0

    def is_committed(self) -> bool:
        """Whether all that is not durable in its place is so in the log."""
        return self.anatomy is not None and set(self.pending) == {Place.PAGES} and self.anatomy.marks.log != NO_GUID

    def look(self) -> None:
        """An image that is in use under its own name has parts; one under construction has none yet."""
        self.anatomy = None
        if self.path.endswith(IMAGES):
            self.anatomy = Anatomy(self.pages)


class _Ledger:
    """Replays a record, keeping of every file what it holds and what of it is not durable."""

    def __init__(self, shares: Sequence[Share], drop: Drop) -> None:
        self.steps: list[Step] = []
        self._drop = drop
        self._files: dict[tuple[int, int], _File] = {}
        self._names: list[dict[tuple[str, str], None]] = [{} for _ in shares]
        self._ages = [0 for _ in shares]
        for number, share in enumerate(shares):
            for path, pages in share.pages.items():
                self._open(number, path, share.identities[path], pages.copy())

    def _open(self, share: int, path: str, identity: int, pages: Pages) -> None:
        file = self._files[share, identity] = _File(path, pages, {})
        with suppress(Error):
            file.look()

    def _named(self, share: int, path: str) -> _File:
        return next(file for key, file in self._files.items() if key[0] == share and file.path == path)

    def add(self, share: int, event: Event) -> None:
        """Take in what happened next."""
        match event:
            case recording.Write() | recording.Resize() | recording.Grow():
                self._change(share, self._files[share, event.file], event)
            case recording.Flush():
                self._flush(share, self._files[share, event.file])
            case recording.SyncDirectory():
                self._sync(share)
            case recording.Create():
                self._note("create", share, event.path)
                self._open(share, event.path, event.file, Pages())
            case recording.Rename():
                self._rename(share, event)
            case recording.Remove():
                self._note("remove", share, event.path, pending=self._named(share, event.path).pending)
                self._named(share, event.path).path = ""

    def _state(self) -> dict[str, Any]:
        dirty = {
            Dirty(key[0], file.path, file.is_committed())
            for key, file in self._files.items()
            if file.path and file.pending
        }
        names = {(share, f"{verb} {path}") for share, names in enumerate(self._names) for verb, path in names}
        return {"dirty": frozenset(dirty), "names": frozenset(names)}

    def _note(
        self, verb: str, share: int, path: str, *, pending: Mapping[str, None] | None = None, to: str = ""
    ) -> None:
        self.steps.append(Step(verb, share, path, to=to, pending=frozenset(pending or ()), **self._state()))
        self._names[share][verb, to or path] = None
        self._ages[share] += 1

    def _rename(self, share: int, event: recording.Rename) -> None:
        file = self._named(share, event.source)
        self._note("rename", share, event.source, pending=file.pending, to=event.target)
        with suppress(StopIteration):
            self._named(share, event.target).path = ""
        file.path = event.target
        file.look()

    def _change(self, share: int, file: _File, event: recording.DataEvent) -> None:
        before, logged, place, verb = None, False, Place.WHOLE, "write"
        if isinstance(event, recording.Write):
            if file.anatomy is not None:
                place = file.anatomy.place(event.offset, event.length)
                logged = file.anatomy.is_logged(event.offset, event.length)
                before = file.anatomy.marks
        else:
            place = Place.TAIL if event.size < file.pages.size else Place.LENGTH
            verb = "truncate" if isinstance(event, recording.Resize) else "grow"
        pending = frozenset(file.pending)
        state = self._state()
        event.apply(file.pages)
        after = file.anatomy.marks if before is not None and file.anatomy is not None else None
        self.steps.append(
            Step(verb, share, file.path, place, pending=pending, logged=logged, marks=(before, after), **state)
        )
        file.pending[place] = None
        file.age += 1

    def _flush(self, share: int, file: _File) -> None:
        if not file.pending:
            return
        step = Step("flush", share, file.path, pending=frozenset(file.pending), age=file.age, **self._state())
        if self._drop(step):
            return
        self.steps.append(step)
        file.pending.clear()
        if file.anatomy is not None:
            file.anatomy.flushed()

    def _sync(self, share: int) -> None:
        if not self._names[share]:
            return
        pending = frozenset(f"{verb} {path}" for verb, path in self._names[share])
        step = Step("sync", share, pending=pending, age=self._ages[share], **self._state())
        if not self._drop(step):
            self.steps.append(step)
            self._names[share].clear()


def listed(steps: Sequence[Step], role: Callable[[int, str], str]) -> Iterator[str]:
    """*steps*, a line each, with the changes of one place between two barriers as one."""
    seen: set[tuple[int, str, Place, str]] = set()
    for step in steps:
        name = role(step.share, step.path)
        place = f": {step.place}" if step.place not in (Place.WHOLE, Place.LENGTH, Place.TAIL) else ""
        match step.verb:
            case "sync":
                yield f"sync {role(step.share, '')}".rstrip()
            case "rename":
                yield f"rename {name} -> {role(step.share, step.to)}"
            case "write" | "grow" | "truncate":
                key = step.share, step.path, step.place, step.verb
                if key not in seen:
                    yield f"{step.verb} {name}{place}"
                seen.add(key)
            case _:
                yield f"{step.verb} {name}"
        if step.verb in ("flush", "rename", "remove"):
            seen = {key for key in seen if key[:2] != (step.share, step.path)}
