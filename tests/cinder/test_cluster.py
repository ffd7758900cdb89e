"""Two services of one cluster: both work, on the same volumes too, and one takes over when the other is killed."""

import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.cinder.cloud import Cloud
from tests.cinder.killing import Service, Work
from tests.cinder.nodes import BACKENDS, CLUSTER, LOCK_SECONDS, clustered, hosts
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.stopping import OPERATIONS, Bed, exists, set_right, under_way
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

pytestmark = pytest.mark.skipif(not clustered(), reason="one volume service only; VHDX_CINDER_CLUSTER=1 has two")

TAKEN_OVER = OPERATIONS.keys() - {"to an image"}
"""What changes a share."""
AT_ONCE = 4


@pytest.fixture
def services(cloud: Cloud, rest: Rest) -> list[Service]:
    """The services of the cluster."""
    return [Service(cloud, rest, host) for host in hosts()]


@pytest.fixture
def killed(rest: Rest) -> Iterator[list[Service]]:
    """What the test kills, which runs again afterwards."""
    dead: list[Service] = []
    yield dead
    for service in dead:
        service.start()


def test_both_are_up_in_one_cluster(rest: Rest) -> None:
    found = rest.volume("GET", "/clusters/detail")["clusters"]
    assert {(one["name"], one["state"], one["num_hosts"]) for one in found} == {
        (f"{CLUSTER}@{backend}", "up", len(hosts())) for backend in BACKENDS
    }


def test_both_work(rest: Rest, volumes: Volumes) -> None:
    made = [volumes.create() for _ in range(6)]
    assert {volumes.show(volume)["os-vol-host-attr:host"].partition("@")[0] for volume in made} == set(hosts())


def test_both_work_on_one_volume_at_the_same_time(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    """Copies, snapshots and what takes snapshots away again, of one volume, asked for at once."""
    volume = volumes.create()
    content = random.Random(5).randbytes(8 << 20)
    shares.write(volume, 1 << 20, content)
    old = [volumes.snapshot(volume) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor() as threads:
        copies = [threads.submit(volumes.create, 1, source_volid=volume) for _ in range(AT_ONCE)]
        gone = [threads.submit(volumes.delete_snapshot, snapshot) for snapshot in old]
        later = [threads.submit(volumes.snapshot, volume) for _ in range(AT_ONCE)]
        for one in (*gone, *later):
            one.result()
        for copy in copies:
            assert shares.read(copy.result(), 1 << 20, len(content)) == content
    assert shares.read(volume, 1 << 20, len(content)) == content
    assert len(shares.files_of(volume)) == 2 + AT_ONCE  # the document, the base, and a file for each snapshot


def test_a_lock_lasts_as_long_as_the_work(cloud: Cloud, rest: Rest, shares: Shares) -> None:
    """Were the service too busy to say that it still works, the other one would get the lock after a while."""
    (url,) = re.findall("backend_url = (redis:.*)[?]", Path(cloud.home, "etc", "cinder.conf").read_text())
    volumes = Volumes(rest, "vhdx")
    volume = volumes.create(3)
    image = volumes.act(
        volume, "os-volume_upload_image", image_name="long", disk_format="raw", container_format="bare", force=False
    )["os-volume_upload_image"]["image_id"]
    held, began = [], time.monotonic()
    with redis.Redis.from_url(url) as client:
        while volumes.show(volume)["status"] == "uploading":
            held.append(bool(client.keys(f"*smbfs-volume-{volume}*")))
            time.sleep(0.1)
    took = time.monotonic() - began
    rest.image("DELETE", f"/images/{image}")
    volumes.clear()
    assert took > 1.5 * LOCK_SECONDS, f"{took:.1f} s say nothing"
    # Before the work begins and after it has ended there is none.
    within = held[held.index(True) : len(held) - held[::-1].index(True)]
    assert all(within)
    assert len(within) > len(held) / 2


def test_a_volume_that_is_taken_up_is_in_the_pool_of_its_file(rest: Rest, shares: Shares) -> None:
    """Cinder picks any pool of the cluster for it."""
    volumes = Volumes(rest, "vhdx")
    for _ in range(4):
        volume = volumes.create()
        pool, share = volumes.pool(volume), shares.share_of(volume)
        keeper = volumes.create()
        volumes.unmanage(volume)
        (found,) = (one for one in volumes.manageable("volumes", keeper) if volume in str(one["reference"]))
        again = volumes.manage(pool, found["reference"])
        assert (volumes.pool(again), shares.share_of(again)) == (pool, share)
        assert volumes.show(again)["os-vol-host-attr:host"].partition("#")[2] == share
        volumes.delete(keeper)
    volumes.clear()


@pytest.mark.parametrize("operation", sorted(TAKEN_OVER))
def test_the_other_one_takes_over(
    services: list[Service], killed: list[Service], rest: Rest, shares: Shares, tmp_path: Path, operation: str
) -> None:
    before = shares.files()
    bed = Bed(rest, shares, tmp_path)
    bed.prepare(operation)
    works = [Work(service) for service in services]
    bed.ask(operation)
    until(lambda: under_way(shares), "it has begun", pause=0.001)
    for work in works:
        work.freeze()
    works.sort(key=Work.done)
    works[-1].end()
    killed.append(works[-1].service)
    assert under_way(shares), "the operation was over, or is that of the other one"
    works[0].go_on()
    killed[0].wait_until_known_as_down()
    rest.volume("POST", "/workers/cleanup", {"cluster_name": f"{CLUSTER}@vhdx"})
    set_right(bed)
    if exists(rest, bed.volume):
        # Asked for anything, the other one first settles what was stopped.
        bed.volumes.delete_snapshot(bed.volumes.snapshot(bed.volume))
        assert bed.content(bed.volume) in bed.allowed
    else:
        assert operation == "delete"
    bed.volumes.clear()
    until(lambda: not under_way(shares), "what was stopped on the shares is settled")
    until(lambda: shares.files() == before, f"nothing is left: {shares.files() ^ before}", seconds=30)
