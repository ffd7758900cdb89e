"""The metadata of a damaged VHDX: items with valid values, even if the table is damaged (MS-VHDX 2.6)."""

from dataclasses import replace
from uuid import UUID

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import locator, metadata
from vhdx.format.locator import ENTRY, HEADER, LINKAGE, LINKAGE2, MOST_PAIRS, PATH_KEYS
from vhdx.format.metadata import (
    DISK_ID,
    FILE_PARAMETERS,
    LOGICAL_SECTOR_SIZE,
    PARAMETERS,
    PARENT_LOCATOR,
    PHYSICAL_SECTOR_SIZE,
    TABLE_ENTRY,
    TABLE_SIZE,
    VIRTUAL_DISK_SIZE,
    DiskMetadata,
    TableEntry,
)
from vhdx.format.record import NO_GUID
from vhdx.image.base import ParentLink
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Noting

_MOST_ENTRIES = 2047
_LENGTHS = {
    FILE_PARAMETERS: ("block size", 8),
    VIRTUAL_DISK_SIZE: ("size of the disk", 8),
    LOGICAL_SECTOR_SIZE: ("logical sector size", 4),
}
_OPTIONAL = {PHYSICAL_SECTOR_SIZE: 4, DISK_ID: 16}
_USUAL_PHYSICAL = 4096


def read_disk(medium: Medium, region: Range, noting: Noting) -> DiskMetadata:
    """The disk. Raises FormatError when disk, block or sector size is unknown, UnsupportedFeature."""
    table = medium.whole(region.offset, TABLE_SIZE)
    if table is None:
        raise FormatError("metadata table", region.offset, "unreadable, or beyond end of file", "2.6")
    try:
        wanted = metadata.system_items(metadata.parse_table(table, region))
        contents = {guid: medium.whole(region.offset + entry.offset, entry.length) for guid, entry in wanted.items()}
        if None not in contents.values():
            return metadata.decode({guid: data or b"" for guid, data in contents.items()}, region.offset)
        reason = "parts of it cannot be read"
    except FormatError as error:
        reason = f"{error.structure}: {error.reason}"
    disk = _decoded(_Items(medium, region, table), region.offset)
    message = f"it violates a rule ({reason}); the values of its items are valid and were used"
    noting.trust("metadata", region.offset, message)
    return disk


class _Items:
    """The readable items of a table."""

    def __init__(self, medium: Medium, region: Range, table: bytes) -> None:
        self._medium = medium
        self._region = region
        self._table = table
        self._count = int.from_bytes(table[10:12], "little")

    def read(self, guid: UUID, length: int | None) -> bytes | None:
        """The content of an item, if unambiguous; it must have *length* bytes unless that is None."""
        found = {data for entry in self._entries(guid) if (data := self._content(entry, length)) is not None}
        if len(found) > 1:
            raise FormatError("metadata table", self._region.offset, f"item {guid} has two values", "2.6.1")
        return found.pop() if found else None

    def _entries(self, guid: UUID) -> list[TableEntry]:
        counted: list[TableEntry] = []
        behind: list[TableEntry] = []
        for number in range(_MOST_ENTRIES):
            at = metadata.entry_offset(number)
            if self._table.startswith(guid.bytes_le, at):
                entry = TABLE_ENTRY.parse(self._table[at : at + TABLE_ENTRY.size])
                (counted if number < self._count else behind).append(entry)
        # Windows leaves stale entries after the counted ones.
        return counted or behind

    def _content(self, entry: TableEntry, length: int | None) -> bytes | None:
        if entry.offset < TABLE_SIZE or entry.range.end > self._region.length or entry.length > 1 << 20:
            return None
        if length is not None and entry.length != length:
            return None
        return self._medium.whole(self._region.offset + entry.offset, entry.length)


def _decoded(items: _Items, offset: int) -> DiskMetadata:
    values: dict[UUID, bytes] = {}
    for guid, (name, length) in _LENGTHS.items():
        data = items.read(guid, length)
        if data is None:
            raise FormatError("metadata", offset, f"the {name} is unknown, so blocks cannot be located", "2.6.2")
        values[guid] = data
    others = {guid: items.read(guid, length) for guid, length in _OPTIONAL.items()}
    parameters = PARAMETERS.parse(values[FILE_PARAMETERS], offset)
    physical = int.from_bytes(others[PHYSICAL_SECTOR_SIZE] or b"", "little")
    disk = DiskMetadata(
        block_size=parameters.block_size,
        leave_block_allocated=parameters.leave_block_allocated,
        has_parent=False,
        virtual_size=int.from_bytes(values[VIRTUAL_DISK_SIZE], "little"),
        disk_id=UUID(bytes_le=others[DISK_ID] or NO_GUID.bytes_le),
        logical_sector_size=int.from_bytes(values[LOGICAL_SECTOR_SIZE], "little"),
        physical_sector_size=physical if physical in (512, 4096) else _USUAL_PHYSICAL,
    )
    reason = metadata.unsound(disk)
    if reason:
        raise FormatError("metadata", offset, f"{reason}; blocks cannot be located", "2.6.2")
    record = items.read(PARENT_LOCATOR, None) if parameters.has_parent else None
    return replace(disk, has_parent=parameters.has_parent, parent_locator=record)


def read_parent(disk: DiskMetadata, offset: int, noting: Noting) -> ParentLink | None:
    """The recorded parent, or None if there is none or it is unknown."""
    if not disk.has_parent:
        return None
    item = disk.parent_locator or b""
    try:
        found = locator.parse(item, offset)
    except FormatError as error:
        link = _link(item)
        if link is None:
            message = f"it cannot be read ({error.reason}), so the parent is unknown"
            noting.trust("parent locator", offset, message)
        else:
            noting.trust("parent locator", offset, f"it violates a rule ({error.reason}); its id and paths were used")
        return link
    return ParentLink(found.linkage, found.linkage2, found.paths)


def _link(item: bytes) -> ParentLink | None:
    """The parent link from the readable pairs of a damaged locator."""
    if len(item) < HEADER.size:
        return None
    count = min(HEADER.parse(item).key_value_count, MOST_PAIRS, (len(item) - HEADER.size) // ENTRY.size)
    pairs: dict[str, str] = {}
    for number in range(count):
        at = HEADER.size + number * ENTRY.size
        entry = ENTRY.parse(item[at : at + ENTRY.size])
        key, value = (
            item[start : start + length].decode("utf-16-le", "replace").rstrip("\0")
            for start, length in ((entry.key_offset, entry.key_length), (entry.value_offset, entry.value_length))
        )
        if value and "\ufffd" not in value and "\0" not in value:
            pairs.setdefault(key, value)
    ids = [locator.guid(pairs.get(key)) for key in (LINKAGE, LINKAGE2)]
    paths = {key: pairs[key] for key in PATH_KEYS if key in pairs}
    first = ids[0] or ids[1]
    return None if first is None or not paths else ParentLink(first, ids[1], paths)
