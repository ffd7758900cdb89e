"""What the driver tells the database and asks of it, in time: where a volume is to be, and who has it."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from cinder import context, exception, objects
from cinder.db import api as db

objects.register_all()

from smbfs_driver.driver import SmbfsDriver  # noqa: E402
from smbfs_driver.shares.pools import Pool  # noqa: E402
from smbfs_driver.volumes.shape import DYNAMIC_VHDX  # noqa: E402
from smbfs_driver.worker.backend import Backend  # noqa: E402  Cinder's objects have to be there before
from tests.cinder.shares import Shares  # noqa: E402

GIB = 1 << 30


@pytest.fixture
def pool(driver: SmbfsDriver) -> Pool:
    """The one that the scheduler chose."""
    return list(driver._reach.pools)[-1]


@pytest.fixture
def new_volume(driver: SmbfsDriver, pool: Pool) -> Iterator[Callable[[], Any]]:
    """Makes volumes as a driver is given them that is to make them."""
    made = []

    def make() -> Any:
        volume = objects.Volume(
            context.get_admin_context(),
            id=str(uuid4()),
            _name_id=None,
            size=1,
            host=f"host@driving#{pool.name}",
            provider_location=None,
            encryption_key_id=None,
            volume_type=None,
            volume_attachment=objects.VolumeAttachmentList(objects=[]),
        )
        volume.obj_reset_changes()
        made.append(volume.name)
        return volume

    yield make
    for name in made:
        driver._reach.run(Backend.delete, pool.address, name)


@pytest.fixture
def new_snapshot() -> Callable[[Any], Any]:
    """Makes what a driver is given as a snapshot of a volume."""
    return lambda volume: objects.Snapshot(
        context.get_admin_context(), id=str(uuid4()), volume_id=volume.id, volume=volume
    )


def test_the_database_is_told_before_there_is_a_file(
    driver: SmbfsDriver,
    pool: Pool,
    shares: Shares,
    new_volume: Callable[[], Any],
    new_snapshot: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, set[str]]] = []

    def update(_: object, ident: str, values: dict[str, Any]) -> None:
        told.append((values["provider_location"], shares.files_of(ident)))

    monkeypatch.setattr(db, "volume_update", update)
    source = new_volume()
    driver.create_volume(source)
    snapshot = new_snapshot(source)
    driver.create_snapshot(snapshot)
    driver.create_cloned_volume(new_volume(), source)
    driver.create_volume_from_snapshot(new_volume(), snapshot)
    assert told == [(pool.address, set())] * 3


def test_nothing_is_made_that_the_database_does_not_know(
    driver: SmbfsDriver, shares: Shares, new_volume: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise exception.CinderException("the database is gone")

    monkeypatch.setattr(db, "volume_update", fail)
    volume = new_volume()
    with pytest.raises(exception.CinderException, match="the database is gone"):
        driver.create_volume(volume)
    assert not shares.files_of(volume.id)


def test_a_volume_that_comes_to_another_pool_is_made_there(
    driver: SmbfsDriver, shares: Shares, new_volume: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when it could not be made where the scheduler first wanted it."""
    monkeypatch.setattr(db, "volume_update", lambda *_: None)
    volume = new_volume()
    volume.provider_location = next(iter(driver._reach.pools)).address
    driver.create_volume(volume)
    assert shares.share_of(volume.id) == volume.host.partition("#")[2]


def test_what_was_to_be_taken_up_and_was_not_stays(
    driver: SmbfsDriver, pool: Pool, shares: Shares, new_volume: Callable[[], Any]
) -> None:
    """It was there before Cinder; the service was stopped before the database knew of it."""
    volume = new_volume()
    driver._reach.run(Backend.create, pool.address, volume.name, GIB, DYNAMIC_VHDX)
    driver.delete_volume(volume)
    assert len(shares.files_of(volume.id)) == 1


@pytest.mark.parametrize("status", ["reserved", "attaching", "attached", "error_detaching"])
def test_who_has_a_volume_is_asked_when_it_matters(
    driver: SmbfsDriver,
    shares: Shares,
    new_volume: Callable[[], Any],
    new_snapshot: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    """It may have been attached while the request waited for its turn, and what was loaded before does not say so."""
    monkeypatch.setattr(db, "volume_update", lambda *_: None)
    volume = new_volume()
    driver.create_volume(volume)
    snapshot = new_snapshot(volume)
    before = shares.files_of(volume.id)
    now = [objects.VolumeAttachment(attach_status=status)]
    told: list[str] = []
    messages = SimpleNamespace(create=lambda *_, resource_uuid, **__: told.append(resource_uuid))
    monkeypatch.setitem(vars(driver._reach), "messages", messages)  # not asked for before: there is no database
    monkeypatch.setattr(objects.VolumeAttachmentList, "get_all_by_volume_id", lambda *_: now)
    copy = new_volume()
    for change in (
        lambda: driver.create_snapshot(snapshot),
        lambda: driver.create_group_snapshot(None, None, [snapshot]),
        lambda: driver.extend_volume(volume, 2),
        lambda: driver.create_cloned_volume(copy, volume),
    ):
        with pytest.raises(exception.InvalidVolume, match="the volume is attached"):
            change()
    assert shares.files_of(volume.id) == before
    assert told == [copy.id]
