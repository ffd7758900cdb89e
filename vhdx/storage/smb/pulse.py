"""Whether the other side still lives, told from what comes and from what it acknowledges.

Half the timeout without a sign, and it is asked for one; another half without, and it is dead. Bytes that the peer's
kernel acknowledges put both off, because on a slow line the question itself waits behind them; that cannot go on
for ever, since without answers there are no credits to send more.

Slices of the timeout are counted and no clock is read: one that ran on while this process stood still would blame
the peer.
"""

from collections.abc import Hashable
from enum import Enum

SLICES = 8
"""How many make up the timeout."""


class Verdict(Enum):
    """What to do about a silence."""

    WAIT = "wait"
    ASK = "ask"
    DEAD = "dead"


class Pulse:
    """Signs of life of one peer."""

    def __init__(self) -> None:
        self._silent = 0
        self._asked = False
        self._progress: Hashable = None

    def heard(self) -> None:
        """Something came."""
        self._silent, self._asked = 0, False

    def asked(self) -> None:
        """The peer was asked for a sign of life."""
        self._silent, self._asked = 0, True

    def missed(self, progress: Hashable) -> Verdict:
        """Nothing came for a slice; *progress* changes whenever the peer acknowledges something.

        ASK comes again until the question could be put; a peer that cannot even be asked is dead in the end too.
        """
        self._silent += 1
        if progress != self._progress:
            self._progress, self._silent = progress, 0
        if self._silent < SLICES // 2:
            return Verdict.WAIT
        return Verdict.DEAD if self._asked or self._silent >= SLICES else Verdict.ASK
