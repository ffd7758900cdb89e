"""Volumes and snapshots that Cinder forgets and takes up again."""

import pytest

from tests.cinder.cloud import Cloud
from tests.cinder.rest import Refused
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes

OFFSET = 1 << 20
DATA, LATER = b"mine" * 128, b"late" * 128


def test_a_volume_that_was_forgotten_can_be_taken_up(volumes: Volumes, shares: Shares) -> None:
    volume, keeper = volumes.create(), volumes.create()
    shares.write(volume, OFFSET, DATA)
    pool, share = volumes.pool(volume), shares.share_of(volume)
    volumes.unmanage(volume)
    found = [one for one in volumes.manageable("volumes", keeper) if volume in str(one["reference"])]
    assert [(one["size"], one["safe_to_manage"]) for one in found] == [(1, True)]
    again = volumes.manage(pool, found[0]["reference"])
    assert volumes.show(again)["size"] == 1
    assert shares.files_of(again) == {f"{share}/volume-{again}.{volumes.backend}"}
    assert not shares.files_of(volume)
    assert shares.read(again, OFFSET, 512) == DATA


@pytest.mark.parametrize("form", ["//{server}/{share}/{name}", "{name}", "\\\\{server}\\{share}\\{name}"])
@pytest.mark.parametrize("with_extension", [True, False])
def test_a_volume_can_be_named_with_its_extension_or_without(
    cloud: Cloud, volumes: Volumes, shares: Shares, form: str, with_extension: bool
) -> None:
    volume = volumes.create()
    shares.write(volume, OFFSET, DATA)
    pool, share = volumes.pool(volume), shares.share_of(volume)
    volumes.unmanage(volume)
    name = f"volume-{volume}" + (f".{volumes.backend}" if with_extension else "")
    again = volumes.manage(pool, {"source-name": form.format(server=cloud.server, share=share, name=name)})
    assert shares.read(again, OFFSET, 512) == DATA
    assert not shares.files_of(volume)


@pytest.mark.parametrize("form", ["snapshot-{0}", "{0}", "{0}.{2}", "volume-{1}.{0}", "volume-{1}.{0}.{2}"])
def test_a_snapshot_can_be_named_with_its_extension_or_without(volumes: Volumes, shares: Shares, form: str) -> None:
    volume = volumes.create()
    shares.write(volume, OFFSET, DATA)
    snapshot = volumes.snapshot(volume)
    shares.write(volume, OFFSET, LATER)
    volumes.unmanage_snapshot(snapshot)
    again = volumes.manage_snapshot(volume, {"source-name": form.format(snapshot, volume, volumes.backend)})
    made = volumes.create(snapshot_id=again)
    assert shares.read(made, OFFSET, 512) == DATA


def test_a_volume_in_use_by_cinder_is_not_offered_as_safe(volumes: Volumes) -> None:
    volume = volumes.create()
    (found,) = (one for one in volumes.manageable("volumes", volume) if volume in str(one["reference"]))
    assert not found["safe_to_manage"]
    assert found["cinder_id"] == volume


def test_a_snapshot_that_was_forgotten_can_be_taken_up(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    shares.write(volume, OFFSET, DATA)
    snapshot = volumes.snapshot(volume)
    shares.write(volume, OFFSET, LATER)
    volumes.unmanage_snapshot(snapshot)
    found = [one for one in volumes.manageable("snapshots", volume) if snapshot in str(one["reference"])]
    assert [one["safe_to_manage"] for one in found] == [True]
    again = volumes.manage_snapshot(volume, found[0]["reference"])
    made = volumes.create(snapshot_id=again)
    assert shares.read(made, OFFSET, 512) == DATA
    assert shares.read(volume, OFFSET, 512) == LATER


def test_the_file_of_a_volume_is_not_taken_from_it(volumes: Volumes, shares: Shares) -> None:
    volume, keeper = volumes.create(), volumes.create()
    shares.write(volume, OFFSET, DATA)
    (found,) = (one for one in volumes.manageable("volumes", volume) if volume in str(one["reference"]))
    with pytest.raises((Refused, Failed)):
        volumes.manage(volumes.pool(volume), found["reference"])
    assert shares.read(volume, OFFSET, 512) == DATA
    volumes.delete(keeper)
    volumes.force_clear()


@pytest.mark.parametrize("name", ["nothing.vhdx", "../etc/passwd", "sub/../../x.vhdx", ""])
def test_what_is_not_there_is_not_taken_up(volumes: Volumes, shares: Shares, name: str) -> None:
    keeper = volumes.create()
    before = shares.files()
    with pytest.raises((Refused, Failed)):
        volumes.manage(volumes.pool(keeper), {"source-name": name})
    assert shares.files() == before
    volumes.delete(keeper)
    volumes.force_clear()
