"""Ownership of open files and connections: by process, and their release without `close`.

A forked process has copies of descriptors, tables and connections and must not use them: two processes that change one
file with two copies of its tables overwrite each other's blocks.

An object that is garbage-collected without `close` is released, but only by the process that opened it. The collector
may run in any thread, within any function. So a release that may block, on a lock or a server, runs in the current
thread only if that is not executing code of this package, which may hold the lock. Otherwise it runs in a new thread,
for which the interpreter waits at exit.
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
"""Replaces the id of the opening process after `close`."""

_PACKAGE = __name__.partition(".")[0]


def refusal(name: str, opener: int) -> Error:
    """The error for using *name*, opened by process *opener* or CLOSED, in this process."""
    if opener == CLOSED:
        return Error(f"{name}: closed; open it again")
    return Error(
        f"{name}: opened by process {opener} before a fork and cannot be used in process {os.getpid()}; close it there "
        "and open it here"
    )


def unless_closed(
    owner: object, name: str, release: Callable[[], None], *, waits: bool
) -> "weakref.finalize[..., object]":
    """Warn and call *release* when *owner* is garbage-collected or at exit, unless `detach` was called before.

    *waits*: *release* may block on a lock or a server. It must not reference *owner*.
    """
    return weakref.finalize(owner, _dropped, os.getpid(), name, release, waits=waits)


def _dropped(opener: int, name: str, release: Callable[[], None], *, waits: bool) -> None:
    if os.getpid() != opener:
        return
    try:
        warnings.warn(f"{name}: never closed", ResourceWarning, stacklevel=3)
    finally:  # also if warnings are errors
        if waits and _inside():
            _elsewhere(opener, release)
        else:
            release()


def _inside() -> bool:
    """Whether this thread is executing a function of this package, other than those of this module."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == _PACKAGE and module != __name__:
            return True
        frame = frame.f_back
    return False


def _elsewhere(opener: int, release: Callable[[], None]) -> None:
    """Call *release* in another thread. Not with `threading`, whose locks this thread may hold."""
    finished = _thread.allocate_lock()
    finished.acquire()

    def run() -> None:
        try:
            release()
        finally:
            finished.release()

    weakref.finalize(run, _wait, opener, finished)
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # no thread can be started: release at exit
        finished.release()
        weakref.finalize(sys, _late, opener, release)


def _wait(opener: int, finished: _thread.LockType) -> None:
    if os.getpid() == opener:  # a forked process does not have the thread
        finished.acquire()


def _late(opener: int, release: Callable[[], None]) -> None:
    if os.getpid() == opener:
        release()
