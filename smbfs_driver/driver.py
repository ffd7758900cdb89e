"""The volume driver that a Cinder loads: ``volume_driver = smbfs_driver.driver.SmbfsDriver``.

Each entry point takes its lock, says in the core's terms what Cinder asks for, and says in Cinder's terms what went
wrong. What is done to files, and what a stop in the middle leaves, is `smbfs_driver.volumes`.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cinder import coordination, exception, interface
from cinder.common import constants
from cinder.image import image_utils
from cinder.objects import fields
from cinder.volume import configuration, driver, volume_utils
from cinder.volume.drivers import remotefs
from oslo_config import cfg
from oslo_log import log
from oslo_utils import units

from smbfs_driver import shares
from smbfs_driver.backend import Backend
from smbfs_driver.managing import Reference, parse_reference
from smbfs_driver.names import DiskFormat, is_identifier
from smbfs_driver.options import OPTIONS
from smbfs_driver.pools import Pool, Pools
from smbfs_driver.receiving import Digest
from smbfs_driver.shape import Shape
from smbfs_driver.worker import Worker
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, ImageFormat

LOG = log.getLogger(__name__)
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)

_PROVISIONING = [option for option in remotefs.volume_opts if option.name == "nas_volume_prov_type"]
"""Whether volumes are thin or thick: the option that Cinder's drivers for file servers share."""

_VOLUME_LOCK = "smbfs-{volume.id}"
_SOURCE_LOCK = "smbfs-{src_vref.id}"
_SNAPSHOT_LOCK = "smbfs-{snapshot.volume_id}"
_FORMAT_SPECS = ("smbfs:volume_format", "volume_format")
_FORMATS = {"vhd": DiskFormat.VHD, "vpc": DiskFormat.VHD, "vhdx": DiskFormat.VHDX}
_IMAGE_FORMATS = {
    "raw": ImageFormat.RAW,
    "vhd": ImageFormat.VHD,
    "vhdx": ImageFormat.VHDX,
}
"""Glance's disk formats that the engine reads and writes itself."""


@contextlib.contextmanager
def _told_to_cinder() -> Iterator[None]:
    """What the core raises, as the exception that Cinder's manager expects."""
    try:
        yield
    except (Error, OSError) as error:
        raise exception.VolumeBackendAPIException(data=str(error)) from error


@interface.volumedriver
class SmbfsDriver(driver.VolumeDriver):  # type: ignore[misc]  # Cinder is not typed
    """Volumes as VHD and VHDX files on SMB shares, each share a pool.

    Version history::

        2.0.0  Written anew on an engine of its own, without Windows and without mounting.
    """

    VERSION = "2.0.0"
    CI_WIKI_NAME = "none"
    SUPPORTS_ACTIVE_ACTIVE = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.configuration.append_config_values(_PROVISIONING)
        self._worker: Worker | None = None
        self._pools: Pools | None = None

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        """The options of this driver."""
        return [*OPTIONS, *_PROVISIONING]

    # Start.

    def do_setup(self, context: Any) -> None:  # noqa: ARG002
        """Read the list of shares. Nothing is connected yet."""
        with _told_to_cinder():
            listed = shares.load(Path(self.configuration.smbfs_shares_config))
            for share in listed:
                if share.ignored:
                    LOG.warning("%s: options without a meaning here: %s", share.address, ", ".join(share.ignored))
            self._pools = Pools(listed, self.configuration.smbfs_pool_mappings)
            self._worker = Worker(listed)

    def check_for_setup_error(self) -> None:
        """Set right what was stopped on each share, as far as it can be reached."""
        self._check_ratios()
        for pool in self._all_pools():
            try:
                report = self._run(Backend.recover, pool.share.address)
            except (Error, OSError) as error:
                LOG.warning("%s cannot be reached and counts as down: %s", pool.share.address, error)
                continue
            if report.settled or report.removed:
                LOG.info("%s: settled %s, removed %s", pool.share.address, report.settled, report.removed)
            for name, failure in report.failed.items():
                LOG.error("%s: %s was stopped and cannot be settled: %s", pool.share.address, name, failure)

    # Volumes.

    @coordination.synchronized(_VOLUME_LOCK)
    def create_volume(self, volume: Any) -> dict[str, str]:
        """An empty volume in the pool that the scheduler chose."""
        if volume.encryption_key_id:
            raise exception.VolumeDriverException(message="This driver does not encrypt volumes.")
        pool = self._pool_of(volume)
        with _told_to_cinder():
            self._run(Backend.create, pool.share.address, volume.name, volume.size * units.Gi, self._shape(volume))
        return {"provider_location": pool.share.address}

    @coordination.synchronized(_VOLUME_LOCK)
    def delete_volume(self, volume: Any) -> None:
        """Every file of the volume."""
        if not volume.provider_location:
            LOG.warning("%s: has no place, so there is nothing to delete", volume.name)
            return
        try:
            with _told_to_cinder():
                self._run(Backend.delete, self._address(volume), volume.name)
        except exception.VolumeBackendAPIException as error:
            if isinstance(error.__cause__, InUse):
                raise exception.VolumeIsBusy(volume_name=volume.name) from error
            raise

    @coordination.synchronized(_VOLUME_LOCK)
    def extend_volume(self, volume: Any, new_size: int) -> None:
        """A larger volume, in GiB."""
        self._refuse_attached(volume, "extended")
        with _told_to_cinder():
            self._run(Backend.extend, self._address(volume), volume.name, new_size * units.Gi)

    @coordination.synchronized(_VOLUME_LOCK, _SOURCE_LOCK)
    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
        """A copy of another volume, in the pool that the scheduler chose."""
        self._refuse_attached(src_vref, "cloned")
        return self._clone(volume, src_vref, None)

    # Snapshots.

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def create_snapshot(self, snapshot: Any) -> None:
        """A point in time that can be gone back to."""
        self._refuse_attached(snapshot.volume, "snapshotted")
        with _told_to_cinder():
            address = self._address(snapshot.volume)
            self._run(Backend.create_snapshot, address, snapshot.volume.name, snapshot.id)

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def delete_snapshot(self, snapshot: Any) -> None:
        """One point in time less; the volume and the others keep what they have."""
        self._refuse_attached(snapshot.volume, "rid of a snapshot")
        try:
            with _told_to_cinder():
                address = self._address(snapshot.volume)
                self._run(Backend.delete_snapshot, address, snapshot.volume.name, snapshot.id)
        except exception.VolumeBackendAPIException as error:
            if isinstance(error.__cause__, InUse):
                raise exception.SnapshotIsBusy(snapshot_name=snapshot.name) from error
            raise

    @coordination.synchronized(_VOLUME_LOCK, _SNAPSHOT_LOCK)
    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> dict[str, str]:
        """A volume with what another one held at a snapshot, in the pool that the scheduler chose."""
        return self._clone(volume, snapshot.volume, snapshot.id)

    def _clone(self, volume: Any, source: Any, snapshot_id: str | None) -> dict[str, str]:
        pool = self._pool_of(volume)
        with _told_to_cinder():
            self._run(
                Backend.clone,
                self._address(source),
                volume.name,
                source.name,
                size=volume.size * units.Gi,
                onto=pool.share.address,
                shape=self._shape(volume),
                snapshot_id=snapshot_id,
            )
        return {"provider_location": pool.share.address}

    @coordination.synchronized(_VOLUME_LOCK)
    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:  # noqa: ARG002
        """What the volume held at its latest snapshot."""
        self._refuse_attached(volume, "reverted")
        with _told_to_cinder():
            self._run(Backend.revert, self._address(volume), volume.name, snapshot.id)

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """A revert is one step here, so nothing has to be kept for going back."""
        return False

    # Images.

    @coordination.synchronized(_VOLUME_LOCK)
    def clone_image(
        self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any  # noqa: ARG002
    ) -> tuple[dict[str, Any], bool]:
        """A volume straight from a VHD or VHDX image; anything else is declined.

        Cinder's own way would first have qemu-img look at the image, which fails for every dynamic VHD.
        """
        digest = self._digest_of(image_meta)
        format = _FORMATS.get(str(image_meta.get("disk_format")))
        plain = image_meta.get("container_format") == "bare"
        if format is None or digest is None or not plain or _wants_a_signature_checked(image_meta):
            return {}, False
        pool = self._pool_of(volume)
        with (
            _told_to_cinder(),
            self._feed(
                Backend.receive,
                pool.share.address,
                volume.name,
                format=format,
                digest=digest,
                size=volume.size * units.Gi,
                shape=self._shape(volume),
            ) as sink,
        ):
            image_service.download(context, image_meta["id"], sink)
        return {"provider_location": pool.share.address}, True

    @coordination.synchronized(_VOLUME_LOCK)
    def copy_image_to_volume(
        self,
        context: Any,
        volume: Any,
        image_service: Any,
        image_id: str,
        disable_sparse: bool = False,  # noqa: ARG002, FBT001, FBT002  Cinder's signature
    ) -> None:
        """The content of an image in a volume that was just made."""
        meta = image_service.show(context, image_id)
        format = _IMAGE_FORMATS.get(meta["disk_format"])
        with _fetched(image_service, context, image_id) as fetched, _scratch() as directory:
            path = Path(fetched)
            if format is None:
                path, format = Path(directory, "raw"), ImageFormat.RAW
                image_utils.fetch_to_raw(
                    context, image_service, image_id, str(path), "1M", size=volume.size, run_as_root=False
                )
            with _told_to_cinder():
                self._run(
                    Backend.load,
                    self._address(volume),
                    volume.name,
                    str(path),
                    format,
                    size=volume.size * units.Gi,
                    fixed=self._shape(volume).fixed,
                )

    @coordination.synchronized(_VOLUME_LOCK)
    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
        """The content of a volume as an image, flattened, in the format that the image is to have."""
        named = image_meta["disk_format"] if image_meta["disk_format"] in _IMAGE_FORMATS else "raw"
        with _scratch() as directory:
            path = str(Path(directory, "image"))
            with _told_to_cinder():
                options = CreateOptions(format=_IMAGE_FORMATS[named])
                self._run(Backend.export, self._address(volume), volume.name, path, options)
            volume_utils.upload_volume(
                context,
                image_service,
                image_meta,
                path,
                volume,
                volume_format=named,
                run_as_root=False,
            )

    # Volumes that others made.

    def manage_existing_get_size(self, volume: Any, existing_ref: dict[str, str]) -> int:
        """GiB of an image on a share, rounded up."""
        reference, _ = self._referenced(volume, existing_ref)
        with _told_to_cinder():
            size: int = self._run(Backend.image_size, reference)
        return -(-size // units.Gi)

    @coordination.synchronized(_VOLUME_LOCK)
    def manage_existing(self, volume: Any, existing_ref: dict[str, str]) -> dict[str, str]:
        """An image on a share renamed to a volume, and grown to whole GiB."""
        reference, pool = self._referenced(volume, existing_ref)
        if pool != self._pool_of(volume):
            raise exception.ManageExistingInvalidReference(
                existing_ref=existing_ref, reason=f"it is in the pool {pool.name}, not in that of the volume"
            )
        with _told_to_cinder():
            size = self._run(Backend.adopt, volume.name, reference)
            if size % units.Gi:
                self._run(Backend.extend, pool.share.address, volume.name, -(-size // units.Gi) * units.Gi)
        return {"provider_location": pool.share.address}

    def unmanage(self, volume: Any) -> None:
        """The files stay as they are."""

    def get_manageable_volumes(  # noqa: PLR0917  Cinder passes them by position
        self,
        cinder_volumes: Any,
        marker: Any,
        limit: Any,
        offset: Any,
        sort_keys: Any,
        sort_dirs: Any,
    ) -> Any:
        """The images in the roots of the shares, and which of them could be volumes."""
        managed = {volume.name: volume.id for volume in cinder_volumes}
        found = []
        for pool in self._all_pools():
            with _told_to_cinder():
                for one in self._run(Backend.candidates, pool.share.address, set(managed)):
                    found.append(
                        {
                            "reference": {"source-name": one.reference.name},
                            "size": one.size,
                            "safe_to_manage": not one.reason,
                            "reason_not_safe": one.reason or None,
                            "cinder_id": managed.get(one.volume) if one.volume else None,
                            "extra_info": None,
                        }
                    )
        return volume_utils.paginate_entries_list(found, marker, limit, offset, sort_keys, sort_dirs)

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: dict[str, str]) -> int:
        """GiB that the volume had at a snapshot, rounded up."""
        source = _snapshot_reference(existing_ref)
        with _told_to_cinder():
            address = self._address(snapshot.volume)
            size: int = self._run(Backend.snapshot_size, address, snapshot.volume.name, source)
        return -(-size // units.Gi)

    @coordination.synchronized(_SNAPSHOT_LOCK)
    def manage_existing_snapshot(self, snapshot: Any, existing_ref: dict[str, str]) -> None:
        """The id that Cinder gives it for a snapshot that is there."""
        source = _snapshot_reference(existing_ref)
        if source == snapshot.id:
            return
        with _told_to_cinder():
            address = self._address(snapshot.volume)
            self._run(Backend.rename_snapshot, address, snapshot.volume.name, source, snapshot.id)

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """The snapshot stays as it is."""

    def get_manageable_snapshots(  # noqa: PLR0917  Cinder passes them by position
        self,
        cinder_snapshots: Any,
        marker: Any,
        limit: Any,
        offset: Any,
        sort_keys: Any,
        sort_dirs: Any,
    ) -> Any:
        """The snapshots on the shares, and which of them Cinder does not have."""
        managed = {snapshot.id for snapshot in cinder_snapshots}
        found = []
        for pool in self._all_pools():
            with _told_to_cinder():
                there = self._run(Backend.snapshots, pool.share.address)
            for volume, ids in there.items():
                for snapshot_id in ids:
                    ours = snapshot_id in managed
                    found.append(
                        {
                            "reference": {"source-name": f"snapshot-{snapshot_id}"},
                            "source_reference": {"source-name": volume},
                            "size": 0,
                            "safe_to_manage": not ours,
                            "reason_not_safe": "already managed" if ours else None,
                            "cinder_id": snapshot_id if ours else None,
                            "extra_info": None,
                        }
                    )
        return volume_utils.paginate_entries_list(found, marker, limit, offset, sort_keys, sort_dirs)

    def _referenced(self, volume: Any, existing_ref: dict[str, str]) -> tuple[Reference, Pool]:
        try:
            home = self._pool_of(volume).share.address
            reference = parse_reference(existing_ref.get("source-name"), home)
            return reference, self._all_pools().at(reference.address)
        except Error as error:
            raise exception.ManageExistingInvalidReference(
                existing_ref=existing_ref, reason=f"{error}; give source-name: //server/share/path/file.vhdx"
            ) from error

    # Attaching.

    def initialize_connection(
        self, volume: Any, connector: Any, initiator_data: Any = None, **_: Any  # noqa: ARG002
    ) -> dict[str, Any]:
        """Where the volume's file is; the account of the share only where the operator says so."""
        with _told_to_cinder():
            pool = self._pool_of(volume)
            active = self._run(Backend.active, pool.share.address, volume.name)
        data = {"export": pool.share.address, "name": active, "format": active.rpartition(".")[2]}
        if self.configuration.smbfs_expose_credentials:
            account = pool.share.credentials
            data["options"] = f"-o username={account.username},password={account.password},domain={account.domain}"
        return {"driver_volume_type": "smbfs", "data": data}

    def terminate_connection(self, volume: Any, connector: Any, **_: Any) -> None:
        """Nothing was set up for a connection, so nothing is to be taken down."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """A share is there for everybody already."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """A share is there for everybody already."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """A share stays."""

    # Stats.

    def _update_volume_stats(self) -> None:
        """Ask each share for its capacity, and nothing for its volumes."""
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or "smbfs",
            "vendor_name": "Open Source",
            "driver_version": self.VERSION,
            "storage_protocol": constants.FILE,
            "pools": [self._pool_stats(pool) for pool in self._all_pools()],
        }

    def _pool_stats(self, pool: Pool) -> dict[str, Any]:
        total = free = 0.0
        state = "up"
        try:
            space = self._run(Backend.capacity, pool.share.address)
            total, free = space.total / units.Gi, space.free / units.Gi
        except (Error, OSError) as error:
            LOG.warning("%s cannot be reached and is reported down: %s", pool.share.address, error)
            state = "down"
        oversubscription, reserved = self._ratios()
        thin = self.configuration.nas_volume_prov_type == "thin"
        return {
            "pool_name": pool.name,
            "total_capacity_gb": round(total, 2),
            "free_capacity_gb": round(free, 2),
            "backend_state": state,
            "max_over_subscription_ratio": oversubscription,
            "reserved_percentage": reserved,
            "thin_provisioning_support": thin,
            "thick_provisioning_support": not thin,
            "multiattach": False,
            "online_extend_support": False,
            "QoS_support": False,
        }

    def _ratios(self) -> tuple[Any, int]:
        """Over-subscription and reserve, in whichever way they are said."""
        settings = self.configuration
        oversubscription, reserved = settings.smbfs_oversub_ratio, settings.smbfs_used_ratio
        return (
            settings.max_over_subscription_ratio if oversubscription is None else oversubscription,
            settings.reserved_percentage if reserved is None else round(100 * (1 - reserved)),
        )

    def _check_ratios(self) -> None:
        settings = self.configuration
        if settings.smbfs_used_ratio is not None and settings.reserved_percentage:
            raise exception.InvalidConfigurationValue(option="smbfs_used_ratio", value=settings.smbfs_used_ratio)

    # What the entry points share.

    def _all_pools(self) -> Pools:
        assert self._pools is not None
        return self._pools

    @property
    def _run(self) -> Any:
        """`Worker.call` of the worker that `do_setup` made."""
        assert self._worker is not None
        return self._worker.call

    @property
    def _feed(self) -> Any:
        assert self._worker is not None
        return self._worker.feed

    def _pool_of(self, volume: Any) -> Pool:
        """Where a volume is, or is to be."""
        with _told_to_cinder():
            if volume.provider_location:
                return self._all_pools().at(volume.provider_location)
            return self._all_pools().named(volume_utils.extract_host(volume.host, level="pool"))

    def _address(self, volume: Any) -> str:
        return self._pool_of(volume).share.address

    def _shape(self, volume: Any) -> Shape:
        """By the volume's type, else by the backend; metadata, which a tenant sets, has no say."""
        specs = volume.volume_type.extra_specs if volume.volume_type else {}
        named = next((specs[key] for key in _FORMAT_SPECS if key in specs), None)
        named = named or self.configuration.smbfs_default_volume_format
        if named.lower() not in _FORMATS:
            raise exception.InvalidVolumeType(reason=f"{named} is no format of volumes; there are vhdx and vhd")
        thick = self.configuration.nas_volume_prov_type == "thick" or specs.get("provisioning:type") == "thick"
        return Shape(_FORMATS[named.lower()], fixed=thick)

    @staticmethod
    def _digest_of(image_meta: Any) -> Digest | None:
        """What Glance says that the image hashes to; None where it does not, as in versions before Rocky."""
        algorithm, value = image_meta.get("os_hash_algo"), image_meta.get("os_hash_value")
        return Digest(algorithm, value) if algorithm and value else None

    def _refuse_attached(self, volume: Any, what: str) -> None:
        attached = fields.VolumeAttachStatus.ATTACHED
        if any(attachment.attach_status == attached for attachment in volume.volume_attachment or ()):
            reason = f"it is attached, and cannot be {what} under a running guest; detach it first"
            raise exception.InvalidVolume(reason=f"{volume.name}: {reason}")


def _snapshot_reference(existing_ref: dict[str, str]) -> str:
    """The id in a reference to a snapshot: alone, or behind ``snapshot-``."""
    name = existing_ref.get("source-name", "")
    if not is_identifier(name.removeprefix("snapshot-")):
        raise exception.ManageExistingInvalidReference(
            existing_ref=existing_ref, reason="give source-name: snapshot-ID, with the id that the snapshot had"
        )
    return name.removeprefix("snapshot-")


def _wants_a_signature_checked(image_meta: Any) -> bool:
    enabled = cfg.CONF.verify_glance_signatures == "enabled"
    return enabled and "img_signature" in (image_meta.get("properties") or {})


@contextlib.contextmanager
def _fetched(image_service: Any, context: Any, image_id: str) -> Iterator[str]:
    """The file that an image was downloaded to, by the manager already or now."""
    there = image_utils.TemporaryImages.for_image_service(image_service).get(context, image_id)
    if there is not None:
        yield there
        return
    with image_utils.TemporaryImages.fetch(image_service, context, image_id) as path:
        yield path


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A directory of this machine for an image on its way, where Cinder puts such."""
    home = cfg.CONF.image_conversion_dir
    Path(home).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="smbfs-") as directory:
        yield directory
