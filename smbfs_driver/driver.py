"""The Cinder volume driver: ``volume_driver = smbfs_driver.driver.SmbfsDriver``.

Each entry point takes its locks and delegates. `smbfs_driver.volumes.volumes` and `smbfs_driver.volumes.moving` work on
the files and define what an interruption leaves; they run in a worker process (`smbfs_driver.worker.worker`).
"""

from typing import Any

from cinder import coordination, exception, interface
from cinder.common import constants
from cinder.volume import configuration, driver, volume_utils
from cinder.volume.drivers import remotefs
from oslo_config import cfg
from oslo_log import log
from oslo_utils import units

from smbfs_driver.cinder import adoption, groups, images, migration, neighbours, settings, statistics
from smbfs_driver.cinder.failures import NOT_RESCHEDULED, RequestRefused, SourceAttached, told_to_cinder
from smbfs_driver.cinder.reach import BackendReach, is_attached, refuse_attached
from smbfs_driver.cinder.recovery import ShareRecovery
from smbfs_driver.options import OPTIONS
from smbfs_driver.shares.pools import Pools
from smbfs_driver.worker.backend import Backend
from smbfs_driver.worker.worker import Worker
from vhdx.errors import InUse

LOG = log.getLogger(__name__)
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)

_PROVISIONING = [option for option in remotefs.volume_opts if option.name == "nas_volume_prov_type"]
"""Thin or thick provisioning: an option shared by Cinder's remote file system drivers."""

_VOLUME_LOCK = "smbfs-{volume.name}"
_SOURCE_LOCK = "smbfs-{src_vref.name}"
_SNAPSHOT_LOCK = "smbfs-{snapshot.volume_name}"


@interface.volumedriver
class SmbfsDriver(driver.VolumeDriver):  # type: ignore[misc]  # Cinder is not typed
    """Volumes as VHD and VHDX files on SMB shares, each share a pool.

    Version history::

        2.0.0  Own engine for VHD and VHDX; requires neither Windows nor mounted shares.
    """

    VERSION = "2.0.0"
    CI_WIKI_NAME = "none"
    SUPPORTS_ACTIVE_ACTIVE = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.configuration.append_config_values(_PROVISIONING)
        self._settings = settings.load(self.configuration, self.cluster_name)
        self._reach: BackendReach
        self._recovery: ShareRecovery

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        """The options of this driver."""
        return [*OPTIONS, *_PROVISIONING]

    # Initialisation.

    def do_setup(self, context: Any) -> None:  # noqa: ARG002
        """Set up pools and the worker process. Connects to no share."""
        listed, pools = self._settings.listed, self._settings.pools
        for warning in self._settings.warnings:
            LOG.warning("%s", warning)
        others = neighbours.shares_beside(self.configuration.config_group, listed)
        beside = Pools(others, {share.address: share.address for share in others})
        self._reach = BackendReach(self.configuration, pools, Worker([*listed, *others]), beside)
        self._recovery = ShareRecovery(self._reach)

    def check_for_setup_error(self) -> None:
        """Does nothing: an unreachable share is no configuration error and is reported as down."""

    # Volumes.

    @coordination.synchronized(_VOLUME_LOCK)
    def create_volume(self, volume: Any) -> dict[str, str]:
        """Create an empty volume in the pool that the scheduler selected."""
        if volume.encryption_key_id:
            raise RequestRefused(reason="the volume type requires encryption, which this driver does not support")
        shape, address = self._reach.shape(volume.volume_type), self._reach.announce(volume)
        with told_to_cinder():
            self._reach.run(Backend.create, address, volume.name, volume.size * units.Gi, shape)
        return {"provider_location": address}

    @coordination.synchronized(_VOLUME_LOCK)
    def delete_volume(self, volume: Any) -> None:
        """Delete all files of a volume."""
        if not volume.provider_location:
            LOG.warning("%s: has no provider_location, so there is nothing to delete", volume.name)
            return
        try:
            with told_to_cinder():
                self._reach.run(Backend.delete, self._reach.address(volume), volume.name)
        except exception.VolumeBackendAPIException as error:
            if isinstance(error.__cause__, InUse):
                LOG.warning("%s: not deleted: a file is in use: %s", volume.name, error.__cause__)
                raise exception.VolumeIsBusy(volume_name=volume.name) from error
            raise

    @coordination.synchronized(_VOLUME_LOCK)
    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Extend a volume to *new_size* GiB."""
        refuse_attached(volume, "cannot be extended")
        with told_to_cinder():
            self._reach.run(Backend.extend, self._reach.address(volume), volume.name, new_size * units.Gi)

    @coordination.synchronized(_VOLUME_LOCK, _SOURCE_LOCK)
    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
        """Create a copy of a volume in the pool that the scheduler selected."""
        with self._reach.told_to_tenant(volume.obj_context, volume, NOT_RESCHEDULED):
            if is_attached(src_vref):
                reason = "the volume is attached and cannot be cloned; detach it first"
                raise SourceAttached(reason=f"{src_vref.name}: {reason}")
            return self._clone(volume, src_vref, None)

    @coordination.synchronized(_VOLUME_LOCK, _SNAPSHOT_LOCK)
    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> dict[str, str]:
        """Create a volume from a snapshot in the pool that the scheduler selected."""
        with self._reach.told_to_tenant(volume.obj_context, volume, NOT_RESCHEDULED):
            return self._clone(volume, snapshot.volume, snapshot.id)

    def _clone(self, volume: Any, source: Any, snapshot_id: str | None) -> dict[str, str]:
        home, shape = self._reach.address(source), self._reach.shape(volume.volume_type)
        address = self._reach.announce(volume)
        with told_to_cinder():
            self._reach.run(
                Backend.clone,
                home,
                volume.name,
                source.name,
                size=volume.size * units.Gi,
                onto=address,
                shape=shape,
                snapshot_id=snapshot_id,
            )
        return {"provider_location": address}

    # Snapshots.

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def create_snapshot(self, snapshot: Any) -> None:
        """Create a snapshot."""
        refuse_attached(snapshot.volume, "cannot be snapshotted")
        with told_to_cinder():
            address = self._reach.address(snapshot.volume)
            self._reach.run(Backend.create_snapshot, address, snapshot.volume.name, snapshot.id)

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot; the volume and its other snapshots keep their content."""
        address = self._reach.address(snapshot.volume)
        try:
            with told_to_cinder():
                # A snapshot whose creation was refused does not exist, and deleting it must work while attached.
                has = self._reach.run(Backend.has_snapshot, address, snapshot.volume.name, snapshot.id)
                if has and is_attached(snapshot.volume):
                    LOG.warning("%s: not deleted: %s is attached; detach it first", snapshot.name, snapshot.volume.name)
                    raise exception.SnapshotIsBusy(snapshot_name=snapshot.name)
                self._reach.run(Backend.delete_snapshot, address, snapshot.volume.name, snapshot.id)
        except exception.VolumeBackendAPIException as error:
            if isinstance(error.__cause__, InUse):
                LOG.warning("%s: not deleted: a file is in use: %s", snapshot.name, error.__cause__)
                raise exception.SnapshotIsBusy(snapshot_name=snapshot.name) from error
            raise

    @coordination.synchronized(_VOLUME_LOCK)
    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:  # noqa: ARG002
        """Revert a volume to its latest snapshot."""
        refuse_attached(volume, "cannot be reverted")
        with told_to_cinder():
            self._reach.run(Backend.revert, self._reach.address(volume), volume.name, snapshot.id)

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """False: a revert is atomic."""
        return False

    # Groups.

    def create_group(self, context: Any, group: Any) -> dict[str, Any]:  # noqa: ARG002
        """Does nothing: a group exists only in Cinder's database."""
        return dict(groups.AVAILABLE)

    def delete_group(self, context: Any, group: Any, volumes: Any) -> groups.Updates:  # noqa: ARG002
        """Delete every volume of a group."""
        return groups.delete_each(self.delete_volume, volumes)

    def update_group(
        self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None  # noqa: ARG002
    ) -> tuple[None, None, None]:
        """Does nothing: a group exists only in Cinder's database."""
        return None, None, None

    def create_group_from_src(  # noqa: PLR0917  Cinder passes them by position
        self,
        context: Any,  # noqa: ARG002
        group: Any,  # noqa: ARG002
        volumes: Any,
        group_snapshot: Any = None,
        snapshots: Any = None,
        source_group: Any = None,  # noqa: ARG002
        source_vols: Any = None,
    ) -> groups.Updates:
        """Copy each volume of a group, or of a group snapshot."""
        if group_snapshot:
            return groups.copies(self.create_volume_from_snapshot, volumes, snapshots)
        return groups.copies(self.create_cloned_volume, volumes, source_vols)

    def create_group_snapshot(
        self, context: Any, group_snapshot: Any, snapshots: Any  # noqa: ARG002
    ) -> groups.Updates:
        """Create a consistent snapshot of each volume of a group."""
        return groups.create_snapshot(self._reach, snapshots)

    def delete_group_snapshot(
        self, context: Any, group_snapshot: Any, snapshots: Any  # noqa: ARG002
    ) -> groups.Updates:
        """Delete each snapshot of a group snapshot."""
        return groups.delete_each(self.delete_snapshot, snapshots)

    # Migration and retype.

    @coordination.synchronized(_VOLUME_LOCK)
    def migrate_volume(self, context: Any, volume: Any, host: Any) -> tuple[bool, dict[str, Any] | None]:  # noqa: ARG002
        """Move a volume to another share of this service; server-side copy if both are on one server."""
        return migration.migrate(self._reach, volume, host)

    @coordination.synchronized(_VOLUME_LOCK)
    def retype(
        self, context: Any, volume: Any, new_type: Any, diff: Any, host: Any  # noqa: ARG002
    ) -> tuple[bool, dict[str, Any] | None]:
        """Convert a volume to the format and provisioning of a type."""
        return migration.retype(self._reach, volume, new_type, host)

    def update_migrated_volume(
        self, context: Any, volume: Any, new_volume: Any, original_volume_status: Any  # noqa: ARG002
    ) -> dict[str, Any]:
        """Rename the copy that Cinder made of a volume to the name of the volume."""
        return migration.rename_migrated(self._reach, volume, new_volume)

    # Images.

    @coordination.synchronized(_VOLUME_LOCK)
    def clone_image(
        self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any  # noqa: ARG002
    ) -> tuple[dict[str, Any], bool]:
        """Create a volume directly from a VHD or VHDX image; decline other images.

        Cinder's generic path inspects the image with qemu-img first, which fails for every dynamic VHD.
        """
        return images.receive(self._reach, context, volume, image_meta, image_service)

    @coordination.synchronized(_VOLUME_LOCK)
    def copy_image_to_volume(
        self,
        context: Any,
        volume: Any,
        image_service: Any,
        image_id: str,
        disable_sparse: bool = False,  # noqa: ARG002, FBT001, FBT002  Cinder's signature
    ) -> None:
        """Replace the content of a new volume by that of an image."""
        images.load(self._reach, context, volume, image_service, image_id)

    @coordination.synchronized(_VOLUME_LOCK)
    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
        """Upload a volume as a flat image in the format of *image_meta*."""
        images.upload(self._reach, context, volume, image_service, image_meta)

    # Manage and unmanage.

    def manage_existing_get_size(self, volume: Any, existing_ref: dict[str, str]) -> int:
        """Size of an image on a share in GiB, rounded up."""
        return adoption.size_of_volume(self._reach, volume, existing_ref)

    @coordination.synchronized(_VOLUME_LOCK)
    def manage_existing(self, volume: Any, existing_ref: dict[str, str]) -> dict[str, str]:
        """Turn an image on a share into a volume."""
        return adoption.adopt_volume(self._reach, volume, existing_ref)

    def unmanage(self, volume: Any) -> None:
        """Does nothing: the files stay as they are."""

    def get_manageable_volumes(  # noqa: PLR0917  Cinder passes them by position
        self, cinder_volumes: Any, marker: Any, limit: Any, offset: Any, sort_keys: Any, sort_dirs: Any
    ) -> Any:
        """The images in the root directories of the shares, and whether each can be managed."""
        found = adoption.volumes(self._reach, cinder_volumes)
        return volume_utils.paginate_entries_list(found, marker, limit, offset, sort_keys, sort_dirs)

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: dict[str, str]) -> int:
        """Size of the volume at a snapshot in GiB, rounded up."""
        return adoption.size_of_snapshot(self._reach, snapshot, existing_ref)

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def manage_existing_snapshot(self, snapshot: Any, existing_ref: dict[str, str]) -> None:
        """Give an existing snapshot the id of *snapshot*."""
        adoption.adopt_snapshot(self._reach, snapshot, existing_ref)

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """Does nothing: the snapshot stays as it is."""

    def get_manageable_snapshots(  # noqa: PLR0917  Cinder passes them by position
        self, cinder_snapshots: Any, marker: Any, limit: Any, offset: Any, sort_keys: Any, sort_dirs: Any
    ) -> Any:
        """The snapshots on the shares, and whether Cinder manages each."""
        found = adoption.snapshots(self._reach, cinder_snapshots)
        return volume_utils.paginate_entries_list(found, marker, limit, offset, sort_keys, sort_dirs)

    # Attaching.

    @coordination.synchronized(_VOLUME_LOCK)
    def initialize_connection(
        self, volume: Any, connector: Any, initiator_data: Any = None, **_: Any  # noqa: ARG002
    ) -> dict[str, Any]:
        """The share and file of a volume; with the share's account only if smbfs_expose_credentials is set."""
        pool = self._reach.pool_of(volume)
        with told_to_cinder():
            active = self._reach.run(Backend.active, pool.address, volume.name)
        data = {"export": pool.address, "name": active, "format": active.rpartition(".")[2]}
        if self.configuration.smbfs_expose_credentials:
            data["options"] = f"-o {pool.share.mount_options}"
        return {"driver_volume_type": "smbfs", "data": data}

    def terminate_connection(self, volume: Any, connector: Any, **_: Any) -> None:
        """Does nothing: `initialize_connection` sets nothing up."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Does nothing: the share is exported by its server."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Does nothing: the share is exported by its server."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Does nothing: the share is exported by its server."""

    # Statistics.

    def _update_volume_stats(self) -> None:
        """Query the capacity of each share; start the recovery of a share that is reachable again."""
        pools = []
        for pool in self._reach.pools:
            stats = statistics.pool_stats(self._reach, self.db, self.host, self.cluster_name, pool)
            pools.append(stats)
            (self._recovery.begin if stats["backend_state"] == "up" else self._recovery.again)(pool)
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or "smbfs",
            "vendor_name": "Open Source",
            "driver_version": self.VERSION,
            "storage_protocol": constants.FILE,
            "pools": pools,
        }
