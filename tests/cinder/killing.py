"""A volume service of a cloud that runs, to be killed and started again as it was."""

import json
import os
import re
import signal
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.cinder.cloud import Cloud
from tests.cinder.nodes import BACKENDS, NODE
from tests.cinder.processes import MARK, Record, _began
from tests.cinder.rest import Rest
from tests.cinder.waiting import until

_WORKER = b"smbfs_driver.worker.main"


class Work:
    """What a service does on the shares from now on, which can be frozen in the middle."""

    def __init__(self, service: "Service") -> None:
        self.service = service
        self._workers = service.workers()
        self._idle = self._switches()

    def _switches(self) -> int:
        """How often the threads have waited, which idle ones do not do anew."""
        states = [state.read_text() for pid in self._workers for state in Path(f"/proc/{pid}/task").glob("*/status")]
        counts = (re.search(r"(?m)^voluntary_ctxt_switches:\s+(\d+)", state) for state in states)
        return sum(int(count[1]) for count in counts if count)

    def done(self) -> int:
        """A measure of it."""
        return self._switches() - self._idle

    def freeze(self) -> None:
        """Nothing happens until `go_on` or `end`."""
        for pid in self._workers:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Whatever was frozen goes on."""
        for pid in self._workers:
            os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill the service, and what it had frozen."""
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        self.service.kill()


class Service:
    """cinder-volume of one host, by its record."""

    def __init__(self, cloud: Cloud, rest: Rest, host: str) -> None:
        self.host = host
        self._rest = rest
        self._record = Path(cloud.home, "run", f"cinder-volume-{host}.json")
        self._log = Path(cloud.home, "log", f"cinder-volume-{host}.log")
        self._pid = int(json.loads(self._record.read_text())["pid"])
        self._command, self._environment = self._read("cmdline"), self._read("environ")
        marks = tuple(f"{name}=".encode() for name in (MARK, NODE))
        self._marks = {entry for entry in self._environment if entry.startswith(marks)}

    def _read(self, what: str) -> list[bytes]:
        return Path(f"/proc/{self._pid}/{what}").read_bytes().rstrip(b"\0").split(b"\0")

    def kill(self) -> None:
        """Without a warning; what does its work on the shares ends by itself."""
        os.killpg(self._pid, signal.SIGKILL)
        until(lambda: not self.workers(), "the workers of the killed service end")

    def freeze(self) -> None:
        """Stop it where it is, but not what does its work on the shares. Only `kill` ends that."""
        os.killpg(self._pid, signal.SIGSTOP)

    def terminate(self) -> None:
        """Ask it to stop: its main process, which passes that on to its children, and the groups of its workers.

        Cinder's children do not get the signal from here: a second one ends them at once.
        """
        for pid in self.workers():
            os.killpg(pid, signal.SIGTERM)
            os.killpg(pid, signal.SIGINT)
        os.kill(self._pid, signal.SIGTERM)

    def wait_for_end(self) -> None:
        """Until no process of it is there any more."""
        until(lambda: not self._processes(), "the service ends")

    def workers(self) -> list[int]:
        """The processes that work on the shares for this service."""
        return self._processes(_WORKER)

    def _processes(self, command: bytes = b"") -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if command not in (entry / "cmdline").read_bytes() or _began(int(entry.name)) is None:
                    continue
                if self._marks <= set((entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return found

    def start(self) -> None:
        """Start it again, and wait until it has told of itself."""
        self.begin()
        began = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
        until(lambda: min(self._beats("up"), default="") > began, "the service is up again")

    def begin(self, *configurations: Path) -> subprocess.Popen[bytes]:
        """Start it again, with more files that say how it is configured."""
        more = [f"--config-file={path}".encode() for path in configurations]
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                [*self._command, *more],
                env=dict(entry.split(b"=", 1) for entry in self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = child.pid
        record = Record(self._record.stem, child.pid, _began(child.pid) or "", 1)
        self._record.write_text(json.dumps(asdict(record)))
        return child

    def wait_until_known_as_down(self) -> None:
        """Until Cinder has missed it."""
        until(lambda: len(self._beats("down")) == len(BACKENDS), "the service is known as down")

    def _beats(self, state: str) -> list[str]:
        """When its parts last told of themselves, if all of them are in that state."""
        services = self._rest.volume("GET", "/os-services?binary=cinder-volume")["services"]
        ours = [one for one in services if one["host"].partition("@")[0] == self.host]
        return [one["updated_at"] or "" for one in ours] if {one["state"] for one in ours} == {state} else []
