"""Who works on one image at the same time: any number who read or change its content, or one who changes its shape.

What a change leaves behind, a place in the file or a whole layer, may still be known to those who came before it. The
gate knows when the last of them is gone.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident


class Gate:
    """A lock, shared by changes of content, exclusive for a change of shape; readers only show that they are here.

    Who waits to be alone is let in before those who come later. A thread that is inside gets in again, and never waits
    for itself: what a signal handler or a broken-off call has left behind must not stop its `close`. But two that are
    inside and both want to be alone would wait for each other: nobody may ask for it from inside.

    What is *retired* is given up once everyone who came before is gone; who comes later cannot know it. So there is
    always an end to the wait, however many follow each other.

    `enter` and `leave` are part of every write, so they take no lock while nobody is alone or waits. They need no more
    than that single steps on a dict and reads of an attribute come in one order for all threads: who comes in shows
    himself first and then looks whether the gate is closed, who closes it does so first and then looks who is inside.
    """

    __slots__ = ("_alone", "_changed", "_closed", "_depth", "_lock", "_now", "_readers", "_retired", "inside")

    def __init__(self) -> None:
        self.inside: dict[int, tuple[int, int]] = {}
        """Threads that are changing something: since which period, how often they came in."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed = 0  # how many are alone or wait to be
        self._alone: int | None = None
        self._depth = 0
        self._now = 0
        self._readers: dict[int, int] = {}  # how many came in each period that somebody is left of
        self._retired: list[tuple[int, Callable[[], None]]] = []

    def enter(self) -> None:
        """Come in to change content, beside others. Waits while somebody is alone, or about to be."""
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
        """Go out, once for each `enter`."""
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
        """Come in to read: waits for nobody. Returns the period, which `unpin` wants back."""
        with self._lock:
            now = self._now
            self._readers[now] = self._readers.get(now, 0) + 1
            return now

    def unpin(self, period: int) -> None:
        """Go out: what was known inside is known no more."""
        with self._lock:
            left = self._readers[period] - 1
            if left:
                self._readers[period] = left
                return
            del self._readers[period]
        if self._retired:
            self._give_up()

    def retire(self, give_up: Callable[[], None]) -> None:
        """Call *give_up* when all who are here now are gone: at once when nobody is.

        Nothing tells of it any more to those who come from now on. It is called by whoever goes last, with no lock of
        the gate held.
        """
        with self._lock:
            self._retired.append((self._now, give_up))
            self._now += 1
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            # Who is alone does the retiring.
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
        """The only thread that changes anything: waits until all others are out, and lets none in meanwhile."""
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
    """One visit of a reader, as a context. Not a generator: it is entered for every read."""

    __slots__ = ("_gate", "_period")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._period = 0

    def __enter__(self) -> None:
        self._period = self._gate.pin()

    def __exit__(self, *_: object) -> None:
        self._gate.unpin(self._period)
