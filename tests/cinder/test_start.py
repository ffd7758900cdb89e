"""A backend with a mistake in its settings does not start, and nothing else is changed by that."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cinder import database
from tests.cinder.cloud import Cloud
from tests.cinder.killing import Service
from tests.cinder.nodes import clustered, hosts
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

pytestmark = pytest.mark.skipif(clustered(), reason="the cluster has locks that all of its services see")

Begin = Callable[[str], Popen[bytes]]
"""Starts the service with a text as one more file of its configuration."""


@pytest.fixture
def service(cloud: Cloud, rest: Rest) -> Service:
    return Service(cloud, rest, hosts()[0])


@pytest.fixture
def begin(service: Service, tmp_path: Path) -> Iterator[Begin]:
    """The service runs as before at the end."""
    file = tmp_path / "more.conf"

    def begin(text: str) -> Popen[bytes]:
        file.write_text(text)
        with suppress(ProcessLookupError):
            service.terminate()
        service.wait_for_end()
        return service.begin(file)

    yield begin
    with suppress(ProcessLookupError):
        service.kill()
    service.start()


@pytest.fixture
def said(cloud: Cloud) -> Callable[[], list[str]]:
    """The lines that the service has written about a backend that does not start."""
    log = Path(cloud.home, "log", f"cinder-volume-{hosts()[0]}.log")
    start = log.stat().st_size

    def lines() -> list[str]:
        text = log.read_bytes()[start:].decode(errors="replace")
        return [line for line in text.splitlines() if "The backend does not start. " in line]

    return lines


def test_a_cluster_without_common_locks_changes_nothing(
    cloud: Cloud, begin: Begin, said: Callable[[], list[str]], rest: Rest, shares: Shares
) -> None:
    volumes = Volumes(rest, "vhdx")
    volume = volumes.create()
    ended = begin("[DEFAULT]\ncluster = c9\n").wait(60)
    assert ended == 1
    assert [line.partition("not start. ")[2].partition(":")[0] for line in said()] == [
        f"[{backend}] cluster = c9 needs locks that all of its services see, and [coordination] backend_url = file"
        for backend in ("vhdx", "vhd")
    ]
    for table in ("volumes", "services", "clusters"):
        column = "name" if table == "clusters" else "cluster_name"
        assert not database.run(cloud, "cinder", f"SELECT id FROM {table} WHERE {column} LIKE 'c9%%'")
    begin("").poll()
    until(lambda: rest_is_up(rest, "vhdx"), "the backend is up again")
    volumes.extend(volume, 2)
    assert shares.size(volume) == 2 << 30
    volumes.clear()


def test_other_backends_start(begin: Begin, said: Callable[[], list[str]], rest: Rest, tmp_path: Path) -> None:
    listed = tmp_path / "nowhere"
    child = begin(f"[vhd]\nsmbfs_shares_config = {listed}\n")
    until(lambda: bool(said()), "the backend does not start")
    until(lambda: not rest_is_up(rest, "vhd"), "the backend without a list is down")
    assert rest_is_up(rest, "vhdx")
    (line,) = said()
    assert f"[vhd] smbfs_shares_config: {listed}: there is no such file" in line
    assert line.endswith(f"chmod 600 {listed}")
    assert child.poll() is None
    volumes = Volumes(rest, "vhdx")
    volumes.create()
    volumes.clear()


def rest_is_up(rest: Rest, backend: str) -> bool:
    services = rest.volume("GET", "/os-services?binary=cinder-volume")["services"]
    return all(one["state"] == "up" for one in services if one["host"].endswith(f"@{backend}"))
