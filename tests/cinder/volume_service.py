"""Cinder: API, scheduler, and one volume service with two backends."""

import os
import re
import shutil
from pathlib import Path

from tests.cinder.environments import Environments
from tests.cinder.infrastructure import SYSTEM_PATH, THREADS, environment
from tests.cinder.processes import Processes
from tests.cinder.rest import Rest
from tests.cinder.waiting import until, until_answers
from tests.cinder.workplace import Workplace

BACKENDS = ("vhdx", "vhd")
POOLS = {"host-1@vhdx#share1", "host-1@vhdx#share2", "host-1@vhd#encrypted"}
_SERVICES = ("cinder-api", "cinder-scheduler", "cinder-volume")
_SUDO = """\
#!/bin/sh
# Cinder asks for root by this name, and is root already.
while :; do case $1 in -*) shift ;; *) break ;; esac; done
exec "$@"
"""


class VolumeService:
    """Cinder of one work directory."""

    def __init__(self, place: Workplace, processes: Processes, environments: Environments) -> None:
        self._place = place
        self._processes = processes
        self._environment = environments.cinder
        self._tenant = place.etc / "tenant.conf"
        self._tenant.touch()
        self._configuration = place.render(
            "cinder.conf",
            port=str(place.ports["volume"]),
            broker=str(place.ports["broker"]),
            images=place.url("image"),
            database=place.database("cinder"),
            programs=str(self._programs),
        )
        self._copy_files()

    @property
    def _programs(self) -> Path:
        return self._environment / "bin"

    def _copy_files(self) -> None:
        """What the package brings, with its paths set right."""
        etc = self._place.etc
        shutil.copytree(self._environment / "etc" / "cinder", etc / "cinder")
        for name, setting, value in (
            ("api-paste.ini", "disable_by_file_path", str(etc / "disable")),
            ("rootwrap.conf", "filters_path", f"{etc}/cinder/rootwrap.d,{self._environment}/etc/os-brick/rootwrap.d"),
            ("rootwrap.conf", "exec_dirs", f"{self._programs},/sbin,/usr/sbin,/bin,/usr/bin,/usr/local/bin"),
        ):
            path = etc / "cinder" / name
            path.write_text(re.sub(rf"(?m)^{setting} *=.*$", f"{setting} = {value}", path.read_text()))
        sudo = etc / "bin" / "sudo"
        sudo.parent.mkdir()
        sudo.write_text(_SUDO)
        sudo.chmod(0o755)

    def _command(self, program: str) -> list[str | Path]:
        files = ["--config-file", self._configuration, "--config-file", self._tenant]
        return [self._programs / program, *files]

    def _settings(self) -> dict[str, str]:
        path = os.pathsep.join([str(self._place.etc / "bin"), str(self._programs), SYSTEM_PATH])
        return environment(self._place) | {"PATH": path, "OS_CINDER_CONFIG_DIR": str(self._place.etc / "cinder")}

    def fill(self) -> None:
        """Make its database and its directories."""
        for name in ("conversion", "locks", "coordination"):
            (self._place.state / name).mkdir()
        self._processes.run("cinder-manage", [*self._command("cinder-manage"), "db", "sync"], self._settings())

    def start(self, project: str, user: str) -> None:
        """Start its services; the cached images belong to that user in that project."""
        lines = {"project": project, "user": user}
        settings = [f"cinder_internal_tenant_{what}_id = {value}\n" for what, value in lines.items()]
        self._tenant.write_text("[DEFAULT]\n" + "".join(settings))
        for program in _SERVICES:
            threads = program == "cinder-volume" and bool(os.environ.get(THREADS))
            settings = self._settings() | ({"OS_CINDER_DISABLE_EVENTLET_PATCHING": "1"} if threads else {})
            self._processes.start(program, self._command(program), settings, turn=1)

    def wait(self, rest: Rest) -> None:
        """Until every service is up and the scheduler knows every pool."""
        until_answers(self._processes, "cinder-api", f"{self._place.url('volume')}/", 300)

        def complete() -> bool:
            for program in _SERVICES:
                self._processes.check(program)
            services = rest.volume("GET", "/os-services")["services"]
            up = {service["host"] for service in services if service["state"] == "up"}
            if not up >= {f"host-1@{backend}" for backend in BACKENDS}:
                return False
            return {pool["name"] for pool in rest.volume("GET", "/scheduler-stats/get_pools")["pools"]} >= POOLS

        until(complete, f"the backends are up (see {self._processes.log('cinder-volume')})", pause=0.3)

    @staticmethod
    def make_types(rest: Rest) -> None:
        """A volume type for each backend, of the same name."""
        for backend in BACKENDS:
            specs = {"volume_backend_name": backend}
            rest.volume("POST", "/types", {"volume_type": {"name": backend, "extra_specs": specs}})
