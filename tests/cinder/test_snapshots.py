"""Snapshots: what they keep, what can be made of them, and how they go."""

import time

import pytest

from tests.cinder.rest import Refused
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes
from tests.cinder.waiting import until

GIB = 1 << 30
OFFSET = 1 << 20
ONE, TWO, THREE = b"1" * 512, b"2" * 512, b"3" * 512


def history(volumes: Volumes, shares: Shares) -> tuple[str, str, str]:
    """A volume that held ONE, then TWO, now THREE, and the snapshots of the first two."""
    volume = volumes.create()
    shares.write(volume, OFFSET, ONE)
    first = volumes.snapshot(volume)
    second_of_first = int(time.time())
    shares.write(volume, OFFSET, TWO)
    # Cinder knows which one is the latest by whole seconds.
    until(lambda: int(time.time()) > second_of_first, "the clock moves on")
    second = volumes.snapshot(volume)
    shares.write(volume, OFFSET, THREE)
    return volume, first, second


def test_a_volume_from_a_snapshot_holds_what_was_there_then(volumes: Volumes, shares: Shares) -> None:
    volume, first, second = history(volumes, shares)
    made = {snapshot: volumes.create(2, snapshot_id=snapshot) for snapshot in (first, second)}
    assert {shares.size(one) for one in made.values()} == {2 * GIB}
    assert shares.read(made[first], OFFSET, 512) == ONE
    assert shares.read(made[second], OFFSET, 512) == TWO
    assert shares.read(volume, OFFSET, 512) == THREE


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["oldest first", "latest first"])
def test_deleted_snapshots_leave_the_rest_as_it_is(volumes: Volumes, shares: Shares, order: tuple[int, int]) -> None:
    volume, *snapshots = history(volumes, shares)
    volumes.delete_snapshot(snapshots[order[0]])
    left = volumes.create(snapshot_id=snapshots[order[1]])
    assert shares.read(left, OFFSET, 512) == (ONE, TWO)[order[1]]
    volumes.delete_snapshot(snapshots[order[1]])
    assert shares.read(volume, OFFSET, 512) == THREE
    images = [file for file in shares.files_of(volume) if not file.endswith(".info")]
    assert len(images) == 1


def test_a_revert_brings_back_the_latest_snapshot(volumes: Volumes, shares: Shares) -> None:
    volume, first, second = history(volumes, shares)
    volumes.revert(volume, second)
    assert shares.read(volume, OFFSET, 512) == TWO
    shares.write(volume, OFFSET, THREE)
    volumes.delete_snapshot(second)
    assert shares.read(volume, OFFSET, 512) == THREE
    volumes.revert(volume, first)
    assert shares.read(volume, OFFSET, 512) == ONE


def test_a_volume_with_snapshots_grows(volumes: Volumes, shares: Shares) -> None:
    volume, first, second = history(volumes, shares)
    if volumes.backend == "vhd":
        with pytest.raises(Failed):
            volumes.extend(volume, 2)
        assert shares.size(volume) == GIB
        assert shares.read(volume, OFFSET, 512) == THREE
        volumes.set_available(volume)
        return
    volumes.extend(volume, 2)
    assert shares.size(volume) == 2 * GIB
    assert shares.read(volume, OFFSET, 512) == THREE
    volumes.delete_snapshot(second)
    assert shares.size(volume) == 2 * GIB
    made = volumes.create(snapshot_id=first)
    assert shares.size(made) == GIB
    assert shares.read(made, OFFSET, 512) == ONE


def test_a_volume_with_snapshots_cannot_be_deleted(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    volumes.snapshot(volume)
    files = shares.files_of(volume)
    with pytest.raises(Refused):
        volumes.delete(volume)
    assert shares.files_of(volume) == files


def test_a_volume_goes_with_its_snapshots_where_that_is_asked_for(volumes: Volumes, shares: Shares) -> None:
    volume, *_ = history(volumes, shares)
    volumes.delete_with_snapshots(volume)
    assert not shares.files_of(volume)
