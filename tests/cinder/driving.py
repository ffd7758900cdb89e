"""A driver beside those of a cloud's services, with a list of their shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cinder import coordination, objects
from oslo_config import cfg

objects.register_all()

from cinder.volume import configuration  # noqa: E402  its objects have to be there before
from cinder.volume.manager import volume_backend_opts  # noqa: E402

from smbfs_driver.driver import SmbfsDriver  # noqa: E402
from smbfs_driver.options import OPTIONS  # noqa: E402
from tests.cinder.cloud import Cloud  # noqa: E402

SECTION = "driving"


@contextmanager
def driving(cloud: Cloud, locks: Path) -> Iterator[SmbfsDriver]:
    """With the shares of the cloud's first backend, and its locks in a directory."""
    settings = configuration.Configuration([*volume_backend_opts, *OPTIONS], config_group=SECTION)
    cfg.CONF.set_override("smbfs_shares_config", str(Path(cloud.home, "etc", "shares-vhdx")), SECTION)
    cfg.CONF.set_override("backend_url", f"file://{locks}", "coordination")
    coordination.COORDINATOR.start()
    try:
        made = SmbfsDriver(configuration=settings, host=f"host@{SECTION}")
        made.do_setup(None)
        yield made
    finally:
        coordination.COORDINATOR.stop()
        cfg.CONF.clear_override("smbfs_shares_config", SECTION)
        cfg.CONF.clear_override("backend_url", "coordination")
