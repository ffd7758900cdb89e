"""The time that a server may take, on a clock that does not run while this process is suspended."""

import time

FLOOR = 64 << 10
"""Bytes per second: the slowest link that is supported."""


class Clock:
    """Seconds, counted by the one thread that calls `advance`, in steps of about *step* seconds.

    A step counts for at most two, however long it took: a process that was suspended does not blame the server.
    """

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self._step = step
        self._read = time.monotonic()

    def advance(self) -> bool:
        """Count the time since the last step; whether it was enough for another step."""
        read = time.monotonic()
        passed = read - self._read
        if passed < self._step * 0.75:  # the kernel's timeouts are coarse
            return False
        self._read = read
        self.now += min(passed, 2 * self._step)
        return True


def transfer_seconds(length: int) -> float:
    """The time that *length* bytes take on the slowest link."""
    return length / FLOOR
