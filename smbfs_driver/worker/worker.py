"""The worker process of a backend, and the driver's side of the communication with it.

Under eventlet a Cinder service runs in one thread: hashing, bitmaps and copying would block its heartbeat, and the SMB
transport requires ordinary sockets. So a child process does the work with ordinary threads, and callers wait for it
cooperatively. It exits at once when its parent does; the journal on the share then recovers what was interrupted.
"""

import contextlib
import errno
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from smbfs_driver.shares.shares import Share
from smbfs_driver.worker.backend import Backend, Feed
from smbfs_driver.worker.frames import Frames

P = ParamSpec("P")
R = TypeVar("R")

REQUESTS_TO_STOP = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask the service to stop. The worker ignores them: the service first waits for running operations."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method of `Backend`; with *fed*, data for it follows."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    fed: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Data for a call: empty bytes end it, None aborts it. Each is acknowledged by a `Taken`."""

    number: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Acknowledges a `Data`."""

    number: int


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """The result of a call."""

    number: int
    value: Any
    error: Exception | None


class Worker:
    """The worker process of a backend; started on first use and restarted when it died."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = tuple(shares)
        self._starting = threading.Lock()
        self._child: _Child | None = None

    def call(self, method: Callable[Concatenate[Backend, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call a method of `Backend` in the worker. Raises what it raises, ConnectionError if the worker dies."""
        return cast(R, self._running().start(method.__name__, arguments, named, fed=False).outcome())

    def feed(
        self,
        method: Callable[Concatenate[Backend, Feed, P], R],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> "Fed":
        """Start a call that takes data; see `Fed`."""
        return Fed(self._running().start(method.__name__, arguments, named, fed=True))

    def close(self) -> None:
        """Kill the worker process; running calls are interrupted."""
        with self._starting:
            if self._child is not None:
                self._child.end()
                self._child = None

    def _running(self) -> "_Child":
        with self._starting:
            if self._child is None or not self._child.alive:
                self._child = _Child(self._shares)
            return self._child


class _Child:
    """A worker process."""

    def __init__(self, shares: Sequence[Share]) -> None:
        ours, theirs = socket.socketpair()
        with theirs, _blocked(REQUESTS_TO_STOP):
            # Credentials are sent through the socket, because others can read arguments and environment. With -P no
            # module is imported from the working directory, which others may be able to write to.
            self._process = subprocess.Popen(  # noqa: S603  contains no external input
                [sys.executable, "-P", "-m", "smbfs_driver.worker.main", str(theirs.fileno())],
                env=_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._frames = Frames(ours)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Any]] = {}
        self._lock = threading.Lock()
        self.alive = True
        self._frames.send(tuple(shares))
        threading.Thread(target=self._listen, name="smbfs worker", daemon=True).start()

    def start(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any], *, fed: bool) -> "_Running":
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        number = next(self._numbers)
        with self._lock:
            if not self.alive:
                raise _died()
            self._waiting[number] = answers
        running = _Running(self._frames, number, answers)
        running.send(Call(number, method, arguments, named, fed))
        return running

    def _listen(self) -> None:
        try:
            while True:
                message = self._frames.receive()
                with self._lock:
                    ends = isinstance(message, WorkerOutcome)
                    answers = self._waiting.pop(message.number) if ends else self._waiting[message.number]
                answers.put(message)
        except EOFError:
            pass
        with self._lock:
            self.alive = False
            lost = list(self._waiting.items())
            self._waiting.clear()
        for number, answers in lost:
            answers.put(WorkerOutcome(number, None, _died()))
        self._frames.close()
        self._process.wait()

    def end(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._frames.close()


@contextlib.contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread and, until it unblocks them, in a child process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Running:
    """A call that was sent."""

    def __init__(self, frames: Frames, number: int, answers: "queue.SimpleQueue[Any]") -> None:
        self._frames = frames
        self._answers = answers
        self.number = number

    def send(self, message: Any) -> None:
        try:
            self._frames.send(message)
        except OSError as error:
            raise _died() from error

    def answer(self) -> Any:
        return self._answers.get()

    def outcome(self) -> Any:
        return _result(self.answer())


class Fed:
    """A call that takes data; to be written within a ``with``, which waits for the call to end."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._outcome: WorkerOutcome | None = None

    def write(self, data: bytes) -> int:
        """Send data and wait for its acknowledgement. Raises what the call raises."""
        if data:
            self._give(data)
        if self._outcome is not None:
            _result(self._outcome)
        return len(data)

    def _give(self, data: bytes | None) -> None:
        self._running.send(Data(self._running.number, data))
        answer = self._running.answer()
        if isinstance(answer, WorkerOutcome):
            self._outcome = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the data, or abort on an exception; raises what the call raises, unless there is an exception."""
        if self._outcome is None:
            self._give(b"" if kind is None else None)
        while self._outcome is None:
            answer = self._running.answer()
            self._outcome = answer if isinstance(answer, WorkerOutcome) else None
        if kind is None:
            _result(self._outcome)


def _result(outcome: WorkerOutcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _environment() -> dict[str, str]:
    """The environment without empty entries in PYTHONPATH: Python takes each for the working directory."""
    environment = dict(os.environ)
    if "PYTHONPATH" in environment:
        places = environment.pop("PYTHONPATH").split(os.pathsep)
        if kept := [place for place in places if place]:
            environment["PYTHONPATH"] = os.pathsep.join(kept)
    return environment


def _died() -> ConnectionResetError:
    reason = "the worker process of this backend died; interrupted operations are recovered on its next use"
    return ConnectionResetError(errno.ECONNRESET, reason)
