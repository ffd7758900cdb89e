"""Commits of one image: one at a time; one commit serves all calls that were made before it began."""

import threading
from collections.abc import Callable


class Commits:
    """The turn to commit. Calls during a commit wait for the next one, which serves them all."""

    __slots__ = ("_asked", "_count", "_served", "turn")

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self._count = threading.Lock()
        self._asked = 0
        self._served = 0

    def ask(self, commit: Callable[[], None]) -> None:
        """Return when a commit that began after this call is done; raises what the commit raises.

        It includes everything that was done before the call. A commit that fails serves no call: each waiting one tries
        for itself.
        """
        with self._count:
            self._asked += 1
            mine = self._asked
        with self.turn:
            if self._served >= mine:
                return
            # All calls so far were made before the commit begins, so it includes their changes.
            covered = self._asked
            commit()
            self._served = covered
