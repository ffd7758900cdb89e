"""The copy that Cinder itself made of a volume, on its way to another backend, takes the volume's name."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from cinder import coordination, objects
from oslo_config import cfg

objects.register_all()

from cinder.volume import configuration  # noqa: E402  its objects have to be there before
from cinder.volume.manager import volume_backend_opts  # noqa: E402

from smbfs_driver.backend import Backend  # noqa: E402
from smbfs_driver.driver import SmbfsDriver  # noqa: E402
from smbfs_driver.shape import DYNAMIC_VHDX  # noqa: E402
from tests.cinder.cloud import Cloud  # noqa: E402
from tests.cinder.shares import Shares  # noqa: E402

SECTION = "renaming"
GIB = 1 << 30


@pytest.fixture
def driver(cloud: Cloud, tmp_path: Path) -> Iterator[SmbfsDriver]:
    """A driver beside those of the cloud's service, with its list of shares."""
    settings = configuration.Configuration(volume_backend_opts, config_group=SECTION)
    made = SmbfsDriver(configuration=settings, host=f"host@{SECTION}")
    cfg.CONF.set_override("smbfs_shares_config", str(Path(cloud.home, "etc", "shares-vhdx")), SECTION)
    cfg.CONF.set_override("backend_url", f"file://{tmp_path}", "coordination")
    coordination.COORDINATOR.start()
    made.do_setup(None)
    yield made
    coordination.COORDINATOR.stop()
    cfg.CONF.clear_override("smbfs_shares_config", SECTION)
    cfg.CONF.clear_override("backend_url", "coordination")


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
