"""The blocks of an image that payload is going to."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class UnderWay:
    """One block, and how many writers put payload there.

    *is_taken*: the place was handed out for them, and the table does not name it yet. *is_open*: others may put payload
    there, too, since what is under it reads as zeros or is hidden until a bit is set.
    """

    place: int
    is_taken: bool
    is_open: bool
    writers: int = 0


class BlocksUnderWay:
    """By number. All of it is called, and waits, under the lock of the tables."""

    def __init__(self, lock: threading.RLock) -> None:
        self._left = threading.Condition(lock)
        self._blocks: dict[int, UnderWay] = {}

    def wait_for_all(self, blocks: Iterable[int]) -> None:
        """Wait until payload may go to each of *blocks*. Nothing is held meanwhile, so none wait for each other."""
        wanted = list(blocks)
        while any(block in self._blocks and not self._blocks[block].is_open for block in wanted):
            self._left.wait()

    def is_idle(self, block: int) -> bool:
        """Whether nobody puts payload there."""
        return block not in self._blocks

    def wait(self) -> None:
        """Wait until somebody is done with some block."""
        self._left.wait()

    def join(self, block: int, begin: Callable[[], UnderWay]) -> UnderWay:
        """One writer more for a block; *begin* says where it goes, if nobody is there."""
        found = self._blocks.get(block)
        if found is None:
            found = self._blocks[block] = begin()
        found.writers += 1
        return found

    def place(self, block: int) -> int:
        """Where a block goes that the caller has joined."""
        return self._blocks[block].place

    def adopted(self, block: int) -> None:
        """The table names the place from now on."""
        found = self._blocks[block]
        found.is_taken = False
        if not found.is_open:
            found.is_open = True
            self._left.notify_all()

    def leave(self, block: int) -> int | None:
        """One writer less. Returns the place of a block that is left by its last one before the table names it."""
        found = self._blocks[block]
        found.writers -= 1
        if found.writers:
            return None
        del self._blocks[block]
        self._left.notify_all()
        return found.place if found.is_taken else None
