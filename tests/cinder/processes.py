"""Processes that run in sessions of their own, each known by its pid and the moment it began, and how they end.

All of them, and all that they start, carry a mark in their environment, so that what slipped out of its process group
is found as well.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

MARK = "VHDX_CINDER_RUN"
_PATIENCE = 15.0
_TAIL = 25


class Died(Exception):
    """A process that should run does not; the text ends with what it said last."""


@dataclass(frozen=True, slots=True)
class Record:
    """One process: its name, its pid, when it began in ticks since the start of the machine, and its turn to end."""

    name: str
    pid: int
    began: str
    turn: int

    @property
    def runs(self) -> bool:
        """Whether it is still that process."""
        return _began(self.pid) == self.began

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group."""
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Processes:
    """What was started with a work directory, written down there so that anybody can end it."""

    def __init__(self, records: Path, logs: Path) -> None:
        self._records = records
        self._logs = logs
        self._started: dict[str, Record] = {}
        self._children: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        turn: int = 0,
    ) -> None:
        """Start one in its own session, output to its log. Those with the higher *turn* end first."""
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        record = Record(name, child.pid, _began(child.pid) or "", turn)
        (self._records / f"{name}.json").write_text(json.dumps(asdict(record)))
        self._started[name] = record

    def run(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Run one to its end. Raises RuntimeError with the end of its log where it fails."""
        with self.log(name).open("ab") as log:
            done = subprocess.run(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{self.tail(name)}\n{name} failed; its log is {self.log(name)}")

    def check(self, name: str) -> None:
        """Raises Died, with the end of its log, where a process has ended."""
        if not self._started[name].runs:
            raise Died(f"{self.tail(name)}\n{name} ended; its log is {self.log(name)}")

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._logs / f"{name}.log"

    def tail(self, name: str) -> str:
        """What it wrote last."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-_TAIL:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.wait()


def end_all(records: Path, mark: str) -> None:
    """End what is written down, the last turn first, then whatever else carries the mark."""
    known = [Record(**json.loads(path.read_text())) for path in records.glob("*.json")]
    for turn in sorted({record.turn for record in known}, reverse=True):
        _end([record for record in known if record.turn == turn])
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """The pids of the processes that carry a mark, without the caller."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and _began(int(entry.name)):
                    found.append(int(entry.name))
    return found


def _end(records: Iterable[Record]) -> None:
    left = list(records)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for record in left:
            record.signal(number)
        deadline = time.monotonic() + _PATIENCE
        while (left := [record for record in left if record.runs]) and time.monotonic() < deadline:
            time.sleep(0.05)


def _began(pid: int) -> str | None:
    """When a process began; None where it runs no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
