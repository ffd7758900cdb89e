"""The locks of one open image. `docs/concurrency.md` has the argument.

They are taken in this order, never in another: the gate (`LifeCycle.gate`), the turn to commit, the table lock.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vhdx.image.commits import Commits
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.naming import naming
from vhdx.image.underway import BlocksUnderWay


class Latches:
    """The locks of one file with blocks. *lock* is the table lock.

    While payload moves, only the gate is held, shared, so that the shape of the image cannot change.
    """

    __slots__ = ("_name", "blocks", "commits", "life", "lock")

    def __init__(self, life: LifeCycle, name: str) -> None:
        self._name = name
        self.life = life
        self.lock = threading.RLock()
        self.commits = Commits()
        self.blocks = BlocksUnderWay(self.lock)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Hold the table lock, to read or change tables and space in one step."""
        with self.lock, naming(self._name):
            yield

    def retire(self, free: Callable[[], None]) -> None:
        """Call *free* under the table lock once no thread can know what it frees any more; see `Gate.retire`."""

        def freed() -> None:
            with self.lock:
                free()

        self.life.gate.retire(freed)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold all locks for a change of shape: no other thread changes anything or reads tables."""
        with self.life.gate.alone(), self.commits.turn, self.lock, naming(self._name):
            yield
