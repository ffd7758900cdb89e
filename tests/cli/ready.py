"""The commands in processes that need not load them: one process has done that, and forks for each run.

Such a run is as good as one of the installed script, with streams, directory, environment and signals of its own, and
takes a tenth of its time. Tests of what happens while a command is loaded run the script.
"""

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

_ROOT = Path(__file__).parent.parent.parent
_PROGRAMS = {"vhdx-inspect": "vhdx.cli.inspect", "vhdx-img": "vhdx.cli.img"}
_LATER = ("vhdx.storage.smb", "vhdx.cli.pictures", "rich.progress", "jinja2", "PIL.Image")
"""What is loaded by commands that need it."""
_ENCODING = {"LC_ALL": "C.UTF-8"}
_MOST = 1 << 17
"""Bytes of the longest request."""


class Ready:
    """That process."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.cli.ready", str(theirs.fileno())]
            environment = {"PATH": os.environ.get("PATH", os.defpath), **_ENCODING}
            self._process = subprocess.Popen(command, cwd=_ROOT, env=environment, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        """End it."""
        self._channel.close()
        self._process.wait()

    def run(
        self, words: Sequence[str], directory: Path, environment: Mapping[str, str], stdin: bytes, seconds: float
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a program to its end, which has to come within *seconds*."""
        inside, write = os.pipe()
        read_out, out = os.pipe()
        read_err, err = os.pipe()
        request = json.dumps([list(words), str(directory), dict(environment)]).encode()
        assert len(request) < _MOST
        socket.send_fds(self._channel, [request], [inside, out, err])
        for theirs in (inside, out, err):
            os.close(theirs)
        process = int(self._channel.recv(_MOST))
        try:
            streams = _exchange(write, stdin, [read_out, read_err], time.monotonic() + seconds)
        except BaseException:
            os.kill(process, signal.SIGKILL)
            raise
        finally:
            code = os.waitstatus_to_exitcode(int(self._channel.recv(_MOST)))
        return subprocess.CompletedProcess(list(words), code, *streams)


@cache
def ready() -> Ready:
    """The one of this process."""
    made = Ready()
    atexit.register(made.close)
    return made


def serves(environment: Mapping[str, str]) -> bool:
    """Whether what is loaded already would be loaded in the same way in *environment*."""
    return environment.items() >= _ENCODING.items() and not any(name.startswith("PYTHON") for name in environment)


def _exchange(write: int, data: bytes, reads: Sequence[int], deadline: float) -> list[bytes]:
    """Feed one pipe and drain the others, to their ends; all are closed."""
    left, found = memoryview(data), {read: bytearray() for read in reads}
    open_ones = {write, *reads}

    def done(descriptor: int) -> None:
        selector.unregister(descriptor)
        os.close(descriptor)
        open_ones.discard(descriptor)

    with selectors.DefaultSelector() as selector:
        try:
            selector.register(write, selectors.EVENT_WRITE)
            os.set_blocking(write, False)
            for read in reads:
                selector.register(read, selectors.EVENT_READ)
            while selector.get_map():
                events = selector.select(deadline - time.monotonic())
                if not events:
                    raise subprocess.TimeoutExpired("a command", 0)
                for descriptor in [key.fd for key, _ in events]:
                    if descriptor != write:
                        piece = os.read(descriptor, 1 << 20)
                        found[descriptor] += piece
                        if not piece:
                            done(descriptor)
                        continue
                    with suppress(BrokenPipeError):
                        left = left[os.write(write, left) :] if left else left
                        if left:
                            continue
                    done(write)
        finally:
            for descriptor in open_ones:
                os.close(descriptor)
    return [bytes(found[read]) for read in reads]


def _serve(channel: socket.socket) -> None:
    """Fork for each request: tell the process, and how it ended."""
    for program, module in _PROGRAMS.items():
        kind = "looking" if program == "vhdx-inspect" else "changing"
        for name in import_module(module).COMMANDS:
            import_module(f"vhdx.cli.{kind}.{name}")
    for module in _LATER:
        with suppress(ImportError):
            import_module(module)
    gc.freeze()
    while True:
        request, streams, _, _ = socket.recv_fds(channel, _MOST, 3)
        if not request:
            return
        child = os.fork()
        if not child:
            channel.close()
            _become(*json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        channel.send(str(child).encode())
        channel.send(str(os.waitpid(child, 0)[1]).encode())


def _become(words: list[str], directory: str, environment: dict[str, str], streams: list[int]) -> NoReturn:
    """The program itself, from what a new process has at its start to what Python does at its end."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = words
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors=errors, buffering=buffering)  # noqa: SIM115, PTH123
            for number, mode, errors, buffering in (
                (0, "r", "surrogateescape", -1),
                (1, "w", "surrogateescape", -1),
                (2, "w", "backslashreplace", 1),
            )
        )
        import_module(_PROGRAMS[words[0]]).main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  as Python does
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
