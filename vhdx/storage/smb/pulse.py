"""Detects a dead server from received data and TCP acknowledgements.

After half the timeout without data, an ECHO is sent; after another half, the server is dead. Bytes that the peer's
kernel acknowledges restart both, because on a slow link the ECHO waits behind them. This cannot go on for ever: without
responses there are no credits to send more.

Slices of the timeout are counted and no clock is read: a clock that runs while this process is suspended would blame
the server.
"""

from collections.abc import Hashable
from enum import Enum

SLICES = 8
"""Number of slices in the timeout."""


class Verdict(Enum):
    """What to do after a slice without data."""

    WAIT = "wait"
    ASK = "ask"
    DEAD = "dead"


class Pulse:
    """Liveness of one server."""

    def __init__(self) -> None:
        self._silent = 0
        self._asked = False
        self._progress: Hashable = None

    def heard(self) -> None:
        """Data was received."""
        self._silent, self._asked = 0, False

    def asked(self) -> None:
        """An ECHO was sent."""
        self._silent, self._asked = 0, True

    def missed(self, progress: Hashable) -> Verdict:
        """No data was received for a slice; *progress* changes whenever the peer acknowledges bytes.

        Returns ASK until an ECHO was sent. A server to which none can be sent is dead after the full timeout.
        """
        self._silent += 1
        if progress != self._progress:
            self._progress, self._silent = progress, 0
        if self._silent < SLICES // 2:
            return Verdict.WAIT
        return Verdict.DEAD if self._asked or self._silent >= SLICES else Verdict.ASK
