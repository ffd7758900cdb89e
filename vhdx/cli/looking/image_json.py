"""JSON output for images."""

from typing import Any

from vhdx.chain.lineage import Link
from vhdx.image.base import ImageFormat, ImageInfo, ParentLink
from vhdx.storage.base import FileStatus, FileSystem


def info_json(
    files: FileSystem, name: str, info: ImageInfo, status: FileStatus, link: Link | None
) -> dict[str, Any]:
    """The documented keys; sizes in bytes, GUIDs in lower case with hyphens."""
    return {
        "path": name,
        "format": info.format.value,
        "type": info.type.value,
        "virtual_size": info.virtual_size,
        "file_size": status.size,
        "allocated": status.allocated,
        "block_size": info.block_size,
        "logical_sector_size": info.logical_sector_size,
        "physical_sector_size": info.physical_sector_size,
        "disk_id": None if info.disk_id is None else str(info.disk_id),
        "creator": info.creator,
        "log": {"state": log_state(info), "entries": info.log_entries},
        "parent": None if link is None else link_json(files, link),
        "warnings": list(info.warnings),
        "linkage": None if info.linkage is None else str(info.linkage),
    }


def link_json(files: FileSystem, link: Link) -> dict[str, Any]:
    """The recorded parent, and the file that was found."""
    return {
        "recorded": recorded_json(link.recorded),
        "found": None if link.path is None else files.describe(link.path),
        "linkage_ok": link.linkage_ok,
    }


def recorded_json(recorded: ParentLink) -> dict[str, Any]:
    """The parent record of an image."""
    return {
        "linkage": str(recorded.linkage),
        "linkage2": None if recorded.linkage2 is None else str(recorded.linkage2),
        "paths": recorded.paths,
    }


def log_state(info: ImageInfo) -> str:
    """The state of the log; only a VHDX has one."""
    return info.log.value if info.format is ImageFormat.VHDX else "none"
