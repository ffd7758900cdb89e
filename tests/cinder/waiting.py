"""Waiting for what takes its time."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.cinder.processes import Processes

_PATIENCE = 120.0


def until(reached: Callable[[], bool], what: str, *, seconds: float = _PATIENCE, pause: float = 0.1) -> None:
    """Ask again and again. Raises TimeoutError naming *what*."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {seconds:.0f} s")
        time.sleep(pause)


def _until_ready(processes: Processes, name: str, reached: Callable[[], bool], what: str) -> None:
    try:
        until(reached, what)
    except TimeoutError as error:
        raise TimeoutError(f"{processes.tail(name)}\n{error}; its log is {processes.log(name)}") from None


def until_connected(processes: Processes, name: str, port: int) -> None:
    """Until a process takes connections. Raises Died where it ends before."""

    def connects() -> bool:
        processes.check(name)
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
        except OSError:
            return False
        return True

    _until_ready(processes, name, connects, f"{name} takes connections")


def until_answers(processes: Processes, name: str, url: str, status: int) -> None:
    """Until a process answers a request so. Raises Died where it ends before."""

    def answers() -> bool:
        processes.check(name)
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return bool(reply.status == status)
        except urllib.error.HTTPError as error:
            return error.code == status
        except OSError:
            return False

    _until_ready(processes, name, answers, f"{name} answers {status} on {url}")
