"""Create volumes from Glance images and upload volumes as images."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cinder import exception
from cinder.image import image_utils
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_utils import units

from smbfs_driver.cinder.failures import NOT_RESCHEDULED, RequestRefused, told_of_image, told_to_cinder
from smbfs_driver.cinder.reach import FORMATS, BackendReach
from smbfs_driver.volumes.receiving import Digest
from smbfs_driver.volumes.refusals import BadImage
from smbfs_driver.worker.backend import Backend
from smbfs_driver.worker.worker import Fed
from vhdx.image.base import CreateOptions, ImageFormat

_OWN = {
    "raw": ImageFormat.RAW,
    "vhd": ImageFormat.VHD,
    "vhdx": ImageFormat.VHDX,
}
"""Glance disk formats that the engine supports."""


def receive(
    reach: BackendReach, context: Any, volume: Any, image_meta: Any, image_service: Any
) -> tuple[dict[str, Any], bool]:
    """Create a volume directly from a VHD or VHDX image, which is checked before use; decline other images."""
    format = FORMATS.get(str(image_meta.get("disk_format")))
    plain = image_meta.get("container_format") == "bare"
    if format is None or not _has_digest(image_meta) or not plain or _wants_a_signature_checked(image_meta):
        return {}, False
    with reach.told_to_tenant(context, volume, NOT_RESCHEDULED, image=True), told_of_image(image_meta["id"]):
        digest = Digest(image_meta["os_hash_algo"], image_meta["os_hash_value"])
        shape, address = reach.shape(volume.volume_type), reach.announce(volume)
        with reach.feed(
            Backend.receive,
            address,
            volume.name,
            format=format,
            digest=digest,
            size=volume.size * units.Gi,
            shape=shape,
        ) as sink:
            _download(image_service, context, image_meta["id"], sink)
    return {"provider_location": address}, True


def load(reach: BackendReach, context: Any, volume: Any, image_service: Any, image_id: str) -> None:
    """Replace the content of a new volume by that of an image."""
    meta = image_service.show(context, image_id)
    format = _OWN.get(meta["disk_format"])
    # Cinder tries no other pool now, and writes a user message for ImageTooBig only.
    ends = (exception.ImageUnacceptable, exception.VolumeBackendAPIException, RequestRefused)
    told = reach.told_to_tenant(context, volume, ends, image=True)
    with told, _fetched(image_service, context, image_id) as fetched, _scratch() as directory:
        path = Path(fetched)
        if format is None:
            path, format = Path(directory, "raw"), ImageFormat.RAW
            image_utils.fetch_to_raw(
                context, image_service, image_id, str(path), "1M", size=volume.size, run_as_root=False
            )
        with told_of_image(image_id, only_here=True):
            reach.run(
                Backend.load,
                reach.address(volume),
                volume.name,
                str(path),
                format,
                size=volume.size * units.Gi,
                fixed=reach.shape(volume.volume_type).fixed,
            )


def upload(reach: BackendReach, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
    """Upload a volume as a flat image in the format of *image_meta*."""
    named = image_meta["disk_format"] if image_meta["disk_format"] in _OWN else "raw"
    with _scratch() as directory:
        path = str(Path(directory, "image"))
        with told_to_cinder():
            options = CreateOptions(format=_OWN[named])
            reach.run(Backend.export, reach.address(volume), volume.name, path, options)
        volume_utils.upload_volume(
            context, image_service, image_meta, path, volume, volume_format=named, run_as_root=False
        )


def _download(image_service: Any, context: Any, image_id: str, sink: Fed) -> None:
    """Download an image. Raises BadImage if Glance's client finds a hash mismatch, for which it raises EPIPE."""
    try:
        image_service.download(context, image_id, sink)
    except BrokenPipeError as error:
        raise BadImage(str(error)) from error


def _has_digest(image_meta: Any) -> bool:
    """Whether Glance has a hash of the image; versions before Rocky have none."""
    return bool(image_meta.get("os_hash_algo") and image_meta.get("os_hash_value"))


def _wants_a_signature_checked(image_meta: Any) -> bool:
    enabled = cfg.CONF.verify_glance_signatures == "enabled"
    return enabled and "img_signature" in (image_meta.get("properties") or {})


@contextlib.contextmanager
def _fetched(image_service: Any, context: Any, image_id: str) -> Iterator[str]:
    """The local file of an image; downloads it unless Cinder's manager has done so."""
    there = image_utils.TemporaryImages.for_image_service(image_service).get(context, image_id)
    if there is not None:
        yield there
        return
    with image_utils.TemporaryImages.fetch(image_service, context, image_id) as path:
        yield path


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A temporary local directory in Cinder's image_conversion_dir."""
    home = cfg.CONF.image_conversion_dir
    Path(home).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="smbfs-") as directory:
        yield directory
