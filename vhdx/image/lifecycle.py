"""The life of one open image, which every format leads.

==========  =============================================================  ========================================
state       what it means                                                  what may follow
==========  =============================================================  ========================================
READING     opened for reading; every change is refused                    CLOSED
UNTOUCHED   opened for writing; not a byte of the file has changed         TOUCHED, BEGUN, POISONED, CLOSED
TOUCHED     the file has changed, the disk reads as before                 BEGUN, POISONED, CLOSED
BEGUN       the content of the disk may have changed                       TOUCHED, POISONED, CLOSED
POISONED    a write failed: nobody knows what reached the medium, so       CLOSED
            every change is refused, and closing writes nothing
CLOSED      settled, closed or abandoned; every change is refused          nothing
==========  =============================================================  ========================================

A VHDX is TOUCHED when its FileWriteGuid is another, BEGUN when its DataWriteGuid is, too. After a checkpoint it is
TOUCHED again: children may have been made over what it is now, so that another change has to be told. A VHD and a flat
image keep their ids, so they are BEGUN at once.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from vhdx.errors import Error, Poisoned, ReadOnly
from vhdx.image.gate import Gate
from vhdx.storage import ownership
from vhdx.storage.base import Storage


class State(Enum):
    """Where an image is in its life; the module's text says what each means."""

    READING = "reading"
    UNTOUCHED = "untouched"
    TOUCHED = "touched"
    BEGUN = "begun"
    POISONED = "poisoned"
    CLOSED = "closed"


FOLLOWING = {
    State.READING: {State.CLOSED},
    State.UNTOUCHED: {State.TOUCHED, State.BEGUN, State.POISONED, State.CLOSED},
    State.TOUCHED: {State.BEGUN, State.POISONED, State.CLOSED},
    State.BEGUN: {State.TOUCHED, State.POISONED, State.CLOSED},
    State.POISONED: {State.CLOSED},
    State.CLOSED: set(),
}
"""What may follow each state."""


class LifeCycle:
    """The state of one open image, and the gate that whoever changes it comes through."""

    __slots__ = ("_reason", "_storage", "gate", "state")

    def __init__(self, storage: Storage, *, under_construction: bool = False) -> None:
        self._storage = storage
        self._reason = ""
        self.gate = Gate()
        self.state = State.UNTOUCHED if storage.writable else State.READING
        if under_construction:
            self.enter(State.BEGUN)

    @property
    def is_changed(self) -> bool:
        """Whether there may be something to make durable."""
        return self.state is State.BEGUN or self.state is State.TOUCHED

    def enter(self, state: State) -> None:
        """Go over to *state*; staying is fine. Raises ValueError where it cannot follow."""
        if state is not self.state:
            if state not in FOLLOWING[self.state]:
                raise ValueError(f"{self._storage.name}: {state.value} cannot follow {self.state.value}")
            self.state = state

    def check_usable(self) -> None:
        """Raises ReadOnly or Poisoned, Error when it is closed."""
        match self.state:
            case State.CLOSED:
                raise ownership.refusal(self._storage.name, ownership.CLOSED)
            case State.READING:
                raise ReadOnly(f"{self._storage.name}: the image was opened for reading")
            case State.POISONED:
                raise Poisoned(f"{self._storage.name}: {self._reason}; close the image and open it again")
            case State.UNTOUCHED | State.TOUCHED | State.BEGUN:
                pass

    def fail(self, error: BaseException, what: str = "a write failed") -> None:
        """Poison the image: after *error* nobody knows what reached the medium."""
        if self.state not in (State.READING, State.CLOSED):
            self._reason = f"{what} ({str(error) or type(error).__name__})"
            self.enter(State.POISONED)

    @contextmanager
    def poisoning(self, kinds: tuple[type[BaseException], ...] = (OSError, Error)) -> Iterator[None]:
        """A failure in here, by default of the transport or of a check, poisons the image."""
        try:
            yield
        except kinds as error:
            self.fail(error)
            raise

    def end(self, finish: Callable[[], None]) -> None:
        """CLOSED, after *finish* where there may be something to make durable.

        Waits for changes that are under way; whoever comes later finds it closed.
        """
        with self.gate.alone():
            try:
                if self.is_changed:
                    finish()
            finally:
                self.state = State.CLOSED


class Owner:
    """The process that opened an image: it closes what is dropped without `close`, and no other process closes any."""

    def __init__(self, image: object, name: str, close: Callable[[], None] | None) -> None:
        """*close* closes what *image* leaves behind when it is dropped; it must not hold *image*."""
        self._opener = os.getpid()
        self._unclosed: weakref.finalize[..., object] | None = None
        if close is not None:
            self._unclosed = ownership.unless_closed(image, name, close, waits=True)

    @property
    def is_here(self) -> bool:
        """Whether this is that process, rather than one that was forked from it."""
        return self._opener == os.getpid()

    def let_go(self) -> None:
        """The image is being closed by whoever has it."""
        if self._unclosed is not None:
            self._unclosed.detach()
