"""Detects a dead server from verified messages, and from bytes that move in either direction.

After half the timeout without a verified message, an ECHO is sent; after another half, the server is dead. Bytes that
are received or acknowledged at a fair rate restart both, because on a slow link the ECHO, or its response, waits behind
them. This cannot go on for ever: each request has a deadline, and so has each message that is being received.

Slices of the timeout are counted and no clock is read: a clock that runs while this process is suspended would blame
the server.
"""

from enum import Enum

SLICES = 8
"""Number of slices in the timeout."""


class Verdict(Enum):
    """What to do after a slice."""

    WAIT = "wait"
    ASK = "ask"
    MUTE = "mute"  # the timeout is over, and no ECHO could be sent
    DEAD = "dead"


class Pulse:
    """Liveness of one server; a link on which *floor* bytes move in a slice carries data."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._silent = 0
        self._asked = False
        self._moved = 0

    def heard(self) -> None:
        """A verified message was received."""
        self._silent, self._asked = 0, False

    def asked(self) -> None:
        """An ECHO was sent."""
        self._silent, self._asked = 0, True

    def missed(self, moved: int) -> Verdict:
        """A slice is over; *moved* counts the bytes that were received or acknowledged so far.

        Returns ASK until an ECHO was sent, and MUTE if none could be sent for the full timeout.
        """
        self._silent += 1
        if moved - self._moved >= self._floor:
            self._silent = 0
        self._moved = moved
        if self._silent < SLICES // 2:
            return Verdict.WAIT
        if self._asked:
            return Verdict.DEAD
        return Verdict.ASK if self._silent < SLICES else Verdict.MUTE
