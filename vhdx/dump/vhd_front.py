"""The footers, the dynamic header and the parent locators of a VHD (VHD 1.0)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from vhdx.dump.reading import Gloss, checksum, known, plain, record_fields, signature, sized
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, Value, absent
from vhdx.dump.vhd_file import FOOTER_CHECKSUM, HEADER_CHECKSUM, Copy, VhdDump
from vhdx.dump.words import quoted, size_text
from vhdx.format import vhd_checksum, vhd_locator
from vhdx.format.record import RecordField
from vhdx.format.vhd_footer import COOKIE, FOOTER, HOSTS, NO_OFFSET, OLD_SIZE, POISON, SIZE, VhdType
from vhdx.format.vhd_header import HEADER, NO_PARENT
from vhdx.format.vhd_locator import COUNT, ENTRY, KEYS, LONGEST, PLATFORMS, LocatorPlace

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LOCATORS = 576
_TYPES = {int(VhdType.FIXED): "fixed", int(VhdType.DYNAMIC): "dynamic", int(VhdType.DIFFERENCING): "differencing"}
_CREATORS = {
    b"vpc": "Virtual PC",
    b"vs": "Virtual Server",
    b"win": "Windows",
    b"d2v": "Disk2vhd",
    b"wa": "Azure",
    b"tap": "blktap",
    b"CTXS": "Citrix",
    b"qemu": "qemu",
    b"qem2": "qemu",
    b"vbox": "VirtualBox",
}


def footers(file: VhdDump) -> Iterator[Draft]:
    """The copy at the start, then the footer at the end."""
    if file.start.likely and file.size > SIZE:
        yield _footer(file, file.start, "copy of the footer")
    elif file.footer is not None and file.footer.is_dynamic:
        yield _no_footer(file.start, "copy of the footer")
    if file.end.likely:
        yield _footer(file, file.end, "footer", anywhere=True)
    else:
        yield _no_footer(file.end, "footer", anywhere=True)


def _no_footer(copy: Copy, name: str, *, anywhere: bool = False) -> Draft:
    note = f"none: the bytes begin with {quoted(copy.data[:8])}" if copy.data else "the file is empty"
    return Draft(Structure(DumpPart.FOOTER, name, copy.offset, len(copy.data), (), note), ("footer",), anywhere)


def _footer(file: VhdDump, copy: Copy, name: str, *, anywhere: bool = False) -> Draft:
    right = vhd_checksum.complement_sum(copy.data.ljust(SIZE, b"\0"), field=FOOTER_CHECKSUM)
    glosses: dict[str, Gloss] = {
        "cookie": _cookie,
        "features": known({2: "none", 3: "temporary: to be deleted at shutdown"}),
        "version": known({0x10000: "1.0"}),
        "data_offset": _data_offset,
        "timestamp": _time,
        "creator": _creator,
        "creator_version": _version,
        "creator_host": _host,
        "original_size": sized,
        "current_size": sized,
        "sectors_per_track": _geometry(copy),
        "disk_type": known(_TYPES),
        "checksum": checksum(right, big_endian=True),
        "saved_state": known({0: "no", 1: "yes: a virtual machine was suspended with the disk"}),
        "reserved": _reserved,
    }
    fields = tuple(record_fields(FOOTER, _whole(copy), copy.offset, glosses))
    if len(copy.data) == OLD_SIZE:
        fields = (*fields[:-1], _cut(fields[-1]))
    note = "" if file.chosen is not copy else "in use"
    return Draft(Structure(DumpPart.FOOTER, name, copy.offset, len(copy.data), fields, note), ("footer",), anywhere)


def _whole(copy: Copy) -> bytes:
    return copy.data.ljust(SIZE, b"\0")


def _cut(last: Field) -> Field:
    return Field(last.name, last.offset, last.raw[:-1], last.value, "one byte short, as before 2004")


def _cookie(field: RecordField) -> tuple[Value, str]:
    if field.raw == POISON:
        return quoted(field.raw), "marked unsafe by vhd-util during an interrupted change"
    return signature(COOKIE)(field)


def _number(field: RecordField) -> int:
    assert isinstance(field.value, int)
    return field.value


def _data_offset(field: RecordField) -> tuple[Value, str]:
    none = _number(field) in (NO_OFFSET, 0xFFFFFFFF)
    return _number(field), "none" if none else f"dynamic header at {size_text(_number(field))}"


def _time(field: RecordField) -> tuple[Value, str]:
    return (_EPOCH + timedelta(seconds=_number(field))).isoformat(), f"{_number(field)} seconds since 2000"


def _parent_time(field: RecordField) -> tuple[Value, str]:
    return _time(field) if _number(field) else (0, "not recorded")


def _creator(field: RecordField) -> tuple[Value, str]:
    return quoted(field.raw), _CREATORS.get(field.raw.rstrip(b"\0 "), "unknown creator")


def _version(field: RecordField) -> tuple[Value, str]:
    return _number(field), f"{_number(field) >> 16}.{_number(field) & 0xFFFF}"


def _host(field: RecordField) -> tuple[Value, str]:
    return quoted(field.raw), HOSTS.get(field.raw, "unknown system")


def _geometry(copy: Copy) -> Gloss:
    def gloss(field: RecordField) -> tuple[Value, str]:
        footer = copy.footer
        meaning = "" if footer is None else f"{size_text(footer.geometry.size)} by geometry; not the disk size"
        return _number(field), meaning

    return gloss


def _reserved(field: RecordField) -> tuple[Value, str]:
    return None, "reserved, but not all zeros" if any(field.raw) else "all zeros"


def headers(file: VhdDump) -> Iterator[Draft]:
    """The dynamic header."""
    offset, data = file.header_offset, file.header_data
    if offset is None:
        needs = () if file.is_fixed else (DumpPart.FOOTER,)
        yield absent(DumpPart.HEADERS, "dynamic header", file.why_no_header, takes=("dynamic header",), needs=needs)
        return
    right = vhd_checksum.complement_sum(data, field=HEADER_CHECKSUM) if len(data) == HEADER.size else None
    glosses: dict[str, Gloss] = {
        "cookie": signature(b"cxsparse"),
        "data_offset": _data_offset,
        "version": known({0x10000: "1.0"}),
        "block_size": sized,
        "checksum": checksum(right, big_endian=True),
        "parent_id": _parent_id,
        "parent_timestamp": _parent_time,
        "parent_name": _parent_name,
        "locators": _locators,
    }
    fields = tuple(record_fields(HEADER, data, offset, glosses))
    note = "all zeros" if not any(data) else ""
    yield Draft(Structure(DumpPart.HEADERS, "dynamic header", offset, len(data), fields, note), ("dynamic header",))


def _parent_id(field: RecordField) -> tuple[Value, str]:
    return str(field.value), "no parent" if field.value == NO_PARENT else "the unique id of the parent"


def _parent_name(field: RecordField) -> tuple[Value, str]:
    name = vhd_locator.decode_name(field.raw)
    if name is None:
        return None, "not text" if any(field.raw) else "empty"
    return name, "the file name of the parent"


def _locators(field: RecordField) -> tuple[Value, str]:
    used = sum(any(field.raw[at : at + ENTRY.size]) for at in range(0, len(field.raw), ENTRY.size))
    return None, f"{used} of {COUNT} in use"


def locators(file: VhdDump) -> Iterator[Draft]:
    """The parent name, and each locator in use with its path."""
    header, offset = file.header, file.header_offset
    takes = ("parent locator",)
    if header is None or offset is None:
        needs = () if file.is_fixed else (DumpPart.FOOTER, DumpPart.HEADERS)
        yield absent(DumpPart.LOCATOR, "parent locator", file.why_no_header, takes=takes, needs=needs)
        return
    starts = range(0, COUNT * ENTRY.size, ENTRY.size)
    rows = {start: header.locators[start : start + ENTRY.size] for start in starts}
    yield _name(file, offset, sum(map(any, rows.values())))
    for start, row in rows.items():
        if any(row):
            yield _locator(file, row, start // ENTRY.size, offset + _LOCATORS + start)


def _name(file: VhdDump, offset: int, used: int) -> Draft:
    field = next(field for field in HEADER.fields(file.header_data, offset) if field.name == "parent_name")
    shown = Field("parent_name", field.offset, field.raw, *_parent_name(field))
    note = f"{used} of {COUNT} locators in use"
    if not file.has_parent:
        note += "; the disk has no parent"
    return Draft(Structure(DumpPart.LOCATOR, "parent name", field.offset, field.length, (shown,), note))


def _locator(file: VhdDump, row: bytes, number: int, at: int) -> Draft:
    entry = ENTRY.parse(row)
    glosses: dict[str, Gloss] = {"code": _code, "data_space": _space, "data_length": sized, "data_offset": plain}
    fields = [*record_fields(ENTRY, row, at, glosses)]
    if entry.data_length:
        fields.append(_path(file, entry))
    structure = Structure(DumpPart.LOCATOR, f"parent locator {number + 1}", at, len(row), tuple(fields))
    return Draft(structure, ("parent locator",))


def _code(field: RecordField) -> tuple[Value, str]:
    platform = PLATFORMS.get(field.raw)
    return quoted(field.raw), platform.meaning if platform else "unknown"


def _space(field: RecordField) -> tuple[Value, str]:
    return _number(field), "space for the path: in bytes or sectors, depending on the program"


def _path(file: VhdDump, entry: LocatorPlace) -> Field:
    data = file.read(entry.data_offset, min(entry.data_length, LONGEST))
    if len(data) < min(entry.data_length, LONGEST):
        return Field("path", entry.data_offset, data, None, "missing: extends beyond end of file")
    if entry.code in KEYS:
        path = vhd_locator.decode_path(data)
        return Field("path", entry.data_offset, data, path, "" if path else "not UTF-16 text")
    return Field("path", entry.data_offset, data, quoted(data.rstrip(b"\0")), "as bytes")


