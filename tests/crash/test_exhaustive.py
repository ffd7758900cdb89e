"""Every short history of a small disk, with everything that a crash may leave of it.

A history is judged from its last step on: what a crash leaves before that is judged with the history that has the same
steps until there and comes first.
"""

from collections.abc import Collection
from itertools import islice, product

import pytest

from tests.crash.histories import SECTOR, History, Sizes
from tests.crash.judging import Judge, Judged, Tally
from tests.crash.verbs import VERBS
from tests.support.choice import few
from tests.support.disks import MIB

SIZE = 2 * MIB + SECTOR
LENGTH = 2
STEPS = {
    "write a sector": lambda history: history.write(MIB - SECTOR, SECTOR),
    "write a block": lambda history: history.write(0, MIB),
    "write over an edge": lambda history: history.write(MIB - 4096, 8192),
    "write the end": lambda history: history.write(2 * MIB, SECTOR),
    "zero a block": lambda history: history.zero(0, MIB),
    "zero a part": lambda history: history.zero(MIB - 8192, 8192 + SECTOR),
    "discard all": lambda history: history.discard(0, SIZE),
    "flush": lambda history: history.flush(),
}
FIRST = next(iter(STEPS))
FEW = [FIRST, "write over an edge", "zero a part", "flush"]


def short_history(steps: tuple[str, ...], *, over: str) -> tuple[History, int]:
    """A history of *steps* on an empty disk, one full of data, or a child of one; and the events before its last."""
    history = History()
    history.create(SIZE)
    if over != "nothing":
        history.write(0, SIZE)
    if over == "a parent":
        history.snapshot()
    history.record()
    last = 0
    for step in steps:
        last = history.events
        STEPS[step](history)
    history.close()
    return history, 0 if set(steps[-1:]) == {FIRST} else last


@pytest.mark.parametrize("of", [pytest.param(FEW, id="few"), pytest.param(STEPS, id="all", marks=pytest.mark.more)])
@pytest.mark.parametrize("over", ["nothing", "data", "a parent"])
def test_every_short_history(over: str, of: Collection[str], tally: Tally) -> None:
    before = Judged()
    for steps in product(of, repeat=LENGTH):
        history, since = short_history(steps, over=over)
        judge = Judge(history, tally, "write", check_every=3, before=before)
        wrong = list(islice(judge.violations(exhaustive=10, since=since), 3))
        assert not wrong, f"{steps}: " + "\n".join(wrong)


@pytest.mark.parametrize("seed", few(range(3), 1))
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("write", "histories")])
def test_every_verb_on_small_disks(verb: str, seed: int, tally: Tally) -> None:
    history = History(seed)
    VERBS[verb](history, Sizes(most=2 * MIB, layers=2))
    wrong = list(islice(Judge(history, tally, verb).violations(exhaustive=10), 3))
    assert not wrong, "\n".join(wrong)
