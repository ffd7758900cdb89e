"""No barrier of the journal on the share, or of the log in an image, is dropped.

``barriers/*.txt`` list what each operation changes and where it waits until that is durable. The lists show a change of
order to whoever makes it; what has to hold of any order are the laws. To write the lists anew after a change that was
looked at: ``BARRIERS_WRITE=1 pytest tests/driver/test_barriers.py``.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.test_teeth import wrong_order
from tests.driver import barrier_laws as laws
from tests.driver.barrier_cases import CASES, recorded, role
from tests.driver.kits import Bench, telling_ids
from tests.driver.ledger import Record, Step, listed
from tests.driver.places import Place
from tests.support import recording
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.image.base import LogState
from vhdx.image.vhdx.journal import CommitOrder
from vhdx.verbs.engine import NativeEngine

LISTS = Path(__file__).parent / "barriers"

SPARE = {
    # The order inside a VHD, and inside a file that nobody takes for an image yet, is not for these laws.
    "create-vhd": {"flush vhd base-temporary"},
    "snapshot-vhd": {"flush vhd snapshot A-temporary"},
    "extend-vhd": {"flush vhd base"},
    # It is about to be removed.
    "delete-snapshot-only": {"flush snapshot A: header 1"},
    "delete-snapshot-latest": {"flush snapshot C: header 1"},
    "delete-snapshot-middle": {"flush snapshot B: header 1"},
    "delete-snapshot-first": {"flush snapshot A: header 1"},
    "delete-snapshot-grown": {"flush snapshot A: header 1"},
    # Of two intents, or an intent and temporaries, the later sync is enough before anything else changes.
    "rename": {"sync of create intent", "sync of remove other intent"},
    "rename-with-info": {"sync of create intent", "sync of remove other intent"},
    "reshape-to-fixed": {
        "sync of create intent",
        "sync of create base-temporary-temporary, rename base-temporary",
    },
    "reshape-from-fixed": {
        "sync of create intent",
        "sync of create base-temporary-temporary, rename base-temporary",
        "flush base-temporary",
    },
    "reshape-to-vhd": {"sync of create intent", "sync of remove vhd intent", "flush vhd base-temporary"},
}
"""Barriers without which no law is broken."""


@pytest.mark.parametrize("case", CASES)
def test_the_barriers_are_those_that_are_listed(case: str) -> None:
    found = "\n".join(listed(recorded(case).steps(), role)) + "\n"
    golden = LISTS / f"{case}.txt"
    if os.environ.get("BARRIERS_WRITE"):
        golden.write_text(found)
    assert found == golden.read_text()


def test_every_list_is_of_an_operation() -> None:
    assert {path.stem for path in LISTS.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_what_must_be_durable_first_is(case: str) -> None:
    assert laws.broken(recorded(case).steps(), promises=CASES[case].promises) == []


@pytest.mark.parametrize("case", CASES)
def test_without_any_one_of_its_barriers_an_operation_breaks_a_law(case: str) -> None:
    """Each barrier is left out in turn, as if the server had ignored it."""
    record, promises = recorded(case), CASES[case].promises
    barriers = sum(step.is_barrier for step in record.steps())
    assert barriers
    unneeded = set()
    for number in range(barriers):
        nth = _Nth(number)
        steps = record.steps(nth)
        if not laws.broken(steps, promises=promises):
            assert nth.dropped is not None
            unneeded.add(_told(nth.dropped))
    assert unneeded <= SPARE.get(case, set())


def _told(barrier: Step) -> str:
    if barrier.verb == "flush":
        places = ", ".join(sorted(barrier.pending - {Place.WHOLE, Place.LENGTH, Place.TAIL}))
        return f"flush {role(barrier.share, barrier.path)}{': ' if places else ''}{places}"
    changes = (change.split(" ", 1) for change in barrier.pending)
    return f"sync of {', '.join(sorted(f'{verb} {role(barrier.share, path)}' for verb, path in changes))}"


KINDS: dict[str, Callable[[Step], bool]] = {
    "flush of intents": lambda step: step.verb == "flush" and step.path.endswith(".intent"),
    "flush of documents": lambda step: step.verb == "flush" and ".info." in step.path,
    "flush of images under construction": lambda step: (
        step.verb == "flush" and step.path.endswith(".tmp") and ".info." not in step.path
    ),
    "flush of header 1": lambda step: step.verb == "flush" and Place.HEADER_1 in step.pending,
    "flush of header 2": lambda step: step.verb == "flush" and Place.HEADER_2 in step.pending,
    "flush of the log": lambda step: step.verb == "flush" and Place.LOG in step.pending,
    "flush of pages": lambda step: step.verb == "flush" and Place.PAGES in step.pending,
    "flush of payload": lambda step: step.verb == "flush" and Place.PAYLOAD in step.pending,
    "sync of renamed files": lambda step: step.verb == "sync" and _has(step, "rename"),
    "sync of removed files": lambda step: step.verb == "sync" and _has(step, "remove"),
    "sync of new intents": lambda step: step.verb == "sync" and _has(step, "create", ".intent"),
}
"""What a file system may leave out."""


def _has(step: Step, verb: str, ending: str = "") -> bool:
    return any(change.startswith(verb) and change.endswith(ending) for change in step.pending)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_system_that_leaves_out_one_kind_of_barrier_is_told(kind: str) -> None:
    """In every operation that asks for such a barrier."""
    struck = []
    for case in CASES:
        dropped: list[Step] = []

        def leave_out(step: Step, dropped: list[Step] = dropped) -> bool:
            if KINDS[kind](step):
                dropped.append(step)
                return True
            return False

        steps = recorded(case).steps(leave_out)
        if dropped:
            struck.append(case)
            assert laws.broken(steps, promises=CASES[case].promises), f"{case} passes without {kind}"
    assert struck


@pytest.mark.parametrize("share", [0, 1])
def test_so_is_one_that_carries_nothing_out(share: int) -> None:
    """The record of a file system that ignores flush and sync altogether."""
    steps = recorded("move").steps(lambda step: step.share == share)
    found = laws.broken(steps, promises=True)
    assert {breach.partition(":")[0] for breach in found} >= {
        laws.volumes_change_under_a_durable_intent.__name__,
        laws.success_is_durable.__name__,
    }


@pytest.mark.parametrize("order", [order for order in CommitOrder if order is not CommitOrder.PAYLOAD_LOG_PAGES])
def test_a_commit_in_another_order_breaks_a_law(order: CommitOrder) -> None:
    """Where the barriers are there and the writes are not where they should be."""
    record = Record(MemoryFileSystem())
    files = record.files[0]
    NativeEngine(telling_ids(1)).create(files, "image.vhdx", 8 << 20)
    engine = NativeEngine(telling_ids(1 << 16))
    with wrong_order(order), engine.open_chain(files, "image.vhdx", writable=1) as chain:
        for content in (b"1", b"2"):
            chain.write(int(content) << 20, content * 512)
            chain.flush()
    assert [breach for breach in laws.broken(record.steps(), promises=False) if breach.startswith("logs_hold")]


class _Nth:
    """Drops one barrier, by its number among those that count, and what would make up for it."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.dropped: Step | None = None

    def __call__(self, step: Step) -> bool:
        if self.dropped is not None:
            return _of(step) == _of(self.dropped)
        self._left -= 1
        if self._left == -1:
            self.dropped = step
        return self._left == -1


def _of(step: Step) -> tuple[str, int, str, int]:
    return step.verb, step.share, step.path, step.age


@pytest.mark.parametrize(
    "case",
    [
        "delete-snapshot-only",
        "delete-snapshot-first",
        "delete-snapshot-latest",
        "delete-snapshot-middle",
        "delete-snapshot-grown",
    ],
)
def test_recovery_leaves_no_log_in_use(case: str) -> None:
    """Stopped after any step; who opens a layer only to read it may refuse one that needs a replay, as qemu does."""
    left = set()
    for files in _stops(recorded(case)):
        bench = Bench.on(files, "native", start=1 << 20)
        assert not bench.volumes.recover().failed
        images = [path for path in files.list("") if path.endswith(".vhdx")]
        left |= {role(0, path) for path in images if NativeEngine().info(files, path).log is LogState.DIRTY}
    assert not left


def _stops(record: Record) -> Iterator[MemoryFileSystem]:
    """The first share after each change of a name or barrier, everything having reached the disk."""
    names, files = dict(record.shares[0].identities), {}
    for path, identity in names.items():
        files[identity] = record.shares[0].pages[path].copy()
    for share, event in record.events:
        if share:
            continue
        match event:
            case recording.Write() | recording.Resize() | recording.Grow():
                event.apply(files[event.file])
                continue
            case recording.Create():
                names[event.path], files[event.file] = event.file, Pages()
            case recording.Rename():
                names[event.target] = names.pop(event.source)
            case recording.Remove():
                del names[event.path]
        yield MemoryFileSystem({path: files[identity].copy() for path, identity in names.items()})
