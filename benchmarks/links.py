"""A connection as fast as a network cable: a relay on the loopback interface that lets so much through each second.

And as far away: what comes in leaves after a delay, however much is on its way.
"""

import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue

_PIECE = 64 << 10
_AHEAD = 0.005
"""Seconds of traffic that may go ahead of its time, as into the buffers of a network card."""


@contextmanager
def link(host: str, port: int, bits_per_second: float, *, delay: float = 0) -> Iterator[int]:
    """The port, on the loopback interface, of a relay to a server; each direction has its own rate.

    *delay*: the seconds that each direction takes.
    """
    # A process of its own, so that it takes no time from the client's.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, host, port, bits_per_second / 8, delay), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection, host: str, port: int, rate: float, delay: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told.send(listener.getsockname()[1])
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, port))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, server), (server, client)):
                under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                threading.Thread(target=_take, args=(pair[0], under_way, rate, delay), daemon=True).start()
                threading.Thread(target=_pass_on, args=(*pair, under_way), daemon=True).start()


def _take(source: socket.socket, under_way: "SimpleQueue[tuple[float, bytes]]", rate: float, delay: float) -> None:
    """What comes in, with the moment at which it is at the other end; nothing (b"") is the end."""
    due = time.monotonic()
    data = b"more"
    while data:
        try:
            data = source.recv(_PIECE)
        except OSError:
            data = b""
        due = max(due, time.monotonic() - _AHEAD) + len(data) / rate
        under_way.put((max(due, time.monotonic()) + delay, data))


def _pass_on(source: socket.socket, target: socket.socket, under_way: "SimpleQueue[tuple[float, bytes]]") -> None:
    try:
        while True:
            due, data = under_way.get()
            time.sleep(max(due - time.monotonic(), 0))
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # Whichever side went away: the other is to hear of it.
        source.close()
        target.close()
