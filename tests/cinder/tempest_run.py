"""Tempest against a cloud: its configuration, its run, and what came of it."""

import configparser
import re
import subprocess
import time
from collections.abc import Sequence

from tests.cinder.cloud import Cloud
from tests.cinder.environments import Environments
from tests.cinder.infrastructure import environment
from tests.cinder.rest import Rest
from tests.cinder.sample_images import make, upload
from tests.cinder.workplace import Workplace

EVERYTHING = r"^tempest\.api\.volume"
_MIB = 1 << 20
_TOTALS = re.compile(r"(?m)^(?:Ran: .*| - (?:Passed|Skipped|Failed): .*)$")
_FAILED = re.compile(r"(?m)^\{\d+\} (.+?) \[[\d.]+s\] \.\.\. FAILED")


class TempestRun:
    """Tempest of one work directory."""

    def __init__(self, cloud: Cloud, environments: Environments, place: Workplace) -> None:
        self._cloud = cloud
        self._programs = environments.tempest / "bin"
        self._place = place
        self._home = place.state / "tempest"
        self._log = place.logs / "tempest.log"

    def run(self, arguments: Sequence[str]) -> int:
        """Run what a regular expression says, all of the volume tests without one. Gives the exit status."""
        self._prepare()
        regex, *more = arguments or [EVERYTHING]
        began = time.monotonic()
        with self._log.open("wb") as log:
            done = subprocess.run(
                [self._programs / "tempest", "run", "--concurrency", "2", "--regex", regex, *more],
                cwd=self._home / "workspace",
                env=self._settings(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        ran = self._report()
        print(f"tempest: {time.monotonic() - began:.0f} s")
        return done.returncode if ran else 1

    def _settings(self) -> dict[str, str]:
        base = environment(self._place)
        return base | {"HOME": str(self._home), "PATH": f"{self._programs}:{base['PATH']}"}

    def _prepare(self) -> None:
        self._home.mkdir()
        workspace = self._home / "workspace"
        command = [self._programs / "tempest", "init", "--workspace-path", self._home / "workspaces.yaml", workspace]
        with (self._place.logs / "tempest-init.log").open("wb") as log:
            subprocess.run(command, env=self._settings(), stdout=log, stderr=subprocess.STDOUT, check=True)
        target = workspace / "etc" / "tempest.conf"
        target.touch(mode=0o600)
        with target.open("w") as file:
            self._configuration().write(file)

    def _configuration(self) -> configparser.RawConfigParser:
        rest = Rest(self._cloud)
        images = [
            upload(rest, make(self._home, name, 32 * _MIB), name, visibility="public") for name in ("raw", "qcow2")
        ]
        pool = rest.volume("GET", "/scheduler-stats/get_pools?detail=true")["pools"][0]["capabilities"]
        conf = configparser.RawConfigParser()
        conf.read_dict(
            {
                "DEFAULT": {"debug": "false", "log_file": "tempest.log"},
                "oslo_concurrency": {"lock_path": str(self._home / "locks")},
                "auth": {
                    "use_dynamic_credentials": "true",
                    "tempest_roles": "member",
                    "admin_username": "admin",
                    "admin_password": self._cloud.password,
                    "admin_project_name": "admin",
                    "admin_domain_name": "Default",
                },
                "identity": {"uri_v3": f"{self._cloud.identity}/v3", "auth_version": "v3", "region": "RegionOne"},
                "identity-feature-enabled": {"api_v3": "true"},
                "service_available": {
                    "cinder": "true",
                    **dict.fromkeys(("nova", "neutron", "swift", "horizon"), "false"),
                    "glance": "true",
                },
                "image": {"region": "RegionOne"},
                "compute": {"image_ref": images[0], "image_ref_alt": images[1]},
                "volume": {
                    "catalog_type": "volumev3",
                    "build_interval": "1",
                    "build_timeout": "120",
                    "min_microversion": "3.0",
                    "max_microversion": "latest",
                    "volume_size": "1",
                    "storage_protocol": pool["storage_protocol"],
                    "vendor_name": pool["vendor_name"],
                    "backend_names": "vhdx,vhd",
                    "manage_volume_ref": "source-name,volume-%s.vhdx",
                    "manage_snapshot_ref": "source-name,snapshot-%s",
                },
                "volume-feature-enabled": {
                    **dict.fromkeys(("snapshot", "clone", "multi_backend", "manage_volume", "manage_snapshot"), "true"),
                    **dict.fromkeys(("volume_revert", "volume_image_dep_tests"), "true"),
                    **dict.fromkeys(("backup", "extend_attached_volume"), "false"),
                },
            }
        )
        return conf

    def _report(self) -> bool:
        """Print totals and the failing tests; whether any test ran."""
        text = self._log.read_text(errors="replace")
        for line in _TOTALS.findall(text):
            print(line)
        for name in _FAILED.findall(text):
            print("FAILED", name)
        if "Ran: " in text:
            return True
        print("\n".join(text.splitlines()[-20:]))
        return False
