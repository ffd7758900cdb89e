"""Services that are no cluster any more, by the steps that the guide has for it, work on the volumes that they had."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cinder import database
from tests.cinder.cloud import Cloud
from tests.cinder.environments import PROJECT
from tests.cinder.killing import Service
from tests.cinder.nodes import BACKENDS, CLUSTER, clustered, hosts
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

pytestmark = pytest.mark.skipif(not clustered(), reason="one volume service only; VHDX_CINDER_CLUSTER=1 has two")

GUIDE = (PROJECT / "docs" / "operator" / "guide.md").read_text()


@pytest.fixture
def services(cloud: Cloud, rest: Rest) -> Iterator[list[Service]]:
    """They are a cluster again at the end."""
    found = [Service(cloud, rest, host) for host in hosts()]
    yield found
    for service in found:
        service.kill()
        service.start()


def steps(language: str) -> list[str]:
    """The commands of the guide, one a line, for leaving a cluster."""
    text = GUIDE.partition("Or leave the cluster")[2].partition("Then start the services.")[0]
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def follow(cloud: Cloud, configuration: Path) -> None:
    for backend in BACKENDS:
        for line in steps("sh"):
            for host in hosts() if "HOST@" in line else ("",):
                command = line.replace("CLUSTER@BACKEND", f"{CLUSTER}@{backend}")
                program, _, rest = command.replace("HOST@BACKEND", f"{host}@{backend}").partition(" ")
                whole = f"{Path(sys.executable).with_name(program)} --config-file {configuration} {rest}"
                done = subprocess.run(["sh", "-c", whole], capture_output=True, text=True, check=False)
                # 2: there was nothing to be renamed.
                assert done.returncode in (0, 2), done.stdout + done.stderr
        for line in steps("sql"):
            database.run(cloud, "cinder", line.replace("CLUSTER@BACKEND", f"{CLUSTER}@{backend}").replace("%", "%%"))


def test_what_a_cluster_had_belongs_to_its_services_again(
    cloud: Cloud, services: list[Service], rest: Rest, shares: Shares, tmp_path: Path
) -> None:
    volumes = Volumes(rest, "vhdx")
    made = [volumes.create() for _ in range(3)]
    snapshot = volumes.snapshot(made[0])
    for service in services:
        service.terminate()
        service.wait_for_end()
    alone = tmp_path / "alone.conf"
    alone.write_text("[DEFAULT]\ncluster =\n")
    follow(cloud, Path(cloud.home, "etc", "cinder.conf"))
    for table in ("volumes", "services", "`groups`"):
        left = database.run(cloud, "cinder", f"SELECT id FROM {table} WHERE cluster_name IS NOT NULL AND deleted = 0")
        assert not left, table
    for service in services:
        service.begin(alone)
    wanted = {f"{host}@{backend}" for host in hosts() for backend in BACKENDS}

    def up() -> set[str]:
        found = rest.volume("GET", "/os-services?binary=cinder-volume")["services"]
        return {one["host"] for one in found if one["state"] == "up"}

    until(lambda: up() >= wanted, "the services are up, each by itself")
    volumes.delete_snapshot(snapshot)
    for volume in made:
        volumes.extend(volume, 2)
        assert shares.size(volume) == 2 << 30
        volumes.delete(volume)
