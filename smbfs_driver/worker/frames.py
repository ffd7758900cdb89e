"""Messages between the driver and its worker process: pickled values with a length prefix, over a trusted socket."""

import contextlib
import pickle
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("<Q")


class Frames:
    """One end of the socket. Any thread may send; only one may receive."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message. Raises OSError if the other end is closed."""
        data = pickle.dumps(message)
        with self._sending:
            self._connection.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        """Receive a message. Raises EOFError if the other end is closed."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))  # noqa: S301  the other end is trusted

    def close(self) -> None:
        """Close the socket; a receiver in another thread gets EOFError."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _exactly(self, length: int) -> bytes:
        buffer = bytearray()
        while len(buffer) < length:
            try:
                piece = self._connection.recv(min(length - len(buffer), 1 << 20))
            except OSError:  # includes that another thread closed this end
                piece = b""
            if not piece:
                raise EOFError("the other end is closed")
            buffer += piece
        return bytes(buffer)
