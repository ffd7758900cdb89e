"""Volumes that move to another share, or are to be kept in another way, without going through this machine's disks.

What is told to Cinder's database here is what decides where a volume is: see `smbfs_driver.volumes.moving`.
"""

import contextlib
from typing import Any

from cinder import exception
from oslo_config import cfg
from oslo_log import log

from smbfs_driver.cinder import groups
from smbfs_driver.cinder.reach import BackendReach, is_attached, told_to_cinder
from smbfs_driver.shares.pools import Pool
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.steps import MoveStopped
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)
_DECLINED = (False, None)


def migrate(reach: BackendReach, volume: Any, host: Any) -> tuple[bool, dict[str, Any] | None]:
    """Move a volume to the pool *host*, in the shape that it has; declined where that is not one of our shares."""
    onto = _pool_at(reach, host)
    if onto is None or is_attached(volume):
        return _DECLINED
    with told_to_cinder():
        kept = reach.run(Backend.kept, reach.address(volume), volume.name)
        if kept.has_snapshots:
            return _DECLINED
        _move(reach, volume, onto, host, kept.shape)
    return True, {"provider_location": onto.address}


def retype(reach: BackendReach, volume: Any, new_type: Any, host: Any) -> tuple[bool, dict[str, Any] | None]:
    """Keep a volume as *new_type* says, in the pool *host*; declined where that cannot be done here and now."""
    onto = _pool_at(reach, host)
    if onto is None or onto not in reach.pools:
        return _DECLINED
    shape, home = reach.shape(new_type), reach.pool_of(volume)
    with told_to_cinder():
        kept = reach.run(Backend.kept, home.address, volume.name)
        if shape == kept.shape and onto == home:
            return True, None
        if kept.has_snapshots or is_attached(volume):
            LOG.warning("%s: has snapshots or is attached, so it stays as it is", volume.name)
            return _DECLINED
        if onto == home:
            reach.run(Backend.reshape, home.address, volume.name, shape)
            return True, None
        _move(reach, volume, onto, host, shape)
    return True, {"provider_location": onto.address}


def rename_migrated(reach: BackendReach, volume: Any, new_volume: Any) -> dict[str, Any]:
    """After Cinder has copied *volume* into *new_volume*: give that the name by its id, where nothing there has it.

    Without it the volume keeps the name, which the database then knows under ``_name_id``.
    """
    unchanged = {"_name_id": new_volume.name_id, "provider_location": new_volume.provider_location}
    wanted = cfg.CONF.volume_name_template % volume.id
    with groups.locked([volume.name, new_volume.name, wanted]):
        if is_attached(volume) or is_attached(new_volume):
            return unchanged
        address = reach.address(new_volume)
        try:
            reach.run(Backend.rename, address, new_volume.name, wanted)
        except (Error, OSError) as error:
            # It may be done all the same, and only the answer be lost.
            with told_to_cinder():
                if reach.run(Backend.exists, address, new_volume.name):
                    LOG.info("%s keeps its name: %s", new_volume.name, error)
                    return unchanged
                if not reach.run(Backend.exists, address, wanted):
                    raise
    return {"_name_id": None, "provider_location": new_volume.provider_location}


def _pool_at(reach: BackendReach, host: Any) -> Pool | None:
    """The pool that is meant by what the scheduler says of it; another backend's where this service has that, too."""
    kind, _, address = str((host.get("capabilities") or {}).get("location_info")).partition(":")
    if kind != "smbfs":
        return None
    with contextlib.suppress(Error):
        return reach.known(address)
    return None


def _move(reach: BackendReach, volume: Any, onto: Pool, host: Any, shape: Shape) -> None:
    if onto == reach.pool_of(volume):
        return
    try:
        _carry(reach, volume, onto, host, shape)
    except MoveStopped as stopped:
        # What an earlier move left at one of the two places; this one has not begun.
        reach.settle_move(stopped)
        _carry(reach, volume, onto, host, shape)


def _carry(reach: BackendReach, volume: Any, onto: Pool, host: Any, shape: Shape) -> None:
    home = reach.pool_of(volume)
    moved = False
    try:
        with reach.feed(
            Backend.move, home.address, volume.name, onto=onto.address, owner=volume.id, shape=shape
        ) as moving:
            moving.write(b"-")
            # From here on the volume is there; until here it is where it was.
            _enter(volume, onto, host)
            moved = True
    except MoveStopped:
        raise
    except (Error, OSError, exception.CinderException) as error:
        reach.unsettled.add(home.address)
        _settle(reach, volume, onto)
        if not moved or not reach.run(Backend.exists, onto.address, volume.name):
            raise
        LOG.warning("%s has moved to %s, but not all of it is tidied up: %s", volume.name, onto.address, error)
    except BaseException:
        reach.unsettled.add(home.address)
        raise


def _enter(volume: Any, onto: Pool, host: Any) -> None:
    """Tell the database that the volume is there. Where that fails, nothing that is saved later says so."""
    place = {"provider_location": onto.address, "host": host["host"]}
    if host.get("cluster_name"):
        place["cluster_name"] = host["cluster_name"]
    before = {key: volume[key] for key in place}
    try:
        volume.update(place)
        volume.save()
    except BaseException:
        volume.update(before)
        volume.obj_reset_changes(list(place))
        raise


def _settle(reach: BackendReach, volume: Any, onto: Pool) -> None:
    """Leave nothing behind, as far as it can be done now; what remains is settled when it can be."""
    try:
        reach.settle_move(MoveStopped("", volume.id, onto.address, volume.name))
    except (Error, OSError, exception.CinderException) as error:
        LOG.warning("%s: what is left of its move is still to be settled: %s", volume.name, error)
