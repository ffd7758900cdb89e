"""What operators of SMB shares rely on and only Cinder can ask for: types, refusals, what a host is told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from cinder import coordination, exception, objects
from cinder.volume import configuration, driver
from oslo_config import cfg

from smbfs_driver.driver import SmbfsDriver
from smbfs_driver.options import OPTIONS
from tests.cinder.cloud import Cloud
from tests.cinder.rest import Refused, Rest
from tests.cinder.shares import Shares
from tests.cinder.volume_types import Types
from tests.cinder.volumes import Failed, Volumes
from vhdx.image.base import DiskType
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine


@pytest.fixture
def types(rest: Rest, volumes: Volumes) -> Iterator[Types]:
    """Gone when the test is over, and its volumes are."""
    made = Types(rest, volumes.backend)
    yield made
    volumes.force_clear()
    made.clear()


def other(volumes: Volumes) -> str:
    """The format that the backend does not make by itself."""
    return {"vhd": "vhdx", "vhdx": "vhd"}[volumes.backend]


@pytest.mark.parametrize("spec", ["smbfs__volume_format", "volume_format"])
def test_a_type_chooses_the_format(volumes: Volumes, shares: Shares, types: Types, spec: str) -> None:
    volume = volumes.create(volume_type=types.create(**{spec: other(volumes)}))
    assert shares.active(volume).endswith(f"/volume-{volume}.{other(volumes)}")


def test_vpc_is_a_name_of_vhd(volumes: Volumes, shares: Shares, types: Types) -> None:
    volume = volumes.create(volume_type=types.create(smbfs__volume_format="vpc"))
    assert shares.active(volume).endswith(f"/volume-{volume}.vhd")


def test_a_type_with_another_format_makes_no_volumes(volumes: Volumes, shares: Shares, types: Types) -> None:
    before = shares.files()
    with pytest.raises(Failed):
        volumes.create(volume_type=types.create(smbfs__volume_format="qcow"))
    assert shares.files() == before


@pytest.mark.parametrize(("said", "type"), [("thin", DiskType.DYNAMIC), ("thick", DiskType.FIXED)])
def test_a_type_chooses_how_space_is_taken(
    volumes: Volumes, shares: Shares, types: Types, said: str, type: DiskType
) -> None:
    volume = volumes.create(volume_type=types.create(provisioning__type=said))
    share, _, name = shares.active(volume).partition("/")
    assert NativeEngine().info(LocalFileSystem(shares.directory(share)), name).type is type


def test_no_volume_is_encrypted(volumes: Volumes, shares: Shares, types: Types) -> None:
    source = volumes.create()
    snapshot = volumes.snapshot(source)
    kind = types.create()
    types.encrypt(kind)
    before = shares.files()
    for how in ({}, {"snapshot_id": snapshot}, {"source_volid": source}):
        with pytest.raises((Failed, Refused)):
            volumes.create(volume_type=kind, **how)
        assert shares.files() == before


def test_no_volume_is_made_of_a_snapshot_that_failed(volumes: Volumes, shares: Shares, rest: Rest) -> None:
    volume = volumes.create()
    snapshot = volumes.snapshot(volume)
    before = shares.files()
    for status in ("error", "deleting"):
        rest.volume("POST", f"/snapshots/{snapshot}/action", {"os-reset_status": {"status": status}})
        with pytest.raises(Refused):
            volumes.create(snapshot_id=snapshot)
    rest.volume("POST", f"/snapshots/{snapshot}/action", {"os-reset_status": {"status": "available"}})
    assert shares.files() == before


def test_a_snapshot_of_an_attached_volume_stays(volumes: Volumes, shares: Shares, rest: Rest) -> None:
    volume = volumes.create()
    snapshot = volumes.snapshot(volume)
    shares.write(volume, 0, b"1" * 512)
    attachment, _ = volumes.attach(volume)
    before = shares.files()
    rest.volume("DELETE", f"/snapshots/{snapshot}")
    volumes.wait("snapshots", snapshot, "available")
    assert [message["user_message"] for message in volumes.messages(snapshot)] == ["delete snapshot:Snapshot is busy."]
    assert shares.files() == before
    volumes.detach(volume, attachment)
    volumes.delete_snapshot(snapshot)
    assert shares.read(volume, 0, 512) == b"1" * 512


# The driver by itself, on the cloud's server.


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[tuple[Callable[[], SmbfsDriver], str]]:
    """Makes a driver, and the section of its options."""
    section = f"test-{uuid4()}"
    # As each of Cinder's services begins.
    objects.register_all()
    cfg.CONF([], project="cinder", default_config_files=[])
    settings = configuration.Configuration([*driver.volume_opts, *OPTIONS], config_group=section)
    cfg.CONF.set_override("backend_url", f"file://{tmp_path}", "coordination")
    coordination.COORDINATOR.start()
    yield lambda: SmbfsDriver(configuration=settings, host=f"host@{section}"), section
    coordination.COORDINATOR.stop()
    cfg.CONF.clear_override("backend_url", "coordination")
    cfg.CONF.reset()


def listed(cloud: Cloud, directory: Path) -> Path:
    """A list with one share of the cloud."""
    path = directory / "shares"
    account = f"username={cloud.user},password={cloud.share_password},port={cloud.port}"
    path.write_text(f"//{cloud.server}/share1 -o {account}\n")
    path.chmod(0o600)
    return path


def test_a_list_of_shares_that_is_not_there_keeps_the_backend_down(
    backend: tuple[Callable[[], SmbfsDriver], str], tmp_path: Path
) -> None:
    make, section = backend
    cfg.CONF.set_override("smbfs_shares_config", str(tmp_path / "nowhere"), group=section)
    with pytest.raises(exception.InvalidConfigurationValue, match="nowhere"):
        make()


@pytest.mark.parametrize("exposed", [False, True])
def test_an_account_is_told_only_where_that_is_asked_for(
    cloud: Cloud, shares: Shares, backend: tuple[Callable[[], SmbfsDriver], str], tmp_path: Path, exposed: bool
) -> None:
    make, section = backend
    cfg.CONF.set_override("smbfs_shares_config", str(listed(cloud, tmp_path)), group=section)
    cfg.CONF.set_override("smbfs_expose_credentials", exposed, group=section)
    smbfs = make()
    smbfs.do_setup(None)
    name = f"volume-{uuid4()}"
    volume: Any = SimpleNamespace(name=name, provider_location=f"//{cloud.server}/share1")
    directory = shares.directory("share1")
    NativeEngine().create(LocalFileSystem(directory), f"{name}.vhdx", 1 << 20)
    try:
        told = smbfs.initialize_connection(volume, None)
    finally:
        (directory / f"{name}.vhdx").unlink()
    data = {"export": f"//{cloud.server}/share1", "name": f"{name}.vhdx", "format": "vhdx"}
    options = told["data"].pop("options", None)
    assert told == {"driver_volume_type": "smbfs", "data": data}
    if exposed:
        assert options.startswith("-o username=")
        assert f"password={cloud.share_password}" in options
    else:
        assert options is None
