"""Random histories of every verb, and what crashes leave of them: a choice of it, by seed."""

from itertools import islice

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.crash.histories import SECTOR, VHD, History, Sizes
from tests.crash.judging import Judge, Tally
from tests.crash.verbs import VERBS
from tests.support.choice import few
from tests.support.disks import MIB

SEEDS = {"write": 16, "merge": 8, "merge and remove": 5, "merge up": 10, "compact": 12, "resize": 12, "histories": 20}
IN_EVERY_RUN = {"write": 5, "merge": 2, "merge up": 3, "compact": 3, "resize": 3, "histories": 5}
MOST = 3 * MIB


@pytest.mark.parametrize(
    ("verb", "seed"),
    [
        one
        for place, verb in enumerate(VERBS)
        for seeds in [[(verb, 100 * place + number) for number in range(SEEDS.get(verb, 4))]]
        for one in few(seeds, IN_EVERY_RUN.get(verb, 1))
    ],
)
def test_a_crash_leaves_what_was_promised(verb: str, seed: int, tally: Tally) -> None:
    history = History(seed)
    VERBS[verb](history, Sizes())
    judge = Judge(history, tally, verb, check_every=3)
    wrong = list(islice(judge.violations(samples=100, seed=seed, exhaustive=5), 3))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("seed", few(range(3), 1))
@pytest.mark.parametrize("verb", VERBS)
def test_so_does_it_of_a_vhd(verb: str, seed: int, tally: Tally) -> None:
    history = History(seed, VHD)
    VERBS[verb](history, Sizes())
    judge = Judge(history, tally, f"VHD {verb}", check_every=3)
    wrong = list(islice(judge.violations(samples=60, seed=seed, exhaustive=4), 3))
    assert not wrong, "\n".join(wrong)


blocks = st.integers(0, MOST // MIB - 1)
sectors = st.integers(0, MOST // SECTOR - 1)
lengths = st.sampled_from([1, 7, 8, 129, 1024, 2048, 2056])
sizes = st.sampled_from([MIB + SECTOR, 2 * MIB - SECTOR, 2 * MIB, MOST])


class Disks(RuleBasedStateMachine):
    """Any verb after any other; judged when the history is over."""

    tally: Tally

    @initialize(size=sizes, full=st.booleans(), child=st.booleans())
    def start(self, size: int, full: bool, child: bool) -> None:
        self.history = History()
        self.history.create(size)
        if full:
            self.history.write(0, size)
        if child:
            self.history.snapshot()
        self.history.record()

    def _inside(self, first: int, length: int) -> tuple[int, int]:
        first %= self.history.size // SECTOR
        return first * SECTOR, min(length, self.history.size // SECTOR - first) * SECTOR

    @rule(first=sectors | blocks.map(lambda block: block * MIB // SECTOR), length=lengths)
    def write(self, first: int, length: int) -> None:
        self.history.write(*self._inside(first, length))

    @rule(first=sectors | blocks.map(lambda block: block * MIB // SECTOR), length=lengths)
    def zero(self, first: int, length: int) -> None:
        self.history.zero(*self._inside(first, length))

    @rule(first=blocks, count=st.integers(1, 3))
    def discard(self, first: int, count: int) -> None:
        self.history.discard(*self._inside(first * MIB // SECTOR, count * MIB // SECTOR))

    @rule()
    def flush(self) -> None:
        self.history.flush()

    @rule()
    def reopen(self) -> None:
        self.history.reopen()

    @precondition(lambda self: len(self.history.paths) < 4)
    @rule(size=st.none() | sizes)
    def snapshot(self, size: int | None) -> None:
        self.history.snapshot(size)

    @precondition(lambda self: len(self.history.paths) > 1)
    @rule(data=st.data(), up=st.booleans())
    def merge(self, data: st.DataObject, up: bool) -> None:
        top = data.draw(st.integers(0, len(self.history.paths) - 2))
        target = data.draw(st.integers(top + 1, len(self.history.paths) - 1))
        (self.history.merge_up if up else self.history.merge)(top, target)

    @precondition(lambda self: len(self.history.paths) > 1)
    @rule()
    def revert(self) -> None:
        self.history.revert()

    @rule(size=sizes)
    def resize(self, size: int) -> None:
        self.history.resize(size)

    @rule()
    def compact(self) -> None:
        self.history.compact()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.close()
            judge = Judge(self.history, self.tally, "histories", check_every=3)
            wrong = list(islice(judge.violations(samples=40, exhaustive=4), 3))
            assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("examples", [6, pytest.param(30, marks=pytest.mark.more)])
def test_whatever_the_history(examples: int, tally: Tally) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("CountedDisks", (Disks,), {"tally": tally})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # a state costs milliseconds, and shrinking wants millions of them
            suppress_health_check=list(HealthCheck),
        ),
    )
