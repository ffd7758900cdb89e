"""Checks of the metadata region: table, items and their values (MS-VHDX 2.6)."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from vhdx.check.container import MIB, first_set
from vhdx.check.finding import Finding, found
from vhdx.check.locator import check_locator
from vhdx.check.overlapping import overlapping
from vhdx.extents import Range
from vhdx.format.bat import BatLayout
from vhdx.format.metadata import (
    CHS_PARAMETERS,
    DISK_ID,
    FILE_PARAMETERS,
    INCOMPLETE_FILE,
    IS_REQUIRED,
    IS_USER,
    IS_VIRTUAL_DISK,
    LARGEST_DISK,
    LOGICAL_SECTOR_SIZE,
    PARENT_LOCATOR,
    PHYSICAL_SECTOR_SIZE,
    PMEM_LABEL_AREA,
    TABLE_ENTRY,
    TABLE_HEADER,
    TABLE_SIZE,
    VIRTUAL_DISK_SIZE,
    TableEntry,
    entry_offset,
)
from vhdx.format.record import NO_GUID
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread, preads

_MOST_ENTRIES = 2047
_MOST_OF_A_CLASS = 1023, 1024  # system items, user items
_LONGEST_CLASS = 40 * MIB
_FLAGS = IS_USER | IS_VIRTUAL_DISK | IS_REQUIRED


class _Item(NamedTuple):
    name: str
    length: int | None  # None: any
    flags: int


_ITEMS = {
    FILE_PARAMETERS: _Item("file parameters", 8, 0),
    VIRTUAL_DISK_SIZE: _Item("virtual disk size", 8, IS_VIRTUAL_DISK),
    DISK_ID: _Item("virtual disk id", 16, IS_VIRTUAL_DISK),
    LOGICAL_SECTOR_SIZE: _Item("logical sector size", 4, IS_VIRTUAL_DISK),
    PHYSICAL_SECTOR_SIZE: _Item("physical sector size", 4, IS_VIRTUAL_DISK),
    PARENT_LOCATOR: _Item("parent locator", None, 0),
}
_NOT_NEEDED = {CHS_PARAMETERS, PMEM_LABEL_AREA}
# Early writers left the flag unset for disk values; without it on these two, older software would misread the file.
_REQUIRED_INDEED = {FILE_PARAMETERS, PARENT_LOCATOR}


class CheckedDisk(NamedTuple):
    """The values needed to interpret the BAT."""

    layout: BatLayout
    fixed: bool


def check_metadata(view: Storage, region: Range) -> Generator[Finding, None, CheckedDisk | None]:
    """The disk that the region describes; None if a value needed to interpret the BAT is invalid or missing."""
    table = pread(view, region.offset, TABLE_SIZE)
    if table[:8] != b"metadata":
        message = f"the signature of the table is {table[:8]!r} instead of b'metadata'; restore the file from a backup"
        yield found("metadata-signature", region.offset, message)
        return None
    header = TABLE_HEADER.parse(table, region.offset)
    if header.reserved or any(header.padding):
        yield found("metadata-reserved", region.offset + 8, "reserved bytes of the table are not zero")
    if header.entry_count > _MOST_ENTRIES:
        message = f"{header.entry_count} entries exceed the maximum of {_MOST_ENTRIES}"
        yield found("metadata-count", region.offset + 10, message)
        return None
    at = first_set(table, entry_offset(header.entry_count), TABLE_SIZE)
    if at is not None:
        yield found("metadata-stale-entries", region.offset + at, "stale bytes follow the last entry")
    places = [entry_offset(number) for number in range(header.entry_count)]
    entries = [TABLE_ENTRY.parse(table[at : at + TABLE_ENTRY.size], region.offset + at) for at in places]
    usable = yield from _entries(entries, region)
    wanted = {entry.item_id: entry for entry in usable if entry.item_id in _ITEMS and not entry.flags & IS_USER}
    contents = preads(view, [(region.offset + entry.offset, entry.length) for entry in wanted.values()])
    values = dict(zip(wanted, contents, strict=True))
    return (yield from _values(values, {key: region.offset + entry.offset for key, entry in wanted.items()}, region))


def _name(entry: TableEntry) -> str:
    known = None if entry.flags & IS_USER else _ITEMS.get(entry.item_id)
    return f"the {known.name} item" if known else f"item {entry.item_id}"


def _entries(entries: Sequence[TableEntry], region: Range) -> Generator[Finding, None, list[TableEntry]]:
    """Check each entry and the set of entries; returns the entries whose content can be read and interpreted."""
    usable: list[tuple[TableEntry, int]] = []
    seen: set[tuple[int, UUID]] = set()
    for number, entry in enumerate(entries):
        at = region.offset + entry_offset(number)
        misplaced = list(_place(entry, at, region.length))
        yield from misplaced
        yield from _marks(entry, at)
        key = (entry.flags & IS_USER, entry.item_id)
        if key in seen:
            yield found("metadata-item-duplicate", at, f"{_name(entry)} has more than one entry")
        elif not misplaced:
            usable.append((entry, at))
        seen.add(key)
    yield from _overlaps(usable)
    yield from _totals(entries, region.offset)
    for item_id, item in _ITEMS.items():
        if item_id != PARENT_LOCATOR and (0, item_id) not in seen:
            yield found("metadata-item-missing", region.offset, f"the {item.name} item is missing")
    return [entry for entry, _ in usable]


def _place(entry: TableEntry, at: int, region_length: int) -> Iterator[Finding]:
    """Findings that prevent the content of an item from being read or interpreted."""
    name, known = _name(entry), None if entry.flags & IS_USER else _ITEMS.get(entry.item_id)
    if entry.length > MIB:
        yield found("metadata-item-too-long", at, f"{name} has {entry.length} bytes; the maximum is 1 MiB")
    if entry.length and entry.offset < TABLE_SIZE:
        yield found("metadata-item-offset", at, f"offset {entry.offset} of {name} is inside the table")
    elif entry.offset and not entry.length:
        yield found("metadata-item-offset", at, f"{name} has length zero, but offset {entry.offset}")
    if entry.range.end > region_length:
        message = f"{name}, bytes {entry.offset} to {entry.range.end}, extends beyond the region of {region_length}"
        yield found("metadata-item-beyond-region", at, message)
    if known and known.length is not None and entry.length != known.length:
        yield found("metadata-item-length", at, f"{name} has {entry.length} bytes instead of {known.length}")


def _marks(entry: TableEntry, at: int) -> Iterator[Finding]:
    name, user, required = _name(entry), entry.flags & IS_USER, entry.flags & IS_REQUIRED
    if entry.item_id == NO_GUID:
        yield found("metadata-item-id", at, "the id of an item is zero")
    if entry.reserved or entry.flags & ~_FLAGS:
        message = f"{name} has reserved bits set (flags {entry.flags:#x}, reserved {entry.reserved:#x})"
        yield found("metadata-item-reserved", at, message)
    if user:
        if required:
            yield found("metadata-item-user-required", at, f"{name} is a user item and must not be required")
    elif entry.item_id == INCOMPLETE_FILE:
        message = "creation of the file was not completed; create it again"
        yield found("metadata-incomplete-file", at, message)
    elif entry.item_id in _ITEMS:
        yield from _known_marks(entry, at)
    elif required and entry.item_id not in _NOT_NEEDED:
        message = f"{name} is required but unknown, so the file must not be opened; use newer software"
        yield found("metadata-item-unknown-required", at, message)
    elif entry.item_id not in _NOT_NEEDED and entry.item_id != NO_GUID:
        yield found("metadata-item-unknown", at, f"{name} is unknown; ignored")


def _known_marks(entry: TableEntry, at: int) -> Iterator[Finding]:
    right = _ITEMS[entry.item_id].flags
    required = entry.flags & IS_REQUIRED
    if entry.flags & IS_VIRTUAL_DISK != right or (not required and entry.item_id in _REQUIRED_INDEED):
        message = f"{_name(entry)} has flags {entry.flags:#x} instead of {right | IS_REQUIRED:#x}"
        yield found("metadata-item-flags", at, message)
    elif not required:
        yield found("metadata-item-not-required", at, f"{_name(entry)} is not marked as required")


def _overlaps(usable: Sequence[tuple[TableEntry, int]]) -> Iterator[Finding]:
    places = {id(entry): at for entry, at in usable}
    names = {str(number): entry for number, (entry, _) in enumerate(usable)}
    for (first, one), (second, other) in overlapping((name, entry.range) for name, entry in names.items()):
        which = f"{_name(names[first])} at {one.offset} of the region and {_name(names[second])} at {other.offset}"
        yield found("metadata-item-overlap", places[id(names[second])], f"{which} overlap")


def _totals(entries: Sequence[TableEntry], table: int) -> Iterator[Finding]:
    for user, most in enumerate(_MOST_OF_A_CLASS):
        lengths = [entry.length for entry in entries if entry.flags & IS_USER == user]
        if len(lengths) > most or sum(lengths) > _LONGEST_CLASS:
            whose = "user" if user else "system"
            message = f"{len(lengths)} {whose} items of {sum(lengths)} bytes exceed the limits for a file"
            yield found("metadata-too-much", table, message)


def _values(
    values: Mapping[UUID, bytes], at: Mapping[UUID, int], region: Range
) -> Generator[Finding, None, CheckedDisk | None]:
    numbers = {key: int.from_bytes(value, "little") for key, value in values.items() if key != PARENT_LOCATOR}
    sound = yield from _numbers(numbers, at)
    if numbers.get(DISK_ID) == 0:
        yield found("disk-id-zero", at[DISK_ID], "the id of the virtual disk is zero")
    item = values.get(PARENT_LOCATOR)
    if FILE_PARAMETERS in numbers:
        flags = numbers[FILE_PARAMETERS] >> 32
        if flags & 2 and item is None:
            message = "HasParent is set, but there is no parent locator; relink the image to its parent"
            yield found("locator-missing", region.offset, message)
        elif not flags & 2 and item is not None:
            yield found("locator-unused", at[PARENT_LOCATOR], "there is a parent locator, but HasParent is not set")
        if flags & 3 == 3:
            message = "LeaveBlockAllocated is set; it has no meaning in a differencing image"
            yield found("leave-allocated-ignored", at[FILE_PARAMETERS] + 4, message)
        if flags & ~3:
            yield found("file-parameters-reserved", at[FILE_PARAMETERS] + 4, f"reserved flags are set ({flags:#x})")
    if item is not None:
        yield from check_locator(item, at[PARENT_LOCATOR])
    if not sound:
        return None
    block_size, flags = numbers[FILE_PARAMETERS] & 0xFFFFFFFF, numbers[FILE_PARAMETERS] >> 32
    layout = BatLayout(numbers[VIRTUAL_DISK_SIZE], block_size, numbers[LOGICAL_SECTOR_SIZE], bool(flags & 2))
    return CheckedDisk(layout, fixed=flags & 3 == 1)


def _numbers(numbers: Mapping[UUID, int], at: Mapping[UUID, int]) -> Generator[Finding, None, bool]:
    """Whether block size, sector size and disk size are present and valid."""
    sound = all(key in numbers for key in (FILE_PARAMETERS, VIRTUAL_DISK_SIZE, LOGICAL_SECTOR_SIZE))
    block = numbers.get(FILE_PARAMETERS, MIB) & 0xFFFFFFFF
    if block & (block - 1) or not MIB <= block <= 256 * MIB:
        message = f"invalid block size {block}: must be a power of two from 1 to 256 MiB"
        yield found("block-size", at[FILE_PARAMETERS], message)
        sound = False
    sector = numbers.get(LOGICAL_SECTOR_SIZE, 512)
    if sector not in (512, 4096):
        yield found("logical-sector-size", at[LOGICAL_SECTOR_SIZE], f"invalid size {sector}: must be 512 or 4096")
        sound, sector = False, 512
    physical = numbers.get(PHYSICAL_SECTOR_SIZE, 512)
    if physical not in (512, 4096):
        yield found("physical-sector-size", at[PHYSICAL_SECTOR_SIZE], f"invalid size {physical}: must be 512 or 4096")
    size = numbers.get(VIRTUAL_DISK_SIZE, sector)
    if not 0 < size <= LARGEST_DISK or size % sector:
        message = f"invalid size {size}: must be a positive multiple of the sector size, at most 64 TiB"
        yield found("virtual-size", at[VIRTUAL_DISK_SIZE], message)
        sound = False
    return sound
