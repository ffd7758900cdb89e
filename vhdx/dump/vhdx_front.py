"""The first MiB of a VHDX: identifier, headers, region tables (MS-VHDX 2.2)."""

from collections.abc import Iterator

from vhdx.dump.reading import Gloss, checksum, flags, known, record_fields, signature, sized, utf16
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, Value
from vhdx.dump.vhdx_file import CHECKSUM, NAMES, VhdxDump, region_entries
from vhdx.dump.words import size_text
from vhdx.format import checksum as sums
from vhdx.format import header, identifier, region
from vhdx.format.record import NO_GUID, RecordField

_ALL_ZEROS = "all zeros"


def headers(file: VhdxDump) -> Iterator[Draft]:
    """The identifier and both headers."""
    data = file.read(identifier.OFFSET, identifier.IDENTIFIER.size)
    glosses = {"signature": signature(identifier.SIGNATURE), "creator": utf16("utf-16-le")}
    fields = tuple(record_fields(identifier.IDENTIFIER, data, identifier.OFFSET, glosses))
    structure = Structure(DumpPart.HEADERS, "file identifier", identifier.OFFSET, len(data), fields)
    yield Draft(structure, ("file identifier",))
    for slot, offset in enumerate(header.OFFSETS):
        yield _header(file, slot, offset)


def _header(file: VhdxDump, slot: int, offset: int) -> Draft:
    copy = file.copies[slot]
    note = _header_note(file, slot) if any(copy) else _ALL_ZEROS
    whole = len(copy) == header.HEADER.size
    right = sums.crc32c(copy, field=CHECKSUM) if whole else None
    glosses: dict[str, Gloss] = {
        "signature": signature(b"head"),
        "checksum": checksum(right),
        "log_guid": _log_guid,
        "log_version": known({0: "known"}),
        "version": known({1: "known"}),
        "log_length": sized,
        "log_offset": _log_offset,
    }
    fields = tuple(record_fields(header.HEADER, copy, offset, glosses))
    return Draft(Structure(DumpPart.HEADERS, f"header {slot + 1}", offset, len(copy), fields, note), ("header",))


def _header_note(file: VhdxDump, slot: int) -> str:
    chosen, copy = file.chosen, file.copies[slot]
    if chosen is not None and chosen.slot == slot:
        if chosen.doubt:
            return f"neither header is valid; this one is used here although {chosen.doubt}"
        return "current header"
    valid = len(copy) == header.HEADER.size and copy.startswith(b"head") and sums.is_sealed(copy, field=CHECKSUM)
    return "older header" if valid else "not valid: ignored"


def _log_guid(field: RecordField) -> tuple[Value, str]:
    return str(field.value), "the log is empty" if field.value == NO_GUID else "the log is in use and must be replayed"


def _log_offset(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    return field.value, f"file offset {size_text(field.value)}"


def regions(file: VhdxDump) -> Iterator[Draft]:
    """Both region tables."""
    for number, offset in enumerate(region.OFFSETS):
        copy = file.tables[number]
        notes = [_table_note(file, number) if any(copy) else _ALL_ZEROS, file.pending.note(offset, len(copy))]
        note = "; ".join(text for text in notes if text)
        fields = tuple(_region_fields(copy, offset))
        structure = Structure(DumpPart.REGIONS, f"region table {number + 1}", offset, len(copy), fields, note)
        yield Draft(structure, ("region table", "region table entry"))


def _table_note(file: VhdxDump, number: int) -> str:
    chosen = file.regions
    if chosen is None:
        return "not valid; neither is the other copy"
    if chosen.number == number:
        return f"neither copy is valid; this one is used here although {chosen.doubt}" if chosen.doubt else "in use"
    return "second copy: unused, because the first is valid" if not chosen.number else "not valid: unused"


def _region_fields(copy: bytes, offset: int) -> Iterator[Field]:
    right = sums.crc32c(copy, field=CHECKSUM) if len(copy) == region.TABLE_SIZE else None
    glosses: dict[str, Gloss] = {
        "signature": signature(b"regi"), "checksum": checksum(right), "entry_count": _count, "reserved": _reserved
    }
    yield from record_fields(region.TABLE_HEADER, copy, offset, glosses)
    required = flags({1: "required"}, "not required")
    entry_glosses: dict[str, Gloss] = {"guid": _region, "length": sized, "flags": required}
    for number in range(len(region_entries(copy))):
        at = region.TABLE_HEADER.size + number * region.ENTRY.size
        row = copy[at : at + region.ENTRY.size]
        yield from record_fields(region.ENTRY, row, offset + at, entry_glosses, f"entry {number + 1} ")


def _region(field: RecordField) -> tuple[Value, str]:
    name = next((name for guid, name in NAMES.items() if guid == field.value), "")
    return str(field.value), f"the {name} region" if name else "unknown"


def _count(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    return field.value, "" if field.value <= 2047 else "too large, so no entry is shown"


def _reserved(field: RecordField) -> tuple[Value, str]:
    assert isinstance(field.value, int)
    return field.value, "zero" if not field.value else "reserved, but not zero"
