"""Making an image of whatever format."""

from uuid import UUID

from vhdx.errors import Error
from vhdx.image.base import CreateOptions, Image, ImageFormat, NewId, ParentLink
from vhdx.image.raw import create_raw
from vhdx.image.vhd_create import create_vhd
from vhdx.image.vhdx_create import create_vhdx
from vhdx.storage.base import Storage

_MIB = 1 << 20


def whole_size(size: int, options: CreateOptions) -> int:
    """The size that a disk of *size* bytes gets: Azure takes whole MiB only."""
    return -(-size // _MIB) * _MIB if options.azure else size


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
    if options.azure and options.format is not ImageFormat.VHD:
        raise Error(f"{storage.name}: Azure takes VHD, not {options.format}")
    if parent is not None and (options.fixed or options.azure):
        raise Error(f"{storage.name}: a fixed image cannot have a parent")
    size = whole_size(size, options)
    match options.format:
        case ImageFormat.VHDX:
            return create_vhdx(storage, size=size, disk_id=disk_id, new_id=new_id, options=options, parent=parent)
        case ImageFormat.VHD:
            return create_vhd(storage, size=size, disk_id=disk_id, new_id=new_id, options=options, parent=parent)
        case ImageFormat.RAW:
            if parent is not None:
                raise Error(f"{storage.name}: a raw file cannot record a parent")
            return create_raw(storage, size=size, fixed=options.fixed)
