"""The copy that Cinder itself made of a volume, on its way to another backend, takes the volume's name."""

from collections.abc import Iterator
from types import SimpleNamespace
from uuid import uuid4

import pytest

from smbfs_driver.backend import Backend
from smbfs_driver.driver import SmbfsDriver
from smbfs_driver.shape import DYNAMIC_VHDX
from tests.cinder.shares import Shares

GIB = 1 << 30


def volume(address: str) -> SimpleNamespace:
    """As much of Cinder's object as the driver asks for."""
    ident = str(uuid4())
    return SimpleNamespace(
        id=ident, name_id=ident, name=f"volume-{ident}", provider_location=address, volume_attachment=()
    )


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
