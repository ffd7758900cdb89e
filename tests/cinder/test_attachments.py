"""What a host that attaches a volume is told, and what is refused meanwhile."""

import pytest

from tests.cinder.cloud import Cloud
from tests.cinder.rest import Refused
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes


def test_a_host_is_told_the_file_and_no_secret(cloud: Cloud, volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    volumes.snapshot(volume)
    attachment, told = volumes.attach(volume)
    share, _, name = shares.active(volume).partition("/")
    assert told["driver_volume_type"] == "smbfs"
    assert told["export"] == f"//{cloud.server}/{share}"
    assert told["name"] == name
    assert told["format"] == volumes.backend
    assert cloud.share_password not in str(told)
    volumes.detach(volume, attachment)


def test_an_attached_volume_keeps_its_files(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    attachment, _ = volumes.attach(volume)
    files = shares.files_of(volume)
    volumes.act(volume, "os-extend", new_size=2)
    volumes.wait("volumes", volume, "in-use")
    assert volumes.show(volume)["size"] == 1
    with pytest.raises(Failed):
        volumes.snapshot(volume)
    with pytest.raises(Refused):
        volumes.delete(volume)
    assert shares.files_of(volume) == files
    volumes.detach(volume, attachment)


def test_an_attached_volume_is_neither_cloned_nor_reverted(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    snapshot = volumes.snapshot(volume)
    shares.write(volume, 0, b"1" * 512)
    attachment, _ = volumes.attach(volume)
    before = shares.files()
    with pytest.raises(Failed):
        volumes.create(source_volid=volume)
    with pytest.raises(Refused):
        volumes.revert(volume, snapshot)
    assert shares.files() == before
    assert shares.read(volume, 0, 512) == b"1" * 512
    # A snapshot shows what does not change any more.
    made = volumes.create(snapshot_id=snapshot)
    assert shares.read(made, 0, 512) == bytes(512)
    volumes.detach(volume, attachment)
