"""The metadata of a VHDX: table, items, parent locator (MS-VHDX 2.6)."""

from collections.abc import Iterator

from vhdx.dump.reading import Gloss, flags, plain, record_fields, signature, sized
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, Value, absent
from vhdx.dump.vhdx_file import MOST_ENTRIES, Item, VhdxDump
from vhdx.dump.words import counted, size_text
from vhdx.extents import Range
from vhdx.format import metadata
from vhdx.format.locator import ENTRY, HEADER, LINKAGE, LINKAGE2, MOST_PAIRS, VHDX_PARENT, LocatorEntry
from vhdx.format.metadata import PARAMETERS, TABLE_ENTRY, TABLE_HEADER, TableEntry
from vhdx.format.record import GUID, RecordField

_NAMES = {
    metadata.FILE_PARAMETERS: "file parameters",
    metadata.VIRTUAL_DISK_SIZE: "virtual disk size",
    metadata.DISK_ID: "virtual disk id",
    metadata.LOGICAL_SECTOR_SIZE: "logical sector size",
    metadata.PHYSICAL_SECTOR_SIZE: "physical sector size",
    metadata.PARENT_LOCATOR: "parent locator",
    metadata.INCOMPLETE_FILE: "incomplete file",
    metadata.CHS_PARAMETERS: "CHS parameters",
    metadata.PMEM_LABEL_AREA: "PMEM label area",
}
_FLAGS = {
    metadata.IS_USER: "user item",
    metadata.IS_VIRTUAL_DISK: "virtual disk",
    metadata.IS_REQUIRED: "required",
}
_MOST_SHOWN = 4096
"""Bytes shown of an unknown item."""
_LONGEST_LOCATOR = 1 << 20
_WHERE = (DumpPart.HEADERS, DumpPart.REGIONS)


def items(file: VhdxDump) -> Iterator[Draft]:
    """The table, then each item except the parent locator."""
    place = file.metadata.range
    if place is None:
        yield absent(DumpPart.METADATA, "metadata table", file.metadata.reason, needs=_WHERE)
        return
    data = file.table
    notes = ["" if any(data) else "all zeros", file.following(Range(place.offset, len(data)))]
    note = "; ".join(text for text in notes if text)
    fields = tuple(_table(file, place))
    structure = Structure(DumpPart.METADATA, "metadata table", place.offset, len(data), fields, note)
    yield Draft(structure, ("metadata table", "metadata table entry"))
    for entry in file.item_entries:
        if entry.item_id != metadata.PARENT_LOCATOR or entry.flags & metadata.IS_USER:
            yield _item(file, entry)


def _table(file: VhdxDump, place: Range) -> Iterator[Field]:
    glosses: dict[str, Gloss] = {"signature": signature(b"metadata"), "entry_count": _count, "padding": _padding}
    yield from record_fields(TABLE_HEADER, file.table, place.offset, glosses)
    entry_glosses: dict[str, Gloss] = {"item_id": _item_id, "length": sized, "flags": flags(_FLAGS)}
    for number in range(len(file.item_entries)):
        at = metadata.entry_offset(number)
        row = file.table[at : at + TABLE_ENTRY.size]
        yield from record_fields(TABLE_ENTRY, row, place.offset + at, entry_glosses, f"entry {number + 1} ")


def _count(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    return field.value, "" if field.value <= MOST_ENTRIES else "too large, so no entry is shown"


def _padding(field: RecordField) -> tuple[Value, str]:
    return None, "reserved, but not all zeros" if any(field.raw) else "all zeros"


def _item_id(field: RecordField) -> tuple[Value, str]:
    return str(field.value), next((name for guid, name in _NAMES.items() if guid == field.value), "unknown")


def _item(file: VhdxDump, entry: TableEntry) -> Draft:
    user = entry.flags & metadata.IS_USER
    known = None if user else _NAMES.get(entry.item_id)
    name = known or f"{'user ' * bool(user)}item {entry.item_id}"
    takes = (known,) if known else ()
    item = file.item(entry, _MOST_SHOWN)
    if item is None:
        note = "empty" if not entry.length else f"not read: invalid offset {entry.offset} in the region"
        return absent(DumpPart.METADATA, name, note, takes=takes, lost=bool(entry.length))
    fields = tuple(_content(item))
    note = file.pending.note(item.offset, len(item.data))
    return Draft(Structure(DumpPart.METADATA, name, item.offset, len(item.data), fields, note), takes)


def _content(item: Item) -> Iterator[Field]:
    entry, data, offset = item.entry, item.data, item.offset
    item_id = None if entry.flags & metadata.IS_USER else entry.item_id
    if item_id == metadata.FILE_PARAMETERS:
        yield from record_fields(PARAMETERS, data, offset, {"block_size": sized, "flags": _kind})
    elif item_id == metadata.DISK_ID and len(data) == 16:
        yield Field("disk_id", offset, data, *_guid(data))
    elif item_id == metadata.VIRTUAL_DISK_SIZE:
        yield Field("virtual_size", offset, data, _number(data), size_text(_number(data)))
    elif item_id in (metadata.LOGICAL_SECTOR_SIZE, metadata.PHYSICAL_SECTOR_SIZE):
        odd = "" if _number(data) in (512, 4096) else "neither 512 nor 4096"
        yield Field("sector_size", offset, data, _number(data), odd or size_text(_number(data)))
    else:
        left = f"the first {len(data)} of {counted(entry.length, 'byte')}" if len(data) < entry.length else ""
        yield Field("content", offset, data, None, left or counted(len(data), "byte"))


def _number(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _guid(data: bytes) -> tuple[Value, str]:
    return plain(RecordField("disk_id", 0, 16, data, GUID.parse(data)))


def _kind(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    kinds = {0: "dynamic", 1: "fixed: LeaveBlockAllocated", 2: "differencing: HasParent"}
    kind = kinds.get(field.value & 3, "differencing: HasParent; LeaveBlockAllocated has no meaning here")
    return field.value, kind + (f", reserved bits {field.value & ~3:#x}" if field.value & ~3 else "")


def locators(file: VhdxDump) -> Iterator[Draft]:
    """The parent locator item."""
    if file.metadata.range is None:
        yield absent(DumpPart.LOCATOR, "parent locator", file.metadata.reason, needs=_WHERE)
        return
    item = file.system_item(metadata.PARENT_LOCATOR, _LONGEST_LOCATOR)
    if item is None:
        listed = any(entry.item_id == metadata.PARENT_LOCATOR for entry in file.item_entries)
        note = "none"
        if listed:
            note = "not read: the metadata table gives an invalid offset"
        elif not file.item_entries:
            note = "not read: the metadata table is damaged"
        needs = (*_WHERE, DumpPart.METADATA) if listed or not file.item_entries else ()
        yield absent(DumpPart.LOCATOR, "parent locator", note, takes=("parent locator",), needs=needs)
        return
    fields = tuple(_locator(item))
    note = file.pending.note(item.offset, len(item.data))
    structure = Structure(DumpPart.LOCATOR, "parent locator", item.offset, len(item.data), fields, note)
    yield Draft(structure, ("parent locator",))


def _locator(item: Item) -> Iterator[Field]:
    data, offset = item.data, item.offset
    yield from record_fields(HEADER, data, offset, {"locator_type": _locator_type, "key_value_count": _pair_count})
    count = min(int.from_bytes(data[18:20], "little"), MOST_PAIRS)
    for number in range(count):
        at = HEADER.size + number * ENTRY.size
        row = data[at : at + ENTRY.size]
        if len(row) < ENTRY.size:
            return
        yield from record_fields(ENTRY, row, offset + at, {}, f"pair {number + 1} ")
        yield from _pair(ENTRY.parse(row), item, f"pair {number + 1} ")


def _locator_type(field: RecordField) -> tuple[Value, str]:
    return str(field.value), "VHDX" if field.value == VHDX_PARENT else "unknown, so the parent cannot be found"


def _pair_count(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    return field.value, "" if field.value <= MOST_PAIRS else f"too large; {MOST_PAIRS} are shown"


_KEYS = {
    LINKAGE: "the DataWriteGuid that the parent must have",
    LINKAGE2: "an alternative DataWriteGuid of the parent",
    "relative_path": "path of the parent relative to this file",
    "volume_path": "path of the parent by Windows volume GUID",
    "absolute_win32_path": "absolute Windows path of the parent",
}


def _pair(entry: LocatorEntry, item: Item, prefix: str) -> Iterator[Field]:
    key = item.data[entry.key_offset : entry.key_offset + entry.key_length]
    value = item.data[entry.value_offset : entry.value_offset + entry.value_length]
    name, fault = _text(key, entry.key_length)
    yield Field(prefix + "key", item.offset + entry.key_offset, key, name, fault or _KEYS.get(name or "", "unknown"))
    text, fault = _text(value, entry.value_length)
    yield Field(prefix + "value", item.offset + entry.value_offset, value, text, fault)


def _text(data: bytes, length: int) -> tuple[str | None, str]:
    if len(data) < length:
        return None, "extends beyond the item"
    if not data or len(data) % 2:
        return None, "empty" if not data else "not UTF-16 text: odd number of bytes"
    text = data.decode("utf-16-le", "replace")
    return text, "not valid text" if "\ufffd" in text or "\0" in text else ""
