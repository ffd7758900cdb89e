"""Moves that meet a database that fails, or what an earlier move left: the volume is where the database says."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from cinder import context, coordination, exception, objects
from cinder.db import api as db

objects.register_all()

from smbfs_driver.cinder import migration  # noqa: E402  Cinder's objects have to be there before
from smbfs_driver.cinder.statistics import location  # noqa: E402
from smbfs_driver.driver import SmbfsDriver  # noqa: E402
from smbfs_driver.shares.pools import Pool  # noqa: E402
from smbfs_driver.volumes.shape import DYNAMIC_VHDX  # noqa: E402
from smbfs_driver.worker.backend import Backend  # noqa: E402
from tests.cinder.shares import Shares  # noqa: E402

GIB = 1 << 30


class Catalogue:
    """Cinder's database as far as a move needs it: one volume. It can fail, before or after it has written."""

    def __init__(self, volume: Any) -> None:
        self.stored = {name: volume[name] for name in ("provider_location", "host")}
        self._volume = volume
        self.fails: str | None = None

    def update(self, _: object, __: object, values: dict[str, Any]) -> None:
        if self.fails != "before":
            self.stored |= values
        if self.fails:
            raise exception.CinderException("the database is gone")

    def get(self, *_: object, **__: object) -> Any:
        return objects.Volume(id=self._volume.id, _name_id=None, **self.stored)


@pytest.fixture
def pools(driver: SmbfsDriver) -> list[Pool]:
    return list(driver._reach.pools)


@pytest.fixture
def volume(driver: SmbfsDriver, pools: list[Pool]) -> Iterator[Any]:
    """A volume in the first pool."""
    ident = str(uuid4())
    made = objects.Volume(
        context.get_admin_context(),
        id=ident,
        _name_id=None,
        host=f"host@driving#{pools[0].name}",
        cluster_name=None,
        provider_location=pools[0].address,
        volume_attachment=objects.VolumeAttachmentList(objects=[]),
    )
    made.obj_reset_changes()
    driver._reach.run(Backend.create, pools[0].address, made.name, GIB, DYNAMIC_VHDX)
    yield made
    for pool in pools:
        driver._reach.run(Backend.delete, pool.address, made.name)


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch, volume: Any) -> Catalogue:
    made = Catalogue(volume)
    monkeypatch.setattr(db, "volume_update", made.update)
    monkeypatch.setattr(objects.Volume, "get_by_id", made.get)
    return made


def at(pool: Pool) -> dict[str, Any]:
    """What the scheduler says of a destination."""
    return {"host": f"host@driving#{pool.name}", "capabilities": {"location_info": location(pool)}}


def homes(shares: Shares, volume: Any) -> list[str]:
    """The shares that have an image of the volume."""
    return sorted(file.partition("/")[0] for file in shares.files_of(volume.id) if file.endswith(".vhdx"))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_volume_is_where_the_database_says_when_that_fails(
    driver: SmbfsDriver,
    pools: list[Pool],
    volume: Any,
    catalogue: Catalogue,
    shares: Shares,
    moment: str,
) -> None:
    catalogue.fails = moment
    with pytest.raises(exception.CinderException, match="the database is gone"):
        migration.migrate(driver._reach, volume, at(pools[1]))
    catalogue.fails = None
    # What Cinder does then; nothing else may be said with it.
    volume.update({"migration_status": "error"})
    volume.save()
    home = driver._reach.known(catalogue.stored["provider_location"])
    assert home == pools[0 if moment == "before" else 1]
    assert catalogue.stored["host"].partition("#")[2] == home.name
    assert homes(shares, volume) == [home.name]
    assert not [file for file in shares.files_of(volume.id) if file.endswith(".intent")]


def stop_a_move(driver: SmbfsDriver, volume: Any, home: Pool, onto: Pool) -> None:
    """The worker dies when the database was told, and nothing is cleared up."""
    moving = driver._reach.feed(
        Backend.move, home.address, volume.name, onto=onto.address, owner=volume.id, shape=DYNAMIC_VHDX
    )
    with pytest.raises(OSError, match="died"), moving:
        moving.write(b"-")
        volume.update({"provider_location": onto.address})
        volume.save()
        driver._reach._worker.close()


def test_a_share_is_looked_at_again_until_all_of_it_is_settled(
    driver: SmbfsDriver, pools: list[Pool], volume: Any, catalogue: Catalogue, shares: Shares
) -> None:
    first, second = pools[:2]
    stop_a_move(driver, volume, first, second)
    with coordination.COORDINATOR.get_lock(f"smbfs-{volume.name}"):
        recover(driver, first)
    assert homes(shares, volume) == sorted([first.name, second.name])
    recover(driver, first)
    assert homes(shares, volume) == [second.name]


def recover(driver: SmbfsDriver, pool: Pool) -> None:
    """What the service does with each share that it reaches, to its end."""
    driver._recovery.begin(pool)
    for thread in threading.enumerate():
        if thread.name == f"recover {pool.name}":
            thread.join()


def test_a_volume_goes_back_to_where_a_stopped_move_left_something(
    driver: SmbfsDriver,
    pools: list[Pool],
    volume: Any,
    catalogue: Catalogue,
    shares: Shares,
) -> None:
    first, second = pools[:2]
    stop_a_move(driver, volume, first, second)
    assert homes(shares, volume) == sorted([first.name, second.name])
    assert migration.migrate(driver._reach, volume, at(first)) == (True, {"provider_location": first.address})
    assert homes(shares, volume) == [first.name]
