"""A service that is asked to stop, and whose workers get the signal, too, ends its work first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cinder.cloud import Cloud
from tests.cinder.killing import Service, Work
from tests.cinder.nodes import clustered, hosts
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.stopping import OPERATIONS, Bed, exists, under_way

pytestmark = pytest.mark.skipif(clustered(), reason="of two services the other one may do the work")

RUNNING = ("clone", "delete a snapshot", "from a snapshot", "to an image", "migrate", "retype")
"""What takes a while, and leaves a volume that can be looked at."""


@pytest.fixture
def service(cloud: Cloud, rest: Rest) -> Iterator[Service]:
    """The service, which runs again at the end."""
    only = Service(cloud, rest, hosts()[0])
    yield only
    if not only.workers():
        only.start()


@pytest.mark.parametrize("operation", RUNNING)
def test_running_work_is_finished(
    service: Service, rest: Rest, shares: Shares, tmp_path: Path, operation: str
) -> None:
    assert operation in OPERATIONS
    before = shares.files()
    bed = Bed(rest, shares, tmp_path)
    bed.prepare(operation)
    work = Work(service)
    bed.begin(operation)
    work.freeze()
    service.terminate()
    work.go_on()
    service.wait_for_end()
    assert not under_way(shares)
    service.start()
    for kind, ident in bed.volumes.made():
        if operation == "delete a snapshot" and kind == "snapshots":
            assert not snapshot_exists(rest, ident)
            bed.volumes.forget_any(kind, ident)
        else:
            assert rest.volume("GET", f"/{kind}/{ident}")[kind[:-1]]["status"] == "available"
    assert exists(rest, bed.volume)
    assert bed.content(bed.volume) in bed.allowed
    bed.volumes.clear()
    assert shares.files() == before


def snapshot_exists(rest: Rest, ident: str) -> bool:
    return ident in [one["id"] for one in rest.volume("GET", "/snapshots?all_tenants=1")["snapshots"]]
