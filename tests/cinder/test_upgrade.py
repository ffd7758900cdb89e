"""Volumes of Cinder's whose files a WindowsSmbfsDriver left: what is done to them is done as to any other."""

import subprocess
import time
from pathlib import Path

import pytest

from smbfs_driver.volumes.names import DiskFormat
from tests.cinder.cloud import Cloud
from tests.cinder.infrastructure import SYSTEM_PATH
from tests.cinder.nodes import destination
from tests.cinder.rest import Refused, Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes
from tests.cinder.waiting import until
from tests.driver.windows_share import SECTOR, WindowsShare, shown
from vhdx.storage.local import LocalFileSystem

GIB = 1 << 30
MIB = 1 << 20
LOCATIONS = {
    "as listed": "//{server}/{share}",
    "in capitals": "//{server}/{SHARE}",
    "with backslashes": "\\\\{server}\\{share}",
}
"""How the database may have a share of the driver."""


def left_by_windows(volumes: Volumes, shares: Shares, snapshots: int) -> tuple[str, list[str], WindowsShare]:
    """A volume with snapshots, the oldest first, whose files such a driver left; and the share."""
    volume, made = volumes.create(), []
    for _ in range(snapshots):
        made.append(volumes.snapshot(volume))
        second = int(time.time())
        # Cinder knows which one is the latest by whole seconds.
        until(lambda second=second: int(time.time()) > second, "the clock moves on")
    directory = shares.directory(shares.share_of(volume))
    for file in shares.files_of(volume):
        (directory / Path(file).name).unlink()
    share = WindowsShare(LocalFileSystem(directory), DiskFormat(volumes.backend), block=2 * MIB, size=GIB)
    share.layered(f"volume-{volume}", made)
    return volume, made, share


def set_location(cloud: Cloud, shares: Shares, volume: str, form: str) -> None:
    """Where the database has the volume."""
    name = shares.share_of(volume)
    place = LOCATIONS[form].format(server=cloud.server, share=name, SHARE=name.upper()).replace("\\", "\\\\")
    statement = f"update volumes set provider_location = '{place}' where id = '{volume}';"
    subprocess.run(
        ["mariadb", "--no-defaults", "-uroot", "-S", f"{cloud.home}/state/mysql.sock", "cinder"],
        env={"PATH": SYSTEM_PATH},
        input=statement.encode(),
        check=True,
    )


def holds(shares: Shares, volume: str, layers: int) -> bool:
    """Whether a volume shows the base and so many layers."""
    wanted = {sector: byte for sector, byte in shown(3).items() if sector >= 0}
    wanted |= dict.fromkeys(wanted, 0) | {sector: byte for sector, byte in shown(layers).items() if sector >= 0}
    with shares.open(volume) as disk:
        return all(disk.read(sector * SECTOR, SECTOR) == bytes([byte]) * SECTOR for sector, byte in wanted.items())


@pytest.mark.parametrize("form", LOCATIONS)
def test_snapshots_of_a_volume_are_those_that_were_made(
    cloud: Cloud, volumes: Volumes, shares: Shares, form: str
) -> None:
    volume, (first, second, third), share = left_by_windows(volumes, shares, 3)
    set_location(cloud, shares, volume, form)
    assert holds(shares, volume, 3)
    for layers, snapshot in enumerate((first, second, third)):
        made = volumes.create(snapshot_id=snapshot)
        assert holds(shares, made, layers)
        volumes.delete(made)
    volumes.delete_snapshot(second)
    copy = volumes.create(2, source_volid=volume)
    assert shares.size(copy) == 2 * GIB
    assert holds(shares, copy, 3)
    volumes.revert(volume, third)
    assert holds(shares, volume, 2)
    volumes.delete_snapshot(first)
    volumes.delete_snapshot(third)
    assert holds(shares, volume, 2)
    names = share.names(f"volume-{volume}")
    assert {Path(file).name for file in shares.files_of(volume)} == {names.base, names.info}


def test_a_volume_goes_on_to_live(volumes: Volumes, shares: Shares) -> None:
    volume, (first,), share = left_by_windows(volumes, shares, 1)
    later = volumes.snapshot(volume)
    assert shares.active(volume).endswith(share.names(f"volume-{volume}").snapshot(later))
    shares.write(volume, 64 * MIB, b"new" * 512)
    if volumes.backend == "vhd":
        with pytest.raises(Failed):
            volumes.extend(volume, 2)
        volumes.set_available(volume)
    else:
        volumes.extend(volume, 2)
        assert shares.size(volume) == 2 * GIB
    volumes.delete_snapshot(first)
    volumes.delete_snapshot(later)
    volumes.extend(volume, 3)
    assert holds(shares, volume, 1)
    assert shares.read(volume, 64 * MIB, 1536) == b"new" * 512
    assert shares.size(volume) == 3 * GIB


def test_a_volume_goes_with_all_its_files(volumes: Volumes, shares: Shares) -> None:
    volume, _, _ = left_by_windows(volumes, shares, 3)
    with pytest.raises(Refused):
        volumes.delete(volume)
    assert len(shares.files_of(volume)) == 5
    volumes.delete_with_snapshots(volume)
    assert not shares.files_of(volume)


def test_the_host_of_a_volume_is_told_its_active_file(cloud: Cloud, volumes: Volumes, shares: Shares) -> None:
    volume, (_, second), share = left_by_windows(volumes, shares, 2)
    set_location(cloud, shares, volume, "in capitals")
    attachment, told = volumes.attach(volume)
    assert told["name"] == share.names(f"volume-{volume}").snapshot(second)
    assert told["format"] == volumes.backend
    # The share is named as the list has it.
    assert told["export"] == f"//{cloud.server}/{shares.share_of(volume)}"
    volumes.detach(volume, attachment)


def test_a_volume_without_snapshots_moves_and_is_taken_up_again(
    cloud: Cloud, rest: Rest, volumes: Volumes, shares: Shares
) -> None:
    volume, (only,), _ = left_by_windows(volumes, shares, 1)
    volumes.delete_snapshot(only)
    set_location(cloud, shares, volume, "with backslashes")
    home = volumes.pool(volume)
    others = {one["name"] for one in rest.volume("GET", "/scheduler-stats/get_pools")["pools"]} - {home}
    onto = next((one for one in sorted(others) if one.partition("#")[0] == home.partition("#")[0]), None)
    if onto is not None:
        volumes.migrate(volume, onto)
        assert volumes.pool(volume).startswith(destination(onto))
        assert shares.share_of(volume) == volumes.pool(volume).partition("#")[2]
        assert holds(shares, volume, 1)
    pool, share = volumes.pool(volume), shares.share_of(volume)
    volumes.unmanage(volume)
    reference = {"source-name": f"\\\\{cloud.server}\\{share}\\volume-{volume}.{volumes.backend}"}
    again = volumes.manage(pool, reference)
    assert holds(shares, again, 1)
    assert not shares.files_of(volume)


def test_snapshots_that_cinder_forgot_are_listed_and_taken_up_again(volumes: Volumes, shares: Shares) -> None:
    volume, (first, second), _ = left_by_windows(volumes, shares, 2)
    volumes.unmanage_snapshot(first)
    found = {str(one["reference"]["source-name"]): one for one in volumes.manageable("snapshots", volume)}
    assert found[f"snapshot-{first}"]["safe_to_manage"]
    assert not found[f"snapshot-{second}"]["safe_to_manage"]
    again = volumes.manage_snapshot(volume, {"source-name": f"snapshot-{first}"})
    made = volumes.create(snapshot_id=again)
    assert holds(shares, made, 0)
