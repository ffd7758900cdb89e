"""Groups of volumes and their consistent snapshots."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cinder import coordination, exception
from cinder.objects import fields
from oslo_log import log

from smbfs_driver.cinder.failures import told_to_cinder
from smbfs_driver.cinder.reach import BackendReach, refuse_attached
from smbfs_driver.worker.backend import Backend, GroupMember

LOG = log.getLogger(__name__)

AVAILABLE = {"status": fields.GroupStatus.AVAILABLE}
_DELETED = fields.GroupStatus.DELETED
_STAYED = fields.GroupStatus.ERROR_DELETING

Updates = tuple[dict[str, Any], list[dict[str, Any]]]
"""Model updates of a group and of its members."""


@contextlib.contextmanager
def locked(names: Sequence[str]) -> Iterator[None]:
    """Hold the locks of several volumes, acquired in the order of their names."""
    with contextlib.ExitStack() as held:
        for name in sorted(set(names)):
            held.enter_context(coordination.COORDINATOR.get_lock(f"smbfs-{name}"))
        yield


def create_snapshot(reach: BackendReach, snapshots: Sequence[Any]) -> Updates:
    """Create a snapshot of each volume, all of the same point in time: no volume is written to until all exist."""
    with locked([snapshot.volume.name for snapshot in snapshots]), told_to_cinder():
        for snapshot in snapshots:
            refuse_attached(snapshot.volume, "cannot be snapshotted")
        members = [GroupMember(reach.address(one.volume), one.volume.name, one.id) for one in snapshots]
        reach.run(Backend.create_group_snapshot, members)
    return dict(AVAILABLE), [{"id": snapshot.id, **AVAILABLE} for snapshot in snapshots]


def copies(copy: Callable[[Any, Any], dict[str, Any]], volumes: Sequence[Any], sources: Sequence[Any]) -> Updates:
    """Create each volume by calling *copy* with its source."""
    pairs = zip(volumes, sources, strict=True)
    made = [{"id": volume.id, **copy(volume, source), **AVAILABLE} for volume, source in pairs]
    return dict(AVAILABLE), made


def delete_each(delete: Callable[[Any], None], things: Sequence[Any]) -> Updates:
    """Delete each of *things*; a failure does not prevent the deletion of the others."""
    updates = []
    for thing in things:
        try:
            delete(thing)
        except exception.CinderException as error:
            LOG.error("%s cannot be deleted: %s", thing.name, error)
            updates.append({"id": thing.id, "status": _STAYED})
        else:
            updates.append({"id": thing.id, "status": _DELETED})
    stayed = any(update["status"] == _STAYED for update in updates)
    return {"status": _STAYED if stayed else _DELETED}, updates
