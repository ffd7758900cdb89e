"""A relay between a client and a server that sees every SMB message and may hold, drop, replace or cut it.

It knows nothing of keys: signatures and encryption pass through as they are.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Self

_LENGTH = 4


class Frame(NamedTuple):
    """One message on its way, without the length in front of it."""

    from_client: bool
    data: bytes

    @property
    def encrypted(self) -> bool:
        return self.data[:4] == b"\xfdSMB"

    @property
    def signed(self) -> bool:
        return not self.encrypted and bool(self.data[16] & 0x08)

    @property
    def command(self) -> int | None:
        return None if self.encrypted else self.data[12]

    @property
    def status(self) -> int:
        return int.from_bytes(self.data[8:12], "little")

    @property
    def number(self) -> int:
        return int.from_bytes(self.data[24:32], "little")

    def answered(self, status: int, body: bytes = bytes.fromhex("090000000000000000")) -> bytes:
        """This answer with another status and body and without a signature, as from a server that lost its keys."""
        header = bytearray(self.data[:64])
        header[8:12] = status.to_bytes(4, "little")
        header[16] &= ~0x08
        header[48:64] = bytes(16)
        return bytes(header) + body


class Verdict(Enum):
    """What becomes of a message."""

    PASS = "pass"
    SWALLOW = "swallow"
    HOLD = "hold"  # until `Relay.release`
    CUT = "cut"  # half of it arrives, then the connection ends
    HANG_UP = "hang up"
    IGNORE = "ignore"  # nothing more is read from who sent it


class Raw(NamedTuple):
    """Bytes as they are, without a length in front, in *pieces* with a *pause* of seconds after each."""

    data: bytes
    pieces: int | None = None
    pause: float = 0.0


class Flood(NamedTuple):
    """Messages without end."""

    data: bytes


Ruling = Verdict | bytes | Raw | Flood | list[bytes]
Rule = Callable[[Frame], Ruling]
"""Decides about a message; bytes take its place, and so does each message of a list."""


def everything(frame: Frame) -> Verdict:
    """The rule that lets all messages pass."""
    return Verdict.PASS


class Relay:
    """Listens on a loopback port for a server on *port*; use it in a ``with``."""

    def __init__(self, port: int) -> None:
        self.rule: Rule = everything
        self.trickle: int | None = None  # pass answers on in pieces of so many bytes, five a second
        self.seen: list[Frame] = []  # the first bytes of every message
        self._port = port
        self._lock = threading.Lock()
        self._held: list[tuple[_End, bytes]] = []
        self._ends: list[_End] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._ends) // 2

    def release(self) -> None:
        """Send on what was held."""
        with self._lock:
            held, self._held = self._held, []
        for target, data in held:
            with contextlib.suppress(OSError):
                target.put(data)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = _End(self._listener.accept()[0])
                server = _End(socket.create_connection(("127.0.0.1", self._port)))
                self._ends += [client, server]
                self._start(self._pump, client, server, True)
                self._start(self._pump, server, client, False)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: "_End", target: "_End", from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while (data := source.get()) is not None:
                self.seen.append(Frame(from_client, data[:80]))
                verdict = self.rule(Frame(from_client, data))
                if verdict is Verdict.IGNORE:
                    return
                if verdict is Verdict.HANG_UP:
                    break
                if verdict is Verdict.CUT:
                    target.put(data, len(data) // 2)
                    break
                if isinstance(verdict, Raw):
                    target.put_raw(verdict)
                    continue
                if isinstance(verdict, list):
                    for message in verdict:
                        target.put(message)
                    continue
                while isinstance(verdict, Flood):
                    target.put(verdict.data)
                if verdict is Verdict.HOLD:
                    with self._lock:
                        self._held.append((target, data))
                elif verdict is not Verdict.SWALLOW:
                    target.put(verdict if isinstance(verdict, bytes) else data, pieces=self.trickle)
        source.hang_up()
        target.hang_up()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for end in self._ends:
            end.hang_up()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        for end in self._ends:
            end.close()


class _End:
    """One of the two sockets of a relayed connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._putting = threading.Lock()

    def get(self) -> bytes | None:
        head = self._take(_LENGTH)
        return None if head is None else self._take(int.from_bytes(head, "big"))

    def _take(self, length: int) -> bytes | None:
        data = bytearray()
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                return None
            data += part
        return bytes(data)

    def put(self, data: bytes, length: int | None = None, *, pieces: int | None = None) -> None:
        message = len(data).to_bytes(_LENGTH, "big") + data[:length]
        with self._putting:
            if pieces is None:
                self._socket.sendall(message)
                return
            for start in range(0, len(message), pieces):
                self._socket.sendall(message[start : start + pieces])
                time.sleep(0.2)

    def put_raw(self, raw: Raw) -> None:
        with self._putting:
            step = raw.pieces or max(len(raw.data), 1)
            for start in range(0, len(raw.data), step):
                self._socket.sendall(raw.data[start : start + step])
                time.sleep(raw.pause)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()
