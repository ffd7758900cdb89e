"""Threads one at a time, in an order that a seed decides: what goes wrong can be run again, step by step.

A thread goes on until it comes to a step: a lock taken or given back, a wait, a line of the modules that are watched
closely, whatever calls `pause`. Then chance says who goes on: with an odd seed each time anew; with an even one by
ranks that seldom change, so that one stands still in the middle of something while others get far. When nobody can go
on, they wait for each other: that fails.

Locks are those of `threading` as the code under test makes them inside `Interleaving.locks`.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any
from unittest.mock import patch

_CHANGE = 0.06
"""How likely it is at a step that a thread gets another rank."""
_PATIENCE = 300.0
"""Seconds until a thread that neither comes to a step nor ends counts as lost; they take milliseconds."""


class Stuck(AssertionError):
    """Every thread that is left waits for another."""


@dataclass
class _Thread:
    """One of the threads, and what it waits for."""

    number: int
    turn: threading.Semaphore
    rank: float
    until: Callable[[], bool] | None = None
    why: str = ""
    is_last: bool = False
    done: bool = False
    error: BaseException | None = None


@dataclass
class Interleaving:
    """One run. *closely*: ends of file names, in which every line is a step."""

    seed: int
    closely: tuple[str, ...] = ()
    steps: int = 0
    most_steps: int = 2_000_000
    _mine: threading.local = field(default_factory=threading.local)
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self, *work: Callable[[], None]) -> None:
        """Run all of *work* side by side. Raises the first error of one, Stuck where they wait for each other."""
        chance = random.Random(self.seed)
        threads = [_Thread(number, threading.Semaphore(0), chance.random()) for number in range(len(work))]
        running = [
            threading.Thread(target=self._run, args=(thread, one), daemon=True)
            for thread, one in zip(threads, work, strict=True)
        ]
        for real in running:
            real.start()
        while left := [thread for thread in threads if not thread.done]:
            ready = [thread for thread in left if not thread.is_last and (thread.until is None or thread.until())]
            ready = ready or [thread for thread in left if thread.is_last]
            if not ready:
                raise Stuck("; ".join(f"thread {thread.number} waits for {thread.why}" for thread in left))
            self.steps += 1
            if self.steps > self.most_steps:
                raise Stuck(f"no end after {self.steps} steps")
            chosen = chance.choice(ready) if self.seed % 2 else max(ready, key=lambda thread: thread.rank)
            if chance.random() < _CHANGE:
                chosen.rank = chance.random()
            chosen.until, chosen.is_last = None, False
            chosen.turn.release()
            if not self._back.acquire(timeout=_PATIENCE):
                raise Stuck(f"thread {chosen.number} does not come back")
        for real in running:
            real.join(_PATIENCE)
        for thread in threads:
            if thread.error is not None:
                raise thread.error

    def _run(self, thread: _Thread, work: Callable[[], None]) -> None:
        self._mine.thread = thread
        thread.turn.acquire()
        if self.closely:
            sys.settrace(self._trace)
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again by `run`
            thread.error = error
        finally:
            sys.settrace(None)
            thread.done = True
            self._back.release()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._trace_line if frame.f_code.co_filename.endswith(self.closely) else None

    def _trace_line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.pause()
        return self._trace_line

    def pause(self, until: Callable[[], bool] | None = None, why: str = "nothing") -> None:
        """A step: somebody else may go on here. This thread goes on when *until* says so."""
        thread: _Thread | None = getattr(self._mine, "thread", None)
        if thread is None:  # whoever prepares or looks at the end: nobody else is running
            assert until is None or until(), f"{why} is held by somebody who does not run"
            return
        thread.until, thread.why = until, why
        self._back.release()
        thread.turn.acquire()

    def let_others_go_first(self) -> None:
        """This thread stands still until no other can go on."""
        self._mine.thread.is_last = True
        self.pause()

    @contextmanager
    def locks(self) -> Iterator[None]:
        """What is made of `threading` in here by this thread is ours."""
        with (
            patch("threading.Lock", lambda: _Lock(self)),
            patch("threading.RLock", lambda: _Lock(self)),
            patch("threading.Condition", lambda lock=None: _Condition(self, lock)),
        ):
            yield


class _Lock:
    """Stands for `Lock` and `RLock`; that a plain one is not taken twice by its owner is not looked at."""

    def __init__(self, run: Interleaving) -> None:
        self._run = run
        self._owner: int | None = None
        self._times = 0

    def acquire(self) -> bool:
        me = threading.get_ident()
        if self._owner != me:
            self._run.pause(lambda: self._owner is None, "a lock")
            self._owner = me
        self._times += 1
        return True

    def release(self) -> None:
        assert self._owner == threading.get_ident()
        self._times -= 1
        if not self._times:
            self._owner = None
            self._run.pause()

    def let_go(self) -> int:
        """All of it, for a wait."""
        times, self._times, self._owner = self._times, 0, None
        return times

    def take_back(self, times: int) -> None:
        self.acquire()
        self._times = times

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Condition:
    """Stands for `Condition`."""

    def __init__(self, run: Interleaving, lock: _Lock | None) -> None:
        self._run = run
        self._lock = lock if lock is not None else _Lock(run)
        self._told = 0

    def wait(self) -> None:
        told, times = self._told, self._lock.let_go()
        try:
            self._run.pause(lambda: self._told > told, "a condition")
        finally:
            self._lock.take_back(times)

    def notify_all(self) -> None:
        self._told += 1

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
