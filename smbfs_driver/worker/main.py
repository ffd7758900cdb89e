"""The worker process of `smbfs_driver.worker.worker`: runs the calls that it receives until the socket is closed."""

import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from smbfs_driver.shares.connections import by_smb
from smbfs_driver.worker.backend import Backend
from smbfs_driver.worker.frames import Frames
from smbfs_driver.worker.worker import REQUESTS_TO_STOP, Call, Data, Taken, WorkerOutcome
from vhdx.errors import Error
from vhdx.storage.smb import SmbPool


class _Calls:
    """The running calls, each in its own thread."""

    def __init__(self, frames: Frames, backend: Backend) -> None:
        self._frames = frames
        self._backend = backend
        self._feeds: dict[int, queue.SimpleQueue[bytes | None]] = {}

    def take(self, message: Call | Data) -> None:
        """Start a call, or pass data to a running one."""
        if isinstance(message, Call):
            if message.fed:
                self._feeds[message.number] = queue.SimpleQueue()
            threading.Thread(target=self._run, args=(message,), daemon=True).start()
        elif message.number in self._feeds:
            self._feeds[message.number].put(message.data)

    def _run(self, call: Call) -> None:
        arguments = (self._feed_of(call.number), *call.arguments) if call.fed else call.arguments
        value, error = None, None
        try:
            value = getattr(self._backend, call.method)(*arguments, **call.named)
        except Exception as raised:  # noqa: BLE001  every exception is sent to the caller
            error = _sendable(raised)
        self._feeds.pop(call.number, None)
        self._frames.send(WorkerOutcome(call.number, value, error))

    def _feed_of(self, number: int) -> Callable[[], bytes]:
        waiting = self._feeds[number]

        def feed() -> bytes:
            data = waiting.get()
            self._frames.send(Taken(number))
            if data is None:
                raise Error("upload aborted by sender")
            return data

        return feed


def _sendable(error: Exception) -> Exception:
    """*error* if it can be pickled, else an Error with its text. Its causes are not sent."""
    try:
        copy: Any = pickle.loads(pickle.dumps(error))  # noqa: S301  pickled on the same line
    except Exception:  # noqa: BLE001  any failure to pickle
        return Error(f"{type(error).__name__}: {error}")
    return error if str(copy) == str(error) else Error(str(error))


def main(descriptor: int) -> NoReturn:
    """Serve the socket *descriptor*. The first message contains the shares, all others calls and their data."""
    for number in REQUESTS_TO_STOP:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS_TO_STOP)
    connection = socket.socket(fileno=descriptor)
    connection.settimeout(None)  # a socket created under eventlet is non-blocking
    frames = Frames(connection)
    try:
        calls = _Calls(frames, Backend(frames.receive(), by_smb(SmbPool())))
        while True:
            calls.take(frames.receive())
    except EOFError:
        # Nobody waits for the running calls any more; the journal recovers them.
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
