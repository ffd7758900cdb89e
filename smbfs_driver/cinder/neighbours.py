"""The shares of other backends of the same service, for migration between backends."""

from collections.abc import Sequence
from pathlib import Path

from cinder.volume import configuration
from oslo_config import cfg
from oslo_log import log

from smbfs_driver.options import OPTIONS
from smbfs_driver.shares import samba_config, shares
from smbfs_driver.shares.shares import Share
from smbfs_driver.shares.unc import UncName
from vhdx.errors import Error

LOG = log.getLogger(__name__)
_DRIVER = "smbfs_driver.driver.SmbfsDriver"


def shares_beside(section: str, own: Sequence[Share]) -> list[Share]:
    """The shares of other backends with this driver, without *own*; *section* is the section of this backend."""
    # Imported here, because the manager imports the driver.
    from cinder.volume.manager import volume_backend_opts  # noqa: PLC0415

    found: dict[UncName, Share] = {}
    for name in cfg.CONF.enabled_backends or ():
        settings = configuration.Configuration([*OPTIONS, *volume_backend_opts], config_group=name)
        if name == section or settings.volume_driver != _DRIVER:
            continue
        try:
            defaults = samba_config.of(settings.smbfs_smb_conf)
            listed = shares.load(Path(settings.smbfs_shares_config), defaults)
        except (Error, OSError) as error:
            LOG.warning("Driver-assisted migration to and from backend %s is unavailable: %s", name, error)
            continue
        found |= {share.unc: share for share in listed}
    ours = {share.unc for share in own}
    return [share for unc, share in found.items() if unc not in ours]
