"""Cinder: API, scheduler, and the volume services, each with both backends."""

import os
import re
import shutil
from pathlib import Path

from tests.cinder.environments import Environments
from tests.cinder.infrastructure import SYSTEM_PATH, THREADS, environment
from tests.cinder.nodes import BACKENDS, CLUSTER, NODE, clustered, hosts, lock_server, pools, services
from tests.cinder.processes import Processes
from tests.cinder.rest import Rest
from tests.cinder.waiting import until, until_answers
from tests.cinder.workplace import Workplace

_NODE = """\
[DEFAULT]
host = {host}
{cluster}image_conversion_dir = {state}/conversion
[oslo_concurrency]
lock_path = {state}/locks
"""
"""What each host has of its own, so that only the coordination can keep one from the other."""

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
            locks=lock_server(place.ports["locks"]) if clustered() else f"file://{place.state}/coordination",
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

    def _command(self, program: str, *more: Path) -> list[str | Path]:
        files = [self._configuration, self._tenant, *more]
        return [self._programs / program, *(f"--config-file={file}" for file in files)]

    def _node(self, host: str) -> Path:
        """The configuration of one host."""
        state = self._place.state / host
        for name in ("conversion", "locks"):
            (state / name).mkdir(parents=True)
        cluster = f"cluster = {CLUSTER}\n" if clustered() else ""
        file = self._place.etc / f"{host}.conf"
        file.write_text(_NODE.format(host=host, cluster=cluster, state=state))
        return file

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
        for program in ("cinder-api", "cinder-scheduler"):
            self._processes.start(program, self._command(program), self._settings(), turn=1)
        threads = {"OS_CINDER_DISABLE_EVENTLET_PATCHING": "1"} if os.environ.get(THREADS) else {}
        for host in hosts():
            command = self._command("cinder-volume", self._node(host))
            self._processes.start(f"cinder-volume-{host}", command, self._settings() | threads | {NODE: host}, turn=1)

    def wait(self, rest: Rest) -> None:
        """Until every service is up and the scheduler knows every pool."""
        until_answers(self._processes, "cinder-api", f"{self._place.url('volume')}/", 300)

        def complete() -> bool:
            for program in ("cinder-api", "cinder-scheduler", *(f"cinder-volume-{host}" for host in hosts())):
                self._processes.check(program)
            found = rest.volume("GET", "/os-services")["services"]
            if not {service["host"] for service in found if service["state"] == "up"} >= services():
                return False
            return {pool["name"] for pool in rest.volume("GET", "/scheduler-stats/get_pools")["pools"]} >= pools()

        until(complete, f"the backends are up (see {self._processes.log('cinder-volume-host-1')})", pause=0.3)

    @staticmethod
    def make_types(rest: Rest) -> None:
        """A volume type for each backend, of the same name."""
        for backend in BACKENDS:
            specs = {"volume_backend_name": backend}
            rest.volume("POST", "/types", {"volume_type": {"name": backend, "extra_specs": specs}})
