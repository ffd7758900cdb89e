"""The gate of an image under every order of steps that chance finds, line by line."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import get_ident

import pytest

from tests.support.interleaving import Interleaving, Stuck
from vhdx.image.gate import Gate

RUNS = range(40)


def gate_of(run: Interleaving) -> Gate:
    with run.locks():
        return Gate()


@pytest.mark.parametrize("seed", RUNS)
def test_who_is_alone_is_alone(seed: int) -> None:
    run = Interleaving(seed, closely=("image/gate.py",))
    gate = gate_of(run)
    beside, alone = 0, 0
    together = []

    def change() -> None:
        nonlocal beside
        for _ in range(3):
            gate.enter()
            beside += 1
            together.append(beside)
            assert not alone
            run.pause()
            gate.enter()
            assert not alone
            gate.leave()
            beside -= 1
            gate.leave()

    def restructure() -> None:
        nonlocal alone
        for _ in range(2):
            with gate.alone():
                alone += 1
                assert (alone, beside) == (1, 0)
                run.pause()
                with gate.alone(), gate.beside():
                    assert (alone, beside) == (1, 0)
                alone -= 1

    run.run(change, change, restructure, restructure)
    assert not gate.inside
    with gate.alone():
        pass


def test_changes_do_meet() -> None:
    most = 0
    for seed in RUNS:
        run = Interleaving(seed)
        gate = gate_of(run)
        inside = 0

        def change(run: Interleaving = run, gate: Gate = gate) -> None:
            nonlocal inside, most
            gate.enter()
            inside += 1
            most = max(most, inside)
            run.pause()
            inside -= 1
            gate.leave()

        run.run(change, change, change)
    assert most == 3


@pytest.mark.parametrize("seed", RUNS)
def test_what_is_retired_is_given_up_when_nobody_knows_it_any_more(seed: int) -> None:
    """A place is named until it is retired; who came in while it was named may use it until he goes."""
    run = Interleaving(seed, closely=("image/gate.py",))
    gate = gate_of(run)
    named, reused = [0], set()

    def read() -> None:
        for _ in range(3):
            period = gate.pin()
            use()
            gate.unpin(period)

    def write() -> None:
        for _ in range(3):
            gate.enter()
            use()
            gate.leave()

    def use() -> None:
        place = named[0]
        for _ in range(40):  # longer than what it takes to retire something
            assert place not in reused
            run.pause()

    def move() -> None:
        for place in range(1, 5):
            old, named[0] = named[0], place
            gate.retire(lambda old=old: reused.add(old))  # type: ignore[misc]
            run.pause()

    run.run(read, write, write, move)
    assert reused == {0, 1, 2, 3}, "all of it is given up in the end"


def test_retiring_ends_though_somebody_is_always_there() -> None:
    gate = Gate()
    given_up = []
    first = gate.pin()
    gate.retire(lambda: given_up.append(1))
    second = gate.pin()
    gate.unpin(first)
    assert given_up == [1]
    gate.retire(lambda: given_up.append(2))
    gate.unpin(second)
    assert given_up == [1, 2]


def test_a_thread_never_waits_for_itself() -> None:
    gate = Gate()
    gate.enter()
    with gate.alone():
        gate.enter()
        gate.leave()
    gate.leave()


class Boom(Exception):
    """Comes from outside, like an interrupt."""


@pytest.mark.parametrize("seed", RUNS)
def test_a_wait_that_is_broken_off_leaves_nothing_behind(seed: int) -> None:
    run = Interleaving(seed)
    gate = gate_of(run)

    original, unlucky = gate._changed.wait, set[int]()

    def wait() -> None:
        if get_ident() in unlucky:
            unlucky.remove(get_ident())
            raise Boom
        original()

    gate._changed.wait = wait  # type: ignore[method-assign]

    def interrupted(work: Callable[[], None]) -> Callable[[], None]:
        def tried() -> None:
            unlucky.add(get_ident())
            with suppress(Boom):
                work()

        return tried

    def enter() -> None:
        gate.enter()
        run.pause()
        gate.leave()

    def alone() -> None:
        with gate.alone():
            run.pause()

    run.run(enter, alone, interrupted(enter), interrupted(alone), enter, alone)
    assert not gate.inside
    with gate.alone():
        pass


def test_the_tool_sees_who_waits_for_each_other() -> None:
    """Two who are inside must not both ask to be alone: the gate says so, and this is how it would look."""
    for seed in RUNS:
        run = Interleaving(seed)
        gate = gate_of(run)

        def both(gate: Gate = gate, run: Interleaving = run) -> None:
            gate.enter()
            run.pause()
            with gate.alone():
                pass
            gate.leave()

        try:
            run.run(both, both)
        except Stuck as stuck:
            assert "waits for a condition" in str(stuck)
            return
    pytest.fail("no order made them wait")


@contextmanager
def collecting_all_the_time(told: Callable[[], None]) -> Iterator[None]:
    """Every collection, which come as often as can be, calls *told*: a finalizer that lets other threads go on."""
    before = gc.get_threshold()

    def tell(phase: str, info: dict[str, int]) -> None:
        told()

    gc.callbacks.append(tell)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(tell)


def test_threads_may_come_in_while_the_gate_looks_who_is_inside() -> None:
    gate, numbers, given_up = Gate(), count(1000), []
    for thread in range(40):
        gate.inside[thread] = (0, 1)
    with collecting_all_the_time(lambda: gate.inside.update({next(numbers): (0, 1)})):
        for _ in range(100):
            gate.retire(lambda: given_up.append(True))
    assert not given_up
    gate.inside.clear()
    gate.retire(lambda: given_up.append(True))
    assert len(given_up) == 101
