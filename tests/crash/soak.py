"""Random histories of every verb until the time is up: ``python -m tests.crash.soak MINUTES``.

Each core takes its own seeds, every verb in turn, with larger disks, more steps and more of what a crash may leave than
the tests take. The first violation ends it, with the command that shows it again.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from queue import Empty
from typing import NamedTuple

from tests.crash.histories import VHD, VHDX, History, Sizes
from tests.crash.judging import Judge, Tally
from tests.crash.remembering import remembered_parses
from tests.crash.verbs import VERBS
from tests.support.disks import MIB

_MOST_SEEDS = 1 << 40
AGAIN = "python -m tests.crash.soak 1 --once"
SIZES = (Sizes(most=2 * MIB, steps=4), Sizes(), Sizes(most=6 * MIB, steps=16))
"""A seed says which of them its history has."""


class Result(NamedTuple):
    """What became of one history; *wrong* is empty when every state was as promised."""

    verb: str
    seed: int
    states: int
    wrong: str


def soak_one(verb: str, seed: int) -> Result:
    """The history that *seed* makes of *verb*, and every state of it; every fourth seed is that of a VHD."""
    tally = Tally()
    try:
        history = History(seed, VHD if seed % 4 == 3 else VHDX)
        VERBS[verb](history, SIZES[seed % len(SIZES)])
        wrong = next(Judge(history, tally, verb).violations(samples=300, seed=seed, exhaustive=8), "")
    except Exception as error:  # noqa: BLE001  a verb that fails is as wrong as a state that does
        wrong = f"{verb}: the history itself: {type(error).__name__}: {error}"
    return Result(verb, seed, tally.total, wrong)


def _work(verbs: list[str], seeds: Sequence[int], end: float, results: "Queue[Result | None]") -> None:
    """One process: its seeds, each with every verb, until the time is up."""
    with remembered_parses():
        for seed, verb in ((seed, verb) for seed in seeds for verb in verbs):
            if time.monotonic() > end:
                break
            results.put(soak_one(verb, seed))
    results.put(None)


def main() -> int:
    """0 when nothing was wrong, 1 for a violation or a process that died."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description="Random histories, crashed.")
    parser.add_argument("minutes", type=float, help="how long to go on")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--verb", choices=list(VERBS), help="only this one")
    parser.add_argument("--once", action="store_true", help="only the first seed")
    chosen = parser.parse_args()
    verbs = [chosen.verb] if chosen.verb else list(VERBS)
    processes = 1 if chosen.once else os.cpu_count() or 1
    print(f"soak: {chosen.minutes:g} minutes, seeds from {chosen.seed}, {processes} processes", flush=True)
    end = time.monotonic() + chosen.minutes * 60
    context = multiprocessing.get_context("spawn")
    results: Queue[Result | None] = context.Queue()
    workers = []
    for number in range(processes):
        first = chosen.seed + number
        seeds = range(first, first + 1 if chosen.once else first + _MOST_SEEDS, processes)
        workers.append(context.Process(target=_work, args=(verbs, seeds, end, results), daemon=True))
        workers[-1].start()
    try:
        return _gather(results, workers)
    finally:
        for worker in workers:
            worker.terminate()


def _gather(results: "Queue[Result | None]", workers: Sequence[BaseProcess]) -> int:
    states: Counter[str] = Counter()
    last, running = 0, len(workers)
    while running:
        try:
            result = results.get(timeout=5)
        except Empty:
            if any(worker.exitcode for worker in workers):
                print("a process died")
                return 1
            continue
        if result is None:
            running -= 1
            continue
        states[result.verb] += result.states
        last = max(last, result.seed)
        if result.wrong:
            print(f"{result.wrong}\nagain: {AGAIN} --verb '{result.verb}' --seed {result.seed}")
            return 1
    parts = ", ".join(f"{verb} {number:,}" for verb, number in sorted(states.items()))
    print(f"crash states: {parts}; {sum(states.values()):,} in all; seeds up to {last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
