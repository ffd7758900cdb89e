"""The shared lock of one image: any number of threads change its content, or one thread its shape.

Threads that entered before a change may still use what it frees, a range of the file or a whole layer. The gate knows
when the last of them has left.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident


class Gate:
    """A lock: shared for changes of content, exclusive for a change of shape. Readers are registered, and never wait.

    A thread that waits to be alone goes before threads that come later. The lock is reentrant, and a thread never waits
    for itself: what a signal handler or an interrupted call left behind must not block `close`. A thread must not ask
    to be alone while it is inside: two that did would deadlock.

    What is *retired* is given up once all threads that entered before have left; later ones cannot know it. So the wait
    ends, however many threads follow each other.

    `enter` and `leave` are part of every write, so they take no lock while no thread is alone or waits to be. They rely
    on all threads seeing single operations on a dict and reads of an attribute in one order: a thread that enters
    registers first and then checks whether the gate is closed; one that closes it does so first and then checks which
    threads are inside.
    """

    __slots__ = ("_alone", "_changed", "_closed", "_depth", "_lock", "_now", "_readers", "_retired", "inside")

    def __init__(self) -> None:
        self.inside: dict[int, tuple[int, int]] = {}
        """Threads that are changing something: the period in which they entered, and how often."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed = 0  # number of threads that are alone or wait to be
        self._alone: int | None = None
        self._depth = 0
        self._now = 0
        self._readers: dict[int, int] = {}  # readers left, by the period in which they entered
        self._retired: list[tuple[int, Callable[[], None]]] = []

    def enter(self) -> None:
        """Enter to change content, beside others. Waits while a thread is alone or waits to be."""
        me, inside = get_ident(), self.inside
        held = inside.get(me)
        if held is not None:
            inside[me] = (held[0], held[1] + 1)
            return
        inside[me] = (self._now, 1)
        if self._closed:
            self._wait_outside(me)

    def _wait_outside(self, me: int) -> None:
        with self._lock:
            try:
                while self._closed and self._alone != me:
                    if self.inside.pop(me, None) is not None:
                        self._changed.notify_all()
                    self._changed.wait()
            except BaseException:
                self.inside.pop(me, None)
                raise
            self.inside[me] = (self._now, 1)

    def leave(self) -> None:
        """Leave, once for each `enter`."""
        me, inside = get_ident(), self.inside
        period, times = inside[me]
        if times > 1:
            inside[me] = (period, times - 1)
            return
        del inside[me]
        if self._closed or self._retired:
            with self._lock:
                self._changed.notify_all()
            self._give_up()

    def pin(self) -> int:
        """Register a reader; never waits. Returns the period, to be passed to `unpin`."""
        with self._lock:
            now = self._now
            self._readers[now] = self._readers.get(now, 0) + 1
            return now

    def unpin(self, period: int) -> None:
        """Unregister a reader of that period, which no longer uses what it has looked up."""
        with self._lock:
            left = self._readers[period] - 1
            if left:
                self._readers[period] = left
                return
            del self._readers[period]
        if self._retired:
            self._give_up()

    def retire(self, give_up: Callable[[], None]) -> None:
        """Call *give_up* when all threads that are inside now have left; at once if there are none.

        Threads that enter from now on must not be able to find it. The last thread to leave calls it, with no lock of
        the gate held.
        """
        with self._lock:
            self._retired.append((self._now, give_up))
            self._now += 1
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            # A thread that is alone is the one that retires.
            # A copy is one step; making a list of pairs may run finalizers, and with them other threads.
            since = [period for thread, (period, _) in self.inside.copy().items() if thread != self._alone]
            oldest = min([*self._readers, *since], default=self._now)
            count = sum(period < oldest for period, _ in self._retired)
            due = [give_up for _, give_up in self._retired[:count]]
            del self._retired[:count]
        for give_up in due:
            give_up()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Inside from `enter` to `leave`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only thread that changes anything: waits until all others have left, and keeps them out."""
        me = get_ident()
        with self._lock:
            if self._alone != me:
                self._closed += 1
                try:
                    while self._alone is not None or any(other != me for other in list(self.inside)):
                        self._changed.wait()
                    self._alone = me
                except BaseException:
                    self._closed -= 1
                    self._changed.notify_all()
                    raise
            self._depth += 1
        self.enter()
        try:
            yield
        finally:
            self.leave()
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._alone = None
                    self._closed -= 1
                    self._changed.notify_all()


class Pin:
    """A registered reader, as a context manager. Not a generator, because every read enters it."""

    __slots__ = ("_gate", "_period")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._period = 0

    def __enter__(self) -> None:
        self._period = self._gate.pin()

    def __exit__(self, *_: object) -> None:
        self._gate.unpin(self._period)
