"""What a VHD says of itself (VHD 1.0)."""

from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_footer import Footer
from vhdx.image.base import DiskType, ImageFormat, ImageInfo, LogState, ParentLink


def describe(
    footer: Footer,
    kind: DiskType,
    *,
    block_size: int | None = None,
    parent: ParentLink | None = None,
    warnings: tuple[str, ...] = (),
) -> ImageInfo:
    """What the footer says, and what else was found out."""
    return ImageInfo(
        format=ImageFormat.VHD,
        type=kind,
        virtual_size=footer.current_size,
        block_size=block_size,
        logical_sector_size=SECTOR,
        physical_sector_size=SECTOR,
        disk_id=footer.unique_id,
        linkage=footer.unique_id,
        creator=footer.creator_text,
        log=LogState.CLEAN,
        log_entries=0,
        parent=parent,
        warnings=warnings,
    )
