"""Deleting a volume of which the database never learnt the place, since the service was stopped before it told."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from cinder import context, objects

objects.register_all()

from smbfs_driver.backend import Backend  # noqa: E402  Cinder's objects have to be there before
from smbfs_driver.driver import SmbfsDriver  # noqa: E402
from smbfs_driver.shape import DYNAMIC_VHDX  # noqa: E402
from tests.cinder.shares import Shares  # noqa: E402

GIB = 1 << 30


@pytest.fixture
def volume(driver: SmbfsDriver) -> Iterator[Any]:
    """One that is on its share, as a service has it that knows only where it was to be made."""
    pool = list(driver._reach.pools)[-1]
    made = objects.Volume(
        context.get_admin_context(),
        id=str(uuid4()),
        _name_id=None,
        status="deleting",
        host=f"host@driving#{pool.name}",
        provider_location=None,
    )
    driver._reach.run(Backend.create, pool.address, made.name, GIB, DYNAMIC_VHDX)
    yield made
    driver._reach.run(Backend.delete, pool.address, made.name)


def test_what_was_made_of_it_goes(driver: SmbfsDriver, shares: Shares, volume: Any) -> None:
    driver.delete_volume(volume)
    assert not shares.files_of(volume.id)


def test_what_was_to_be_taken_up_stays(driver: SmbfsDriver, shares: Shares, volume: Any) -> None:
    """It was there before Cinder, and Cinder never took it up."""
    volume.status = "error_managing_deleting"
    driver.delete_volume(volume)
    assert len(shares.files_of(volume.id)) == 1


@pytest.mark.parametrize("host", [None, "host@driving"])
def test_one_that_was_to_be_nowhere_is_gone(driver: SmbfsDriver, shares: Shares, volume: Any, host: str | None) -> None:
    volume.host = host
    driver.delete_volume(volume)
    assert len(shares.files_of(volume.id)) == 1
