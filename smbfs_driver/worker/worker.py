"""A process of its own for the work on shares, and the driver's side of it.

Under eventlet everything in a Cinder service shares one thread: hashing, bitmaps and copying would keep it from its
heartbeat, and its green sockets are not those that the SMB transport is made for. So a child does the work, with
ordinary threads, and whoever waits for it here lets everything else run. It ends with its parent, at once: what it was
doing then is settled by the journal on the share, as after any other stop.
"""

import errno
import itertools
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from smbfs_driver.shares.shares import Share
from smbfs_driver.worker.backend import Backend, Feed
from smbfs_driver.worker.frames import Frames

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call:
    """A method of `Backend` to be run; with *fed*, data for it follows."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    fed: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes for a call that is fed: empty ones end them, None breaks them off. Each is answered by a `Taken`."""

    number: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Taken:
    """The worker wants more data."""

    number: int


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """What came of a call."""

    number: int
    value: Any
    error: Exception | None


class Worker:
    """The child process of one backend: started when first needed, and again when it was lost."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = tuple(shares)
        self._starting = threading.Lock()
        self._child: _Child | None = None

    def call(self, method: Callable[Concatenate[Backend, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Run a method of `Backend` over there. Raises what it raises, ConnectionError when the child dies."""
        return cast(R, self._running().start(method.__name__, arguments, named, fed=False).outcome())

    def feed(
        self,
        method: Callable[Concatenate[Backend, Feed, P], R],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> "Fed":
        """Begin a method that takes data; see `Fed`."""
        return Fed(self._running().start(method.__name__, arguments, named, fed=True))

    def close(self) -> None:
        """End the child; what it does is stopped."""
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
    """One life of the process."""

    def __init__(self, shares: Sequence[Share]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # The accounts go through the socket: neither arguments nor environment are for secrets.
            self._process = subprocess.Popen(  # noqa: S603  nothing in it comes from elsewhere
                [sys.executable, "-m", "smbfs_driver.worker.main", str(theirs.fileno())],
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
    """A call that takes data, written inside a ``with``, whose end waits for that of the call."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._outcome: WorkerOutcome | None = None

    def write(self, data: bytes) -> int:
        """More data; waits until it was taken. Raises what the call raises."""
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
        """End the data, or say that there is no more to be had; raises what the call raises, if nothing else was."""
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


def _died() -> ConnectionResetError:
    reason = "the worker process of this backend died; what it was doing is settled when it is next used"
    return ConnectionResetError(errno.ECONNRESET, reason)
