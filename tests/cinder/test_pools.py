"""What the scheduler is told of each share, and of one that is gone for a while."""

import shutil
from typing import Any

from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

GIB = 1 << 30


def pool(rest: Rest, name: str) -> Any:
    """The capabilities of the pool of that share."""
    pools = rest.volume("GET", "/scheduler-stats/get_pools?detail=true")["pools"]
    (found,) = [one["capabilities"] for one in pools if one["name"].endswith(f"#{name}")]
    return found


def test_a_pool_has_the_room_of_its_share(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create(3)
    name = volumes.pool(volume).rpartition("#")[2]
    until(lambda: pool(rest, name)["provisioned_capacity_gb"] >= 3, f"{name} has promised 3 GiB")
    before = pool(rest, name)["provisioned_capacity_gb"]
    volumes.extend(volume, 5)
    until(lambda: pool(rest, name)["provisioned_capacity_gb"] == before + 2, f"{name} has promised 2 GiB more")
    found = pool(rest, name)
    space = shutil.disk_usage(shares.directory(name))
    assert abs(found["total_capacity_gb"] - space.total / GIB) < 1
    assert 0 < found["free_capacity_gb"] <= found["total_capacity_gb"]
    assert found["backend_state"] == "up"
    assert (found["max_over_subscription_ratio"], found["reserved_percentage"]) == ("20.0", 0)
    assert (found["thin_provisioning_support"], found["thick_provisioning_support"]) == (True, True)
    assert (found["storage_protocol"], found["multiattach"], found["online_extend_support"]) == ("file", False, False)


def test_a_share_that_is_gone_is_down_and_comes_back_by_itself(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    name = shares.share_of(volume)
    shares.write(volume, 0, b"1" * 512)
    directory = shares.directory(name)
    away = directory.with_name(f"{name}-away")
    directory.rename(away)
    try:
        until(lambda: pool(rest, name)["backend_state"] == "down", f"{name} is down")
    finally:
        away.rename(directory)
    until(lambda: pool(rest, name)["backend_state"] == "up", f"{name} is up")
    volumes.extend(volume, 2)
    assert shares.read(volume, 0, 512) == b"1" * 512
