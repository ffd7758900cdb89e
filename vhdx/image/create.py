"""Making an image of whatever format."""

from uuid import UUID

from vhdx.errors import Error
from vhdx.image.base import CreateOptions, Image, ImageFormat, NewId, ParentLink
from vhdx.image.raw import create_raw
from vhdx.image.vhd import create as vhd_create
from vhdx.image.vhd.create import azure_size, create_vhd
from vhdx.image.vhdx import create as vhdx_create
from vhdx.image.vhdx.create import create_vhdx
from vhdx.storage.base import Storage


def whole_size(size: int, options: CreateOptions) -> int:
    """The size that a disk of *size* bytes gets: Azure takes whole MiB only, and 20 of them at least."""
    return azure_size(size) if options.azure else size


def refuse_shape(name: str, size: int, options: CreateOptions, *, has_parent: bool) -> None:
    """Raises Error, naming the image *name*, for a shape that its format does not allow."""
    reason = _fault(whole_size(size, options), options, has_parent=has_parent)
    if reason:
        raise Error(f"{name}: {reason}")


def _fault(size: int, options: CreateOptions, *, has_parent: bool) -> str:
    if options.azure and options.format is not ImageFormat.VHD:
        return f"Azure takes VHD, not {options.format}"
    if has_parent and (options.fixed or options.azure):
        return "a fixed image cannot have a parent"
    match options.format:
        case ImageFormat.VHDX:
            return vhdx_create.fault(size, options, has_parent=has_parent)
        case ImageFormat.VHD:
            return vhd_create.fault(size, options, has_parent=has_parent)
        case ImageFormat.RAW:
            return "a raw file cannot record a parent" if has_parent else ""


def create_image(
    storage: Storage,
    *,
    size: int,
    disk_id: UUID,
    new_id: NewId,
    options: CreateOptions,
    parent: ParentLink | None = None,
) -> Image:
    """An image in an empty *storage*, ready to be filled; closing it makes it complete and durable.

    Raises Error for a shape that the format does not allow, OutOfSpace.
    """
    refuse_shape(storage.name, size, options, has_parent=parent is not None)
    size = whole_size(size, options)
    match options.format:
        case ImageFormat.VHDX:
            return create_vhdx(storage, size=size, disk_id=disk_id, new_id=new_id, options=options, parent=parent)
        case ImageFormat.VHD:
            return create_vhd(storage, size=size, disk_id=disk_id, new_id=new_id, options=options, parent=parent)
        case ImageFormat.RAW:
            return create_raw(storage, size=size, fixed=options.fixed)
