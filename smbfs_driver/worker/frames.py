"""Messages between the driver and its worker: pickled values behind their length, over a socket that both trust."""

import contextlib
import pickle
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("<Q")


class Frames:
    """One end of the socket. Any thread may send; one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send one message. Raises OSError when the other end is gone."""
        data = pickle.dumps(message)
        with self._sending:
            self._connection.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other end is gone."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))  # noqa: S301  the other end is this program

    def close(self) -> None:
        """Give the socket up; a receiver in another thread ends."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _exactly(self, length: int) -> bytes:
        buffer = bytearray()
        while len(buffer) < length:
            try:
                piece = self._connection.recv(min(length - len(buffer), 1 << 20))
            except OSError:  # also that this end was closed, by another thread
                piece = b""
            if not piece:
                raise EOFError("the other end is gone")
            buffer += piece
        return bytes(buffer)
