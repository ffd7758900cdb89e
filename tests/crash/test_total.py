"""How many crash states the tests of this directory went through; the last test of all."""

from tests.crash.judging import Tally

LEAST = 20_000


def test_enough_states_were_tried(tally: Tally) -> None:
    assert tally.total >= LEAST, tally.summary()
