"""Migration to another share and retype, without intermediate files on this machine.

The update of Cinder's database made here decides where a volume is: see `smbfs_driver.volumes.moving`.
"""

import contextlib
from typing import Any

from cinder import exception
from oslo_config import cfg
from oslo_log import log

from smbfs_driver.cinder import groups
from smbfs_driver.cinder.failures import told_to_cinder
from smbfs_driver.cinder.reach import BackendReach, is_attached
from smbfs_driver.shares.pools import Pool
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.steps import MoveStopped
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)
_DECLINED = (False, None)


def migrate(reach: BackendReach, volume: Any, host: Any) -> tuple[bool, dict[str, Any] | None]:
    """Move a volume to the pool *host*, keeping its shape; decline if that is no share of this service."""
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
    """Convert a volume to the shape of *new_type*, in the pool *host*; decline if this is not possible."""
    onto = _pool_at(reach, host)
    if onto is None or onto not in reach.pools:
        return _DECLINED
    shape, home = reach.shape(new_type), reach.pool_of(volume)
    with told_to_cinder():
        kept = reach.run(Backend.kept, home.address, volume.name)
        if shape == kept.shape and onto == home:
            return True, None
        if kept.has_snapshots or is_attached(volume):
            LOG.warning("%s: has snapshots or is attached; not converted", volume.name)
            return _DECLINED
        if onto == home:
            reach.run(Backend.reshape, home.address, volume.name, shape)
            return True, None
        _move(reach, volume, onto, host, shape)
    return True, {"provider_location": onto.address}


def rename_migrated(reach: BackendReach, volume: Any, new_volume: Any) -> dict[str, Any]:
    """After Cinder has copied *volume* to *new_volume*: rename the copy to the name of *volume*, if that is free.

    Otherwise the copy keeps its name, which the database records as ``_name_id``.
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
            # The rename may have succeeded, with only its response lost.
            with told_to_cinder():
                if reach.run(Backend.exists, address, new_volume.name):
                    LOG.info("%s: not renamed: %s", new_volume.name, error)
                    return unchanged
                if not reach.run(Backend.exists, address, wanted):
                    raise
    return {"_name_id": None, "provider_location": new_volume.provider_location}


def _pool_at(reach: BackendReach, host: Any) -> Pool | None:
    """The pool of the scheduler's location_info, of this backend or of another of this service; None if unknown."""
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
        # An earlier move was interrupted; this one has not started.
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
            # The update of the database moves the volume.
            _enter(volume, onto, host)
            moved = True
    except MoveStopped:
        raise
    except (Error, OSError, exception.CinderException) as error:
        reach.unsettled.add(home.address)
        _settle(reach, volume, onto)
        if not moved or not reach.run(Backend.exists, onto.address, volume.name):
            raise
        LOG.warning("%s was moved to %s, but the cleanup is incomplete: %s", volume.name, onto.address, error)
    except BaseException:
        reach.unsettled.add(home.address)
        raise


def _enter(volume: Any, onto: Pool, host: Any) -> None:
    """Record the new location in the database. On failure, restore the object, so that no later save records it."""
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
    """Recover the move now if possible; otherwise it is recovered later."""
    try:
        reach.settle_move(MoveStopped("", volume.id, onto.address, volume.name))
    except (Error, OSError, exception.CinderException) as error:
        LOG.warning("%s: the interrupted move is not recovered yet: %s", volume.name, error)
