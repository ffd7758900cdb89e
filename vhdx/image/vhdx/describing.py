"""What a VHDX says of itself (MS-VHDX 2.2, 2.6)."""

from uuid import UUID

from vhdx.format.metadata import DiskMetadata
from vhdx.image.base import DiskType, ImageFormat, ImageInfo, LogState, ParentLink


def describe(
    disk: DiskMetadata, *, linkage: UUID | None, creator: str, log_entries: int, parent: ParentLink | None
) -> ImageInfo:
    """What the metadata says, and what else was found out; *linkage* is the DataWriteGuid."""
    kind = DiskType.FIXED if disk.leave_block_allocated else DiskType.DYNAMIC
    return ImageInfo(
        format=ImageFormat.VHDX,
        type=DiskType.DIFFERENCING if disk.has_parent else kind,
        virtual_size=disk.virtual_size,
        block_size=disk.block_size,
        logical_sector_size=disk.logical_sector_size,
        physical_sector_size=disk.physical_sector_size,
        disk_id=disk.disk_id,
        linkage=linkage,
        creator=creator,
        log=LogState.DIRTY if log_entries else LogState.CLEAN,
        log_entries=log_entries,
        parent=parent,
    )
