"""The metadata region: table and items (MS-VHDX 2.6).

The table is the first 64 KiB of the region; items follow anywhere after it. Items that only Microsoft's own code uses
are ignored; an unknown required item is rejected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from construct import Bytes, Const, Int16ul, Int32ul, Struct

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format.record import GUID, NO_GUID, Record

TABLE_SIZE = 64 << 10
MIB = 1 << 20

FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
DISK_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR_SIZE = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
INCOMPLETE_FILE = UUID("71cc85f0-1b69-4e28-9558-c3bf83ae75d3")
CHS_PARAMETERS = UUID("da02d7bc-3d3a-423c-ac88-2a36ab21479b")
PMEM_LABEL_AREA = UUID("10e1ae8a-4b7e-4169-a40f-cd70de928393")

LARGEST_DISK = 64 << 40
IS_USER, IS_VIRTUAL_DISK, IS_REQUIRED = 1, 2, 4
_FLAGS = IS_USER | IS_VIRTUAL_DISK | IS_REQUIRED
_MOST_ENTRIES = 2047
_MOST_OF_A_CLASS = 1023, 1024  # system items, user items
_LONGEST_ITEM = MIB
_LONGEST_CLASS = 40 * MIB


@dataclass(frozen=True, slots=True)
class MetadataTableHeader:
    """The start of the metadata table."""

    reserved: int
    entry_count: int
    padding: bytes = bytes(20)


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One item; *offset* is relative to the start of the region."""

    item_id: UUID
    offset: int
    length: int
    flags: int
    reserved: int = 0

    @property
    def range(self) -> Range:
        return Range(self.offset, self.length)


@dataclass(frozen=True, slots=True)
class FileParameters:
    """Block size and the two flags of the file."""

    block_size: int
    flags: int

    @property
    def leave_block_allocated(self) -> bool:
        return bool(self.flags & 1) and not self.has_parent

    @property
    def has_parent(self) -> bool:
        return bool(self.flags & 2)


TABLE_HEADER: Record[MetadataTableHeader] = Record(
    MetadataTableHeader,
    Struct("signature" / Const(b"metadata"), "reserved" / Int16ul, "entry_count" / Int16ul, "padding" / Bytes(20)),
    structure="metadata table",
    section="2.6.1.1",
)
TABLE_ENTRY: Record[TableEntry] = Record(
    TableEntry,
    Struct("item_id" / GUID, "offset" / Int32ul, "length" / Int32ul, "flags" / Int32ul, "reserved" / Int32ul),
    structure="metadata table entry",
    section="2.6.1.2",
)
PARAMETERS: Record[FileParameters] = Record(
    FileParameters,
    Struct("block_size" / Int32ul, "flags" / Int32ul),
    structure="file parameters",
    section="2.6.2.1",
)


class _Item(NamedTuple):
    name: str
    length: int | None  # None: any
    flags: int


# Early writers left the Required flag of the sector sizes unset, so only the flags in the third column are mandatory.
_ITEMS = {
    FILE_PARAMETERS: _Item("file parameters", 8, IS_REQUIRED),
    VIRTUAL_DISK_SIZE: _Item("virtual disk size", 8, IS_VIRTUAL_DISK),
    DISK_ID: _Item("virtual disk id", 16, IS_VIRTUAL_DISK),
    LOGICAL_SECTOR_SIZE: _Item("logical sector size", 4, IS_VIRTUAL_DISK),
    PHYSICAL_SECTOR_SIZE: _Item("physical sector size", 4, IS_VIRTUAL_DISK),
    PARENT_LOCATOR: _Item("parent locator", None, IS_REQUIRED),
}
_TOLERATED = {CHS_PARAMETERS, PMEM_LABEL_AREA}


@dataclass(frozen=True, slots=True)
class DiskMetadata:
    """The decoded items of a disk; *parent_locator* is the item's bytes or None."""

    block_size: int
    leave_block_allocated: bool
    has_parent: bool
    virtual_size: int
    disk_id: UUID
    logical_sector_size: int
    physical_sector_size: int
    parent_locator: bytes | None = None


def entry_offset(number: int) -> int:
    """Offset of table entry *number* in the region."""
    return TABLE_HEADER.size + number * TABLE_ENTRY.size


def table_length(data: bytes, region: Range) -> int:
    """Length in bytes of the table, header and entries; *data* starts with the header. Raises FormatError."""
    return entry_offset(min(TABLE_HEADER.parse(data, region.offset).entry_count, _MOST_ENTRIES))


def parse_table(data: bytes, region: Range) -> list[TableEntry]:
    """The table's entries, all rules of 2.6.1 verified. *data* is at least `table_length` bytes of the region.

    Raises FormatError, or UnsupportedFeature for an unknown required item.
    """
    header = TABLE_HEADER.parse(data, region.offset)
    if header.entry_count > _MOST_ENTRIES:
        reason = f"{header.entry_count} entries exceed the maximum of {_MOST_ENTRIES}"
        raise FormatError(TABLE_HEADER.structure, region.offset, reason, TABLE_HEADER.section)
    if header.reserved or any(header.padding):
        raise FormatError(TABLE_HEADER.structure, region.offset, "reserved bytes are not zero", TABLE_HEADER.section)
    places = [entry_offset(number) for number in range(header.entry_count)]
    entries = [TABLE_ENTRY.parse(data[at : at + TABLE_ENTRY.size], region.offset + at) for at in places]
    for at, entry in zip(places, entries, strict=True):
        reason = _fault(entry, region.length)
        if reason:
            raise FormatError(TABLE_ENTRY.structure, region.offset + at, f"{_name(entry)}: {reason}", "2.6.1.2")
        _verify_known(entry, region.offset + at)
    _verify_together(entries, region.offset)
    return entries


def _name(entry: TableEntry) -> str:
    known = _ITEMS.get(entry.item_id)
    return known.name if known and not entry.flags & IS_USER else f"item {entry.item_id}"


def _fault(entry: TableEntry, region_length: int) -> str:
    user, required = entry.flags & IS_USER, entry.flags & IS_REQUIRED
    known = None if user else _ITEMS.get(entry.item_id)
    faults = (
        (entry.item_id == NO_GUID, "the item id is zero"),
        (entry.reserved or entry.flags & ~_FLAGS, "reserved bits are set"),
        (user and required, "a user item cannot be required"),
        (entry.length > _LONGEST_ITEM, f"{entry.length} bytes exceed the maximum item length"),
        (entry.length and entry.offset < TABLE_SIZE, f"offset {entry.offset} is inside the table"),
        (not entry.length and entry.offset, f"length is zero, but offset is {entry.offset}"),
        (entry.range.end > region_length, f"bytes {entry.offset} to {entry.range.end} extend beyond the region"),
        (
            known and known.length is not None and entry.length != known.length,
            f"length is {entry.length} bytes instead of {known.length if known else 0}",
        ),
        (
            known and (entry.flags & known.flags != known.flags or entry.flags & IS_VIRTUAL_DISK & ~known.flags),
            f"invalid flags {entry.flags:#x} for this item",
        ),
    )
    return next((reason for wrong, reason in faults if wrong), "")


def _verify_known(entry: TableEntry, offset: int) -> None:
    if entry.flags & IS_USER:
        return
    if entry.item_id == INCOMPLETE_FILE:
        raise FormatError(TABLE_ENTRY.structure, offset, "creation of the file was not completed")
    if entry.flags & IS_REQUIRED and entry.item_id not in _ITEMS and entry.item_id not in _TOLERATED:
        raise UnsupportedFeature(f"metadata item {entry.item_id} is required and unknown")


def _verify_together(entries: Sequence[TableEntry], offset: int) -> None:
    reason = ""
    keys = [(entry.flags & IS_USER, entry.item_id) for entry in entries]
    if len(set(keys)) != len(keys):
        reason = "an item has two entries"
    for user, most in enumerate(_MOST_OF_A_CLASS):
        lengths = [entry.length for entry in entries if entry.flags & IS_USER == user]
        if len(lengths) > most or sum(lengths) > _LONGEST_CLASS:
            reason = f"{len(lengths)} items of {sum(lengths)} bytes exceed the limits for a file"
    for first, second in pairwise(sorted(entry.range for entry in entries if entry.length)):
        if first.end > second.offset:
            reason = f"the items at {first.offset} and {second.offset} of the region overlap"
    present = {entry.item_id for entry in entries if not entry.flags & IS_USER}
    for item_id, item in _ITEMS.items():
        if item_id != PARENT_LOCATOR and item_id not in present:
            reason = f"the {item.name} item is missing"
    if reason:
        raise FormatError(TABLE_HEADER.structure, offset, reason, TABLE_HEADER.section)


def system_items(entries: Sequence[TableEntry]) -> dict[UUID, TableEntry]:
    """The entries whose content `decode` needs, by item id."""
    return {entry.item_id: entry for entry in entries if not entry.flags & IS_USER and entry.item_id in _ITEMS}


def decode(items: Mapping[UUID, bytes], offset: int) -> DiskMetadata:
    """The disk that the items describe; *offset* is the region's file offset. Raises FormatError."""
    parameters = PARAMETERS.parse(items[FILE_PARAMETERS], offset)
    metadata = DiskMetadata(
        block_size=parameters.block_size,
        leave_block_allocated=parameters.leave_block_allocated,
        has_parent=parameters.has_parent,
        virtual_size=int.from_bytes(items[VIRTUAL_DISK_SIZE], "little"),
        disk_id=UUID(bytes_le=items[DISK_ID]),
        logical_sector_size=int.from_bytes(items[LOGICAL_SECTOR_SIZE], "little"),
        physical_sector_size=int.from_bytes(items[PHYSICAL_SECTOR_SIZE], "little"),
        parent_locator=items.get(PARENT_LOCATOR) if parameters.has_parent else None,
    )
    if parameters.flags & ~3:
        raise FormatError("file parameters", offset, f"reserved flags are set ({parameters.flags:#x})", "2.6.2.1")
    reason = unsound(metadata)
    if reason:
        raise FormatError("metadata", offset, reason, "2.6.2")
    return metadata


def unsound(metadata: DiskMetadata) -> str:
    """What is wrong with these values, or ""."""
    size, block, sector = metadata.virtual_size, metadata.block_size, metadata.logical_sector_size
    faults = (
        (
            block & (block - 1) or not MIB <= block <= 256 * MIB,
            f"invalid block size {block}: must be a power of two from 1 to 256 MiB",
        ),
        (sector not in (512, 4096), f"invalid logical sector size {sector}: must be 512 or 4096"),
        (
            metadata.physical_sector_size not in (512, 4096),
            f"invalid physical sector size {metadata.physical_sector_size}: must be 512 or 4096",
        ),
        (
            not 0 < size <= LARGEST_DISK or size % max(sector, 1),
            f"invalid virtual size {size}: must be a positive multiple of the sector size, at most 64 TiB",
        ),
        (metadata.has_parent and metadata.parent_locator is None, "HasParent is set, but there is no parent locator"),
    )
    return next((reason for wrong, reason in faults if wrong), "")


def build(metadata: DiskMetadata) -> bytes:
    """Table and items of a new region, in the order that Windows writes; the caller pads to the region's length."""
    flags = int(metadata.leave_block_allocated) | (int(metadata.has_parent) << 1)
    virtual_disk = IS_VIRTUAL_DISK | IS_REQUIRED
    items = [
        (FILE_PARAMETERS, IS_REQUIRED, PARAMETERS.build(FileParameters(metadata.block_size, flags))),
        (VIRTUAL_DISK_SIZE, virtual_disk, metadata.virtual_size.to_bytes(8, "little")),
        (LOGICAL_SECTOR_SIZE, virtual_disk, metadata.logical_sector_size.to_bytes(4, "little")),
        (PHYSICAL_SECTOR_SIZE, virtual_disk, metadata.physical_sector_size.to_bytes(4, "little")),
        (DISK_ID, virtual_disk, metadata.disk_id.bytes_le),
    ]
    if metadata.parent_locator is not None:
        items.append((PARENT_LOCATOR, IS_REQUIRED, metadata.parent_locator))
    table = TABLE_HEADER.build(MetadataTableHeader(0, len(items)))
    body = b""
    for item_id, item_flags, data in items:
        table += TABLE_ENTRY.build(TableEntry(item_id, TABLE_SIZE + len(body), len(data), item_flags))
        body += data
    return table.ljust(TABLE_SIZE, b"\0") + body
