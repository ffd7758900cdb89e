"""Whether each state that a crash may leave of a history is one that was promised.

In every state every disk opens and reads as it may, for a reader and again after a writer has opened each file and
closed it; no check finds an error, before or after. In some, what was stopped is done again, or the disk is used on.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from tests.crash.histories import SECTOR, Act, History, ids, marked
from tests.crash.stories import Allowed, Nothing, Story, Version
from tests.support.crash import CrashState, crash_states
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.check import Severity, check_storage
from vhdx.image.open import open_image
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

_AGAIN, _USED = 32, 40
"""One state of so many is gone on from."""
_CLOSELY = 4
"""One state of so many is looked at more closely than the rest: a disk whose own file is as it was is read through what
changed below it, and what a writer made of a file is checked once more."""

Fingerprints = dict[str, int]


@dataclass
class Tally:
    """The distinct states judged, by verb: files that carry a promise, by their bytes."""

    states: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def count(self, verb: str, fingerprints: Fingerprints) -> None:
        """Note a state; a file that is no image yet makes no difference."""
        self.states[verb].add(hash(frozenset(fingerprints.items())))

    @property
    def total(self) -> int:
        return sum(map(len, self.states.values()))

    def numbers(self) -> dict[str, int]:
        """How many, by verb."""
        return {verb: len(states) for verb, states in self.states.items()}


@dataclass
class Judged:
    """What was judged before: bytes and what was allowed of them, so it holds for other histories with the same."""

    states: dict[Hashable, list[list[frozenset[int]]]] = field(default_factory=dict)
    unchanged: set[tuple[str, int]] = field(default_factory=set)
    checked: set[int] = field(default_factory=set)


class Judge:
    """Goes through the crash states of one history; *check_every* says which share of them the check sees."""

    def __init__(
        self, history: History, tally: Tally, verb: str, *, check_every: int = 1, before: Judged | None = None
    ) -> None:
        assert history.recorder is not None
        self._history = history
        self._recorder = history.recorder
        self._tally = tally
        self._verb = verb
        self._check_every = check_every
        self._before = before or Judged()
        self._room = bytearray(max(map(len, self._disks()), default=0))
        self._judged = 0
        self._initial = {path: pages.fingerprint() for path, pages in self._recorder.initial.items()}

    def _disks(self) -> Iterator[bytes]:
        for story in self._history.stories.values():
            for version in (*story.settled, *story.begun):
                if isinstance(version.content, bytes):
                    yield version.content

    def violations(self, *, samples: int = 0, seed: int = 0, exhaustive: int = 0, since: int = 0) -> Iterator[str]:
        """What is wrong, and in which state; only of crashes after *since* events."""
        for state in crash_states(self._recorder, samples=samples, seed=seed, exhaustive=exhaustive):
            if state.event_index < since:
                continue
            try:
                fault = self._fault(state)
            except Exception as error:  # noqa: BLE001  anything at all is a violation
                fault = f"{type(error).__name__}: {error}"
            if fault:
                yield f"{self._verb}: {state.description}: {fault}"

    def _fault(self, state: CrashState) -> str:
        stories, index = self._history.stories, state.event_index
        found = {path: mark for path, mark in state.fingerprints.items() if path in stories}
        marks = [story.allowed(index).marks for story in stories.values()]
        if self._passed(frozenset(found.items()), marks):
            return ""
        self._tally.count(self._verb, found)
        self._judged += 1
        return (
            (self._check(state.files, found) if self._judged % self._check_every == 0 else "")
            or self._read(state.files, found, stories, index)
            or self._repair(state, found)
            or self._go_on(state)
        )

    def _read(self, files: MemoryFileSystem, found: Fingerprints, stories: dict[str, Story], index: int) -> str:
        """What is wrong for a reader."""
        order = self._order(stories)
        for number, path in enumerate(order):
            allowed = stories[path].allowed(index)
            if path not in found:
                if Nothing.ABSENT not in allowed.contents and not allowed.anything:
                    return f"{path} is gone"
                continue
            # A disk is its own file and those that were made before it.
            parts = [(other, found[other]) for other in order[: number + 1] if other in found]
            if allowed.anything:
                if not self._passed((path, "linkage", index, *parts), []) and not self._honest(files, path, index):
                    return f"{path}: other content under the same linkage"
                continue
            if self._passed_over(path, found, order) or self._passed((path, *parts), [allowed.marks]):
                continue
            fault = self._read_disk(files, path, allowed)
            if fault:
                return f"{path}: {fault}"
        return ""

    def _passed(self, what: Hashable, marks: list[frozenset[int]]) -> bool:
        """Whether the same bytes were judged before when no more was allowed; else they count as judged from now on."""
        judged = self._before.states.setdefault(what, [])
        if any(all(map(frozenset.issubset, before, marks)) for before in judged):
            return True
        judged.append(marks)
        return False

    def _passed_over(self, path: str, found: Fingerprints, order: list[str]) -> bool:
        """Whether this state is not one of those in which a disk under another, with its file as it was, is read."""
        newer = any(other in found for other in order[order.index(path) + 1 :])
        return newer and found[path] == self._initial.get(path) and self._judged % _CLOSELY != 0

    def _order(self, stories: dict[str, Story]) -> list[str]:
        return [path for path in self._history.made if path in stories]

    def _read_disk(self, files: MemoryFileSystem, path: str, allowed: Allowed) -> str:
        with NativeEngine(new_id=ids(9000)).open_chain(files, path) as chain:
            if chain.size > len(self._room):
                return f"it is a disk of {chain.size} bytes"
            self._load(chain)
            return allowed.fault(self._room, chain.size)

    def _honest(self, files: MemoryFileSystem, path: str, index: int) -> bool:
        """Whether a disk of which nothing is promised shows that it changed, when it has."""
        announced = self._history.announced
        if not any(path == known for known, _ in announced):
            return True
        engine = NativeEngine(new_id=ids(9000))
        linkage = engine.info(files, path).linkage
        if linkage is None or (path, linkage) not in announced or announced[path, linkage].events > index:
            return True
        with engine.open_chain(files, path) as chain:
            self._load(chain)
            content = announced[path, linkage].content
            assert isinstance(content, bytes)
            return chain.size == len(content) and self._room.startswith(content)

    def _load(self, chain: Chain) -> None:
        """Read the whole disk into the buffer that serves all states."""
        view = memoryview(self._room)
        pieces = defaultdict(list)
        for layer, extent in chain.extents(0, chain.size):
            part = view[extent.offset : extent.end]
            if extent.file_offset is None:
                part[:] = bytes(extent.length)
            else:
                pieces[layer].append((extent.file_offset, part))
        for layer, wanted in pieces.items():
            chain.images[layer].storage.read(wanted)

    def _check(self, files: MemoryFileSystem, found: Fingerprints) -> str:
        """What a check of the files says, once for the same bytes."""
        for path, mark in found.items():
            if mark in self._before.checked:
                continue
            self._before.checked.add(mark)
            with closing(files.open(path, Access.READ)) as storage:
                errors = [str(finding) for finding in check_storage(storage) if finding.severity is Severity.ERROR]
            if errors:
                return f"the check says: {'; '.join(errors)}"
        return ""

    def _repair(self, state: CrashState, found: Fingerprints) -> str:
        """What is wrong once each file was opened for writing, its log replayed, and closed."""
        stories, changed = self._history.stories, False
        after = dict(found)
        for path, mark in found.items():
            if (path, mark) in self._before.unchanged:
                continue
            open_image(state.files.open(path, Access.WRITE), new_id=ids(5000)).close()
            after[path] = state.files.fingerprint(path)
            if after[path] == mark:
                self._before.unchanged.add((path, mark))
            else:
                changed = True
        if not changed:
            return ""
        fault = self._read(state.files, after, stories, state.event_index)
        if not fault and self._judged % _CLOSELY == 0:
            fault = self._check(state.files, after)
        return f"after a writer: {fault}" if fault else ""

    def _go_on(self, state: CrashState) -> str:
        act = self._act_at(state.event_index)
        if act is not None and self._judged % _AGAIN == 0:
            return self._do_again(state, act)
        return self._use(state) if self._judged % _USED == 1 else ""

    def _act_at(self, index: int) -> Act | None:
        return next((act for act in self._history.acts if act.first <= index < act.last), None)

    def _do_again(self, state: CrashState, act: Act) -> str:
        """What is wrong when the verb that was stopped is called again, to its end."""
        act.again(NativeEngine(new_id=ids(7000)), state.files)
        stories = self._history.stories
        done = {path: Story([Version(0, story.allowed(act.last).durable)]) for path, story in stories.items()}
        found = {path: state.files.fingerprint(path) for path in state.files.paths() if path in done}
        fault = self._read(state.files, found, done, 0) or self._check(state.files, found)
        return f"after {act.name} again: {fault}" if fault else ""

    def _use(self, state: CrashState) -> str:
        """What is wrong when the newest disk is written to."""
        for path in reversed(self._order(self._history.stories)):
            allowed = self._history.stories[path].allowed(state.event_index)
            if allowed.anything or path not in state.fingerprints:
                continue
            with NativeEngine(new_id=ids(6000)).open_chain(state.files, path, writable=1, orphan=True) as chain:
                self._load(chain)
                expected = self._room[: chain.size]
                for turn, offset in enumerate(range(0, chain.size, max(SECTOR, chain.size // 5 // SECTOR * SECTOR))):
                    data = marked(4000 + turn, offset, min(8 * SECTOR, chain.size - offset))
                    chain.write(offset, data)
                    expected[offset : offset + len(data)] = data
            with NativeEngine(new_id=ids(8000)).open_chain(state.files, path) as chain:
                self._load(chain)
                if not self._room.startswith(expected):
                    return f"{path}: used on, it is not what was written"
            fault = self._check(state.files, {path: state.files.fingerprint(path)})
            return f"{path}: used on: {fault}" if fault else ""
        return ""


