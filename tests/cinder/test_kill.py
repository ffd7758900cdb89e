"""The service is killed in the middle of each operation: the volume is as before or as after, and nothing is left.

What Cinder then thinks of it is put right with what an administrator has: resetting a state, and deleting.
"""

import contextlib
import random
import time
from pathlib import Path

import pytest

from tests.cinder.cloud import Cloud
from tests.cinder.killing import Service
from tests.cinder.nodes import hosts
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.stopping import BIG, OPERATIONS, Bed, exists, set_right, under_way
from tests.cinder.waiting import until

ROUNDS = 2


@pytest.fixture
def service(cloud: Cloud, rest: Rest) -> Service:
    """The volume service, where there is but one."""
    if len(hosts()) > 1:
        pytest.skip("in a cluster another one takes over, see test_cluster.py")
    return Service(cloud, rest, *hosts())


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_service_leaves_a_volume_as_before_or_as_after(
    service: Service, rest: Rest, shares: Shares, tmp_path: Path, operation: str, number: int
) -> None:
    before = shares.files()
    bed = Bed(rest, shares, tmp_path)
    bed.prepare(operation)
    bed.begin(operation)
    # Somewhere between the first change on a share and what may well be the end.
    moment = random.Random(f"{operation} {number}").random()
    time.sleep(moment * (3.0 if operation == "to an image" else 0.4))
    service.kill()
    service.start()
    check(bed, operation, before)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_service_that_is_killed_before_it_could_tell_of_its_work(
    service: Service, rest: Rest, shares: Shares, tmp_path: Path, operation: str
) -> None:
    """What it has its worker do goes on to the end, or until more is asked of the service."""
    before = shares.files()
    bed = Bed(rest, shares, tmp_path)
    bed.prepare(operation)
    bed.begin(operation)
    service.freeze()
    with contextlib.suppress(TimeoutError):
        until(lambda: not under_way(shares), "the worker is done", seconds=5)
    service.kill()
    service.start()
    check(bed, operation, before)


def check(bed: Bed, operation: str, before: set[str]) -> None:
    """The volume is as before or as after, and nothing is left that was not there *before*."""
    shares = bed.shares
    until(lambda: not under_way(shares), "what was stopped on the shares is settled by itself")
    set_right(bed)
    if exists(bed.rest, bed.volume):
        assert bed.content(bed.volume) in bed.allowed
        assert shares.size(bed.volume) in (1 << 30, 3 << 30)
    else:
        assert operation == "delete"
    bed.volumes.clear()
    until(lambda: shares.files() == before, f"nothing is left: {shares.files() ^ before}", seconds=30)


def test_a_service_that_starts_beside_a_running_merge_changes_nothing(
    cloud: Cloud, rest: Rest, shares: Shares, tmp_path: Path
) -> None:
    """Another process looks over the shares as a starting service does, while this one's merge runs."""
    from smbfs_driver.shares.shares import load
    from smbfs_driver.worker.backend import Backend
    from smbfs_driver.worker.worker import Worker

    bed = Bed(rest, shares, tmp_path)
    bed.keep()
    bed.fill(0, 6 * BIG)
    wanted = bed.content(bed.volume)
    listed = load(Path(cloud.home, "etc", "shares-vhdx"))
    other = Worker(listed)
    assert [other.call(Backend.unsettled, share.address) for share in listed] == [[], []]
    rest.volume("DELETE", f"/snapshots/{bed.snapshot}")
    running = 0
    while any(bed.snapshot in file for file in shares.files_of(bed.volume)):
        for share in listed:
            for name in other.call(Backend.unsettled, share.address):
                running += 1
                other.call(Backend.recover, share.address, name)
    other.close()
    bed.volumes.wait("snapshots", bed.snapshot, None)
    bed.volumes.forget_any("snapshots", bed.snapshot)
    assert running
    assert bed.content(bed.volume) == wanted
    bed.volumes.clear()
