"""The record of the parent in an open VHDX: read, and replaced through the log."""

from vhdx.errors import Error, FormatError
from vhdx.extents import Range, gaps
from vhdx.format import locator, metadata
from vhdx.format.locator import ParentLocator
from vhdx.format.metadata import IS_REQUIRED, PARENT_LOCATOR, TABLE_ENTRY, TABLE_SIZE, DiskMetadata, TableEntry
from vhdx.image.base import ParentLink
from vhdx.image.vhdx.file import VhdxFile


def read_link(disk: DiskMetadata, offset: int) -> ParentLink | None:
    """The parent that the metadata records, or None. Raises FormatError."""
    if disk.parent_locator is None:
        return None
    found = locator.parse(disk.parent_locator, offset)
    return ParentLink(found.linkage, found.linkage2, found.paths)


def build_item(link: ParentLink) -> bytes:
    """The locator item for *link*. Raises FormatError for a path that cannot be recorded."""
    return locator.build(ParentLocator(link.linkage, link.linkage2, dict(link.paths)))


def set_parent(file: VhdxFile, link: ParentLink) -> None:
    """Record another parent; the DataWriteGuid stays. Durable on return, and never half done.

    Raises Error when the image has no parent, FormatError when the metadata region has no room.
    """
    entry = file.item(PARENT_LOCATOR)
    if entry is None or not file.metadata.has_parent:
        raise Error(f"{file.storage.name}: not a differencing image, so it has no parent to record")
    item = build_item(link)
    moved = TableEntry(entry.item_id, _room_for(file, entry, len(item)), len(item), IS_REQUIRED)
    file.touch()
    region = file.metadata_region.offset
    with file.life.poisoning():
        file.make_room(len(item) // 4096 + 4)
        file.pages.stage(region + metadata.entry_offset(file.items.index(entry)), TABLE_ENTRY.build(moved))
        file.pages.stage(region + moved.offset, item)
        file.commit()
    file.items[file.items.index(entry)] = moved
    file.link = link


def _room_for(file: VhdxFile, entry: TableEntry, length: int) -> int:
    """Where in the region *length* bytes fit: the item's own place if it will do, else the first gap."""
    region = file.metadata_region
    others = sorted(other.range for other in file.items if other is not entry and other.length)
    free = list(gaps(others, TABLE_SIZE, region.length - TABLE_SIZE))
    own = Range(entry.offset, length)
    if any(gap.offset <= own.offset and own.end <= gap.end for gap in free):
        return own.offset
    for gap in free:
        if gap.length >= length:
            return gap.offset
    raise FormatError("metadata", region.offset, f"no room for a parent locator of {length} bytes", "2.6.2")
