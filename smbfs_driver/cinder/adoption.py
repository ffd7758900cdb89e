"""Manage existing volumes and snapshots: list them and adopt them."""

from collections.abc import Callable, Iterator
from typing import Any

from cinder import context, exception, objects
from cinder.volume import volume_utils
from oslo_log import log
from oslo_utils import units

from smbfs_driver.cinder.failures import told_of_reference
from smbfs_driver.cinder.reach import BackendReach
from smbfs_driver.shares.pools import Pool
from smbfs_driver.volumes.managing import Reference, parse_reference
from smbfs_driver.volumes.names import is_identifier
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)
_PREFIX = "snapshot-"


def size_of_volume(reach: BackendReach, volume: Any, existing_ref: dict[str, str]) -> int:
    """Size of an image on a share in GiB, rounded up."""
    reference, _ = _referenced(reach, volume, existing_ref)
    with told_of_reference(existing_ref):
        return _gib(reach.run(Backend.image_size, reference))


def adopt_volume(reach: BackendReach, volume: Any, existing_ref: dict[str, str]) -> dict[str, str]:
    """Turn an image on a share into a volume: extend it to whole GiB and rename it."""
    reference, pool = _referenced(reach, volume, existing_ref)
    if _is_of_another(volume, reference):
        raise exception.ManageExistingAlreadyManaged(volume_ref=reference.name)
    place: dict[str, str] = {}
    if pool != reach.pool_of(volume):
        # In a cluster Cinder does not pass the requested pool but selects one itself.
        if not volume.cluster_name:
            raise exception.ManageExistingInvalidReference(
                existing_ref=existing_ref, reason=f"it is in pool {pool.name}, not in the pool of the volume"
            )
        place = {"host": _in_pool(volume.host, pool), "cluster_name": _in_pool(volume.cluster_name, pool)}
    with told_of_reference(existing_ref):
        reach.run(Backend.adopt, volume.name, reference, units.Gi)
    return {"provider_location": pool.address, **place}


def _is_of_another(volume: Any, reference: Reference) -> bool:
    """Whether the name of an image is that of another volume in Cinder, by its id or its name id."""
    owner = volume_utils.extract_id_from_volume_name(reference.path.lower().rpartition(".")[0])
    if owner is None or not is_identifier(owner) or owner == volume.id:
        return False
    admin = context.get_admin_context()
    named = objects.VolumeList.get_all(admin, filters={"_name_id": owner})
    return bool(named) or bool(objects.Volume.exists(admin, owner))


def _in_pool(place: str, pool: Pool) -> str:
    """A host or cluster string of Cinder with the name of this pool."""
    return str(volume_utils.append_host(volume_utils.extract_host(place, "backend"), pool.name))


def volumes(reach: BackendReach, cinder_volumes: Any) -> list[dict[str, Any]]:
    """The images in the root directories of the shares, and whether each can be managed."""
    managed = {volume.name: volume.id for volume in cinder_volumes}

    def listed(pool: Pool) -> Iterator[dict[str, Any]]:
        for one in reach.run(Backend.candidates, pool.address, set(managed)):
            yield {
                "reference": {"source-name": one.reference.name},
                "size": one.size,
                "safe_to_manage": not one.reason,
                "reason_not_safe": one.reason or None,
                "cinder_id": managed.get(one.volume) if one.volume else None,
                "extra_info": None,
            }

    return _on_all(reach, listed)


def size_of_snapshot(reach: BackendReach, snapshot: Any, existing_ref: dict[str, str]) -> int:
    """Size of the volume at a snapshot in GiB, rounded up."""
    with told_of_reference(existing_ref):
        source = _snapshot_id(reach, snapshot, existing_ref)
        return _gib(reach.run(Backend.snapshot_size, reach.address(snapshot.volume), snapshot.volume.name, source))


def adopt_snapshot(reach: BackendReach, snapshot: Any, existing_ref: dict[str, str]) -> None:
    """Give an existing snapshot the id of *snapshot*."""
    with told_of_reference(existing_ref):
        source = _snapshot_id(reach, snapshot, existing_ref)
        if source == snapshot.id:
            return
        if objects.Snapshot.exists(context.get_admin_context(), source):
            raise exception.ManageExistingAlreadyManaged(volume_ref=f"{_PREFIX}{source}")
        reach.run(
            Backend.rename_snapshot, reach.address(snapshot.volume), snapshot.volume.name, source, snapshot.id
        )


def snapshots(reach: BackendReach, cinder_snapshots: Any) -> list[dict[str, Any]]:
    """The snapshots on the shares, and whether Cinder manages each."""
    managed = {snapshot.id for snapshot in cinder_snapshots}

    def listed(pool: Pool) -> Iterator[dict[str, Any]]:
        for volume, ids in reach.run(Backend.snapshots, pool.address).items():
            for snapshot_id in ids:
                ours = snapshot_id in managed
                yield {
                    "reference": {"source-name": f"{_PREFIX}{snapshot_id}"},
                    "source_reference": {"source-name": volume},
                    "size": _gib(reach.run(Backend.snapshot_size, pool.address, volume, snapshot_id)),
                    "safe_to_manage": not ours,
                    "reason_not_safe": "already managed" if ours else None,
                    "cinder_id": snapshot_id if ours else None,
                    "extra_info": None,
                }

    return _on_all(reach, listed)


def _on_all(reach: BackendReach, listed: Callable[[Pool], Iterator[dict[str, Any]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for pool in reach.pools:
        try:
            found.extend(listed(pool))
        except (Error, OSError) as error:
            LOG.warning("%s cannot be listed completely: %s", pool.address, error)
    return found


def _referenced(reach: BackendReach, volume: Any, existing_ref: dict[str, str]) -> tuple[Reference, Pool]:
    with told_of_reference(existing_ref):
        home = reach.pool_of(volume).address
        reference = parse_reference(_source_name(existing_ref, "//server/share/path/file"), home)
        pool = reach.pools.at(reference.address)
        return reach.run(Backend.existing, reference), pool


def _snapshot_id(reach: BackendReach, snapshot: Any, existing_ref: dict[str, str]) -> str:
    """The id on the share of the snapshot that the reference names."""
    volume = snapshot.volume
    name = _source_name(existing_ref, f"{_PREFIX}ID, with the current id of the snapshot")
    return reach.run(Backend.snapshot_named, reach.address(volume), volume.name, name)


def _source_name(existing_ref: Any, form: str) -> str:
    name = existing_ref.get("source-name") if isinstance(existing_ref, dict) else None
    if not isinstance(name, str) or not name:
        raise Error(f"invalid reference; give source-name: {form}")
    return name


def _gib(size: int) -> int:
    return -(-size // units.Gi)
