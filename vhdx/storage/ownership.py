"""Which process may use what is open, and what becomes of it when nobody closes it.

A process that comes out of `fork` has copies of the descriptors, tables and connections of the other, and must use
none of them: two processes that change one file from two copies of its tables overwrite each other's blocks.

What is dropped without `close` is given back all the same, by the process that opened it and by no other. The garbage
collector may find it in any thread, in the middle of any function. So whatever may wait, for a lock or for a server,
is done at once only where this thread is not inside this package, whose code may hold what would be waited for; else
a thread of its own does it, and an interpreter that exits waits for that.
"""

import _thread
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from types import FrameType

from vhdx.errors import Error

CLOSED = -1
"""Stands in place of the process that opened something, once it is closed."""

_PACKAGE = __name__.partition(".")[0]


def refusal(name: str, opener: int) -> Error:
    """Why this process may not use *name*, which process *opener* opened or which is CLOSED."""
    if opener == CLOSED:
        return Error(f"{name}: it is closed; open it again")
    return Error(
        f"{name}: it was opened by process {opener}, before a fork, and works in no other; open it in this one "
        f"(process {os.getpid()}) when it is closed there"
    )


def unless_closed(
    owner: object, name: str, give_back: Callable[[], None], *, waits: bool
) -> "weakref.finalize[..., object]":
    """Warn and call *give_back* when *owner* is dropped or the interpreter exits; unless `detach` was called before.

    *waits*: it may wait for a lock or a server. It must not hold *owner*.
    """
    return weakref.finalize(owner, _dropped, os.getpid(), name, give_back, waits=waits)


def _dropped(opener: int, name: str, give_back: Callable[[], None], *, waits: bool) -> None:
    if os.getpid() != opener:
        return
    try:
        warnings.warn(f"{name}: it was never closed", ResourceWarning, stacklevel=3)
    finally:  # where warnings are errors, too
        if waits and _inside():
            _elsewhere(opener, give_back)
        else:
            give_back()


def _inside() -> bool:
    """Whether a function of this package, other than those here, is under way in this thread."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == _PACKAGE and module != __name__:
            return True
        frame = frame.f_back
    return False


def _elsewhere(opener: int, give_back: Callable[[], None]) -> None:
    """Let another thread do it. Not `threading`: its locks may be held right here."""
    finished = _thread.allocate_lock()
    finished.acquire()

    def run() -> None:
        try:
            give_back()
        finally:
            finished.release()

    weakref.finalize(run, _wait, opener, finished)
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # no thread can be had: when the interpreter exits it has to be possible here
        finished.release()
        weakref.finalize(sys, _late, opener, give_back)


def _wait(opener: int, finished: _thread.LockType) -> None:
    if os.getpid() == opener:  # no thread comes along with a fork
        finished.acquire()


def _late(opener: int, give_back: Callable[[], None]) -> None:
    if os.getpid() == opener:
        give_back()
