"""Commits of one image: one at a time, and one for all who asked before it began."""

import threading
from collections.abc import Callable


class Commits:
    """The turn to commit. Who asks while a commit is under way waits for the next one, which serves all who wait."""

    __slots__ = ("_asked", "_count", "_served", "turn")

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self._count = threading.Lock()
        self._asked = 0
        self._served = 0

    def ask(self, commit: Callable[[], None]) -> None:
        """Return when a commit that began after this call is done; raises what the commit raises.

        What was done before is part of it. One that failed has served nobody: each who waits finds out for himself.
        """
        with self._count:
            self._asked += 1
            mine = self._asked
        with self.turn:
            if self._served >= mine:
                return
            # Whoever asked up to here has done before what he wants to be durable, and the commit begins now.
            covered = self._asked
            commit()
            self._served = covered
