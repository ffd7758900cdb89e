"""Pool statistics for the scheduler; their cost does not depend on the number of volumes."""

from typing import Any

from cinder import context, exception, objects
from cinder.common import constants
from oslo_log import log
from oslo_utils import units

from smbfs_driver.cinder.reach import FORMATS, BackendReach
from smbfs_driver.shares.pools import Pool
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)


def check_ratios(configuration: Any) -> None:
    """Raise InvalidConfigurationValue if over-subscription or reserve is configured by both alternative options."""
    for option, other, untouched in (
        ("smbfs_used_ratio", "reserved_percentage", 0),
        ("smbfs_oversub_ratio", "max_over_subscription_ratio", "20.0"),
    ):
        value, said = getattr(configuration, option), getattr(configuration, other)
        if value is not None and str(said) != str(untouched):
            raise exception.InvalidConfigurationValue(option=f"{option} in addition to {other} = {said}", value=value)


def pool_stats(reach: BackendReach, db: Any, host: str, cluster: str | None, pool: Pool) -> dict[str, Any]:
    """The statistics of a pool; an unreachable one is down."""
    configuration = reach.configuration
    total = free = 0.0
    state = "up"
    try:
        space = reach.run(Backend.capacity, pool.address)
        total, free = space.total / units.Gi, space.free / units.Gi
    except (Error, OSError) as error:
        LOG.warning("%s is unreachable and reported as down: %s", pool.address, error)
        state = "down"
    oversubscription, reserved = configuration.smbfs_oversub_ratio, configuration.smbfs_used_ratio
    return {
        "pool_name": pool.name,
        "total_capacity_gb": round(total, 2),
        "free_capacity_gb": round(free, 2),
        **_provisioned(db, host, cluster, pool),
        "backend_state": state,
        "max_over_subscription_ratio": (
            configuration.max_over_subscription_ratio if oversubscription is None else oversubscription
        ),
        "reserved_percentage": configuration.reserved_percentage if reserved is None else round(100 * (1 - reserved)),
        # If volumes are thick by default, the scheduler must not over-subscribe the pool.
        "thin_provisioning_support": configuration.nas_volume_prov_type == "thin",
        "thick_provisioning_support": True,
        "consistent_group_snapshot_enabled": True,
        "location_info": location(pool),
        # For types with the unscoped extra spec of this name, which the scheduler matches against this capability.
        "volume_format": sorted(FORMATS),
        "multiattach": False,
        "online_extend_support": False,
        "QoS_support": False,
    }


def location(pool: Pool) -> str:
    """The location_info of a pool, by which another backend recognises the share."""
    return f"smbfs:{pool.address}"


def _provisioned(db: Any, host: str, cluster: str | None, pool: Pool) -> dict[str, int]:
    """Provisioned capacity of a pool in GiB: a sum in the database for each host that its volumes can have."""
    admin = context.get_admin_context()
    filters = {"cluster_name": cluster, "binary": constants.VOLUME_BINARY}
    hosts = {service.host for service in objects.ServiceList.get_all(admin, filters)} if cluster else {host}
    sizes = [db.volume_data_get_for_host(admin, f"{one}#{pool.name}")[1] for one in hosts]
    return {"provisioned_capacity_gb": sum(int(size or 0) for size in sizes)}
