"""The blocks of an image to which payload is being written."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class UnderWay:
    """One block, its place in the file, and its number of writers.

    *is_taken*: the space was allocated for them, and the table does not refer to it yet. *is_open*: more writers may
    join, because previous bytes there are zeros, or hidden until a bit is set.
    """

    place: int
    is_taken: bool
    is_open: bool
    writers: int = 0


class BlocksUnderWay:
    """The blocks, by number. All methods are called under the table lock, and waiting releases it."""

    def __init__(self, lock: threading.RLock) -> None:
        self._left = threading.Condition(lock)
        self._blocks: dict[int, UnderWay] = {}

    def wait_for_all(self, blocks: Iterable[int]) -> None:
        """Wait until payload may be written to all of *blocks*; holds none meanwhile, so writers cannot deadlock."""
        wanted = list(blocks)
        while any(block in self._blocks and not self._blocks[block].is_open for block in wanted):
            self._left.wait()

    def is_idle(self, block: int) -> bool:
        """Whether no payload is being written to the block."""
        return block not in self._blocks

    def wait(self) -> None:
        """Wait until a writer has left some block."""
        self._left.wait()

    def join(self, block: int, begin: Callable[[], UnderWay]) -> UnderWay:
        """Add a writer to a block; *begin* allocates its place if there is none yet."""
        found = self._blocks.get(block)
        if found is None:
            found = self._blocks[block] = begin()
        found.writers += 1
        return found

    def adopted(self, block: int) -> None:
        """The table refers to the place from now on."""
        found = self._blocks[block]
        found.is_taken = False
        if not found.is_open:
            found.is_open = True
            self._left.notify_all()

    def leave(self, block: int) -> int | None:
        """Remove a writer. Returns the place to be freed, if it was the last one and the table does not refer to it."""
        found = self._blocks[block]
        found.writers -= 1
        if found.writers:
            return None
        del self._blocks[block]
        self._left.notify_all()
        return found.place if found.is_taken else None
