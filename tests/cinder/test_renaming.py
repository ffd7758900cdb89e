"""The copy that Cinder itself made of a volume, on its way to another backend, takes the volume's name."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from smbfs_driver.driver import SmbfsDriver
from smbfs_driver.volumes.shape import DYNAMIC_VHDX
from smbfs_driver.worker.backend import Backend
from tests.cinder.shares import Shares

GIB = 1 << 30


def volume(address: str) -> SimpleNamespace:
    """As much of Cinder's object as the driver asks for."""
    ident = str(uuid4())
    return SimpleNamespace(id=ident, name_id=ident, name=f"volume-{ident}", provider_location=address)


@pytest.fixture
def pair(driver: SmbfsDriver) -> Iterator[tuple[SimpleNamespace, SimpleNamespace]]:
    """A volume that is elsewhere, and the copy of it on a share."""
    address = next(iter(driver._reach.pools)).address
    old, new = volume("//elsewhere/share"), volume(address)
    driver._reach.run(Backend.create, address, new.name, GIB, DYNAMIC_VHDX)
    yield old, new
    for one in (old, new):
        driver._reach.run(Backend.delete, address, one.name)


Pair = tuple[SimpleNamespace, SimpleNamespace]


def test_the_copy_takes_the_name(driver: SmbfsDriver, shares: Shares, pair: Pair) -> None:
    old, new = pair
    told = driver.update_migrated_volume(None, old, new, "available")
    assert told == {"_name_id": None, "provider_location": new.provider_location}
    assert not shares.files_of(new.id)
    assert len(shares.files_of(old.id)) == 1


def test_a_name_that_is_taken_stays_with_its_volume(driver: SmbfsDriver, shares: Shares, pair: Pair) -> None:
    old, new = pair
    driver._reach.run(Backend.create, new.provider_location, old.name, 2 * GIB, DYNAMIC_VHDX)
    told = driver.update_migrated_volume(None, old, new, "available")
    assert told == {"_name_id": new.id, "provider_location": new.provider_location}
    assert shares.size(new.id) == GIB
    assert shares.size(old.id) == 2 * GIB


def test_the_copy_of_a_volume_with_another_name_takes_the_name_by_its_id(
    driver: SmbfsDriver, shares: Shares, pair: Pair
) -> None:
    """As one has that could not take it in a migration before: from now on the database makes the name of the id."""
    old, new = pair
    old.name_id = str(uuid4())
    old.name = f"volume-{old.name_id}"
    told = driver.update_migrated_volume(None, old, new, "available")
    assert told == {"_name_id": None, "provider_location": new.provider_location}
    assert len(shares.files_of(old.id)) == 1
    assert not shares.files_of(old.name_id)
    driver._reach.run(Backend.delete, new.provider_location, f"volume-{old.id}")


@pytest.mark.parametrize("done", [True, False], ids=["it was renamed", "it was not"])
def test_an_answer_that_is_lost_is_asked_for_again(
    driver: SmbfsDriver, shares: Shares, pair: Pair, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    old, new = pair
    run = driver._reach.run

    def lose(method: Any, *arguments: Any) -> Any:
        if method is not Backend.rename:
            return run(method, *arguments)
        if done:
            run(method, *arguments)
        raise ConnectionResetError("the worker process of this backend died")

    monkeypatch.setattr(driver._reach, "run", lose)
    told = driver.update_migrated_volume(None, old, new, "available")
    assert told["_name_id"] == (None if done else new.id)
    assert len(shares.files_of(old.id if done else new.id)) == 1
