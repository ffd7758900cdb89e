"""What keeps the threads that use one open image apart. `docs/concurrency.md` has the argument.

In this order, never the other way round: the gate (`LifeCycle.gate`), the turn to commit, the lock of the tables.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vhdx.image.commits import Commits
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.naming import naming
from vhdx.image.underway import BlocksUnderWay


class Latches:
    """The locks of one file with blocks.

    Payload moves with none of them held; only the gate is, shared, so that nobody changes the shape of the image
    meanwhile.
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
        """Tables and space as they are between two steps, to be looked at or changed in one."""
        with self.lock, naming(self._name):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A change of shape: nobody else changes anything, or looks at tables."""
        with self.life.gate.alone(), self.commits.turn, self.lock, naming(self._name):
            yield
