"""The volume service of a cloud that runs, to be killed and started again as it was."""

import json
import os
import signal
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.cinder.cloud import Cloud
from tests.cinder.processes import MARK, Record, _began
from tests.cinder.rest import Rest
from tests.cinder.volume_service import BACKENDS
from tests.cinder.waiting import until

_WORKER = b"smbfs_driver.worker_main"


class Service:
    """cinder-volume, by its record."""

    def __init__(self, cloud: Cloud, rest: Rest) -> None:
        self._rest = rest
        self._record = Path(cloud.home, "run", "cinder-volume.json")
        self._log = Path(cloud.home, "log", "cinder-volume.log")
        self._pid = int(json.loads(self._record.read_text())["pid"])
        self._command, self._environment = self._read("cmdline"), self._read("environ")
        self._mark = next(entry for entry in self._environment if entry.startswith(f"{MARK}=".encode()))

    def _read(self, what: str) -> list[bytes]:
        return Path(f"/proc/{self._pid}/{what}").read_bytes().rstrip(b"\0").split(b"\0")

    def kill(self) -> None:
        """Without a warning; what does its work on the shares ends by itself."""
        os.killpg(self._pid, signal.SIGKILL)
        until(lambda: not self.workers(), "the workers of the killed service end")

    def workers(self) -> list[int]:
        """The processes that work on the shares for this service."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes()
                if _WORKER in command and self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return found

    def start(self) -> None:
        """Start it again, and wait until it has told of itself."""
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                self._command,
                env=dict(entry.split(b"=", 1) for entry in self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = child.pid
        record = Record("cinder-volume", child.pid, _began(child.pid) or "", 1)
        self._record.write_text(json.dumps(asdict(record)))
        began = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")

        def up() -> bool:
            services = self._rest.volume("GET", "/os-services?binary=cinder-volume")["services"]
            beats = {one["host"]: one["updated_at"] or "" for one in services if one["state"] == "up"}
            return all(beats.get(f"host-1@{backend}", "") > began for backend in BACKENDS)

        until(up, "the service is up again")
