"""Where the structures of a sound image lie and what fields they have, read by the specifications' offsets."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, NamedTuple

from tests.check.vhd_images import sealed as vhd_sealed
from tests.format.raw import BAT_REGION, METADATA_REGION, PAGE, sealed
from tests.fuzz.subjects import subject
from tests.image.forge import HEADERS, REGION_TABLES
from tests.support.disks import MIB
from vhdx.image.base import ImageFormat

TABLE = 64 << 10
NO_ENTRY = 0xFFFFFFFF


class Field(NamedTuple):
    """A field of a structure: its place in the file and bytes."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure, its fields, and how its checksum is repaired; *twin* is the other copy of the same structure."""

    name: str
    offset: int
    length: int
    fields: tuple[Field, ...]
    seal: Callable[[bytes], bytes] | None = None
    twin: int | None = None


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The structures of one file; the entries of its block table and what a block takes."""

    size: int
    order: str  # "<" or ">", as struct has it
    structures: tuple[Structure, ...]
    table: tuple[Field, ...]
    used: tuple[int, ...]  # entries, as numbers, that name a place

    @property
    def byte_order(self) -> Literal["little", "big"]:
        return "little" if self.order == "<" else "big"


@cache
def anatomy(name: str, path: str) -> Anatomy:
    """That of a file of a subject."""
    made = subject(name)
    return (_vhdx if made.format is ImageFormat.VHDX else _vhd)(made.bytes_of(path))


def _fields(base: int, *rows: tuple[str, int, int]) -> tuple[Field, ...]:
    return tuple(Field(name, base + place, length) for name, place, length in rows)


def _vhdx(data: bytes) -> Anatomy:
    first = REGION_TABLES[0] + 16
    regions = {data[at : at + 16]: struct.unpack_from("<Q", data, at + 16)[0] for at in (first, first + 32)}
    metadata, bat = regions[METADATA_REGION.bytes_le], regions[BAT_REGION.bytes_le]
    bitmap_entries = [chunk << 10 for chunk in (2, 4, 8, 16)]
    numbers = [*range(8), *bitmap_entries]
    entries = tuple(Field(f"bat[{number}]", bat + 8 * number, 8) for number in numbers)
    raws = {number: struct.unpack_from("<Q", data, bat + 8 * number)[0] for number in numbers}
    used = tuple(raw for raw in raws.values() if MIB <= raw < len(data))
    bitmaps = [raws[number] // MIB * MIB for number in bitmap_entries if raws[number] in used]
    structures = (
        Structure("identifier", 0, 520, _fields(0, ("signature", 0, 8), ("creator", 8, 8))),
        *(_header(at) for at in HEADERS),
        *(_regions(at) for at in REGION_TABLES),
        *_metadata(data, metadata),
        Structure("block table", bat, 64, entries),
        *_log(data),
        *(Structure("bitmap", at, MIB, _fields(at, ("bits", 0, 8), ("more bits", 512, 8))) for at in bitmaps),
    )
    return Anatomy(len(data), "<", structures, entries, used)


def _header(at: int) -> Structure:
    fields = _fields(
        at,
        ("signature", 0, 4),
        ("checksum", 4, 4),
        ("sequence number", 8, 8),
        ("file write guid", 16, 16),
        ("data write guid", 32, 16),
        ("log guid", 48, 16),
        ("log version", 64, 2),
        ("version", 66, 2),
        ("log length", 68, 4),
        ("log offset", 72, 8),
    )
    return Structure("header", at, PAGE, fields, sealed, sum(HEADERS) - at)


def _regions(at: int) -> Structure:
    fields = _fields(at, ("signature", 0, 4), ("checksum", 4, 4), ("count", 8, 4), ("reserved", 12, 4))
    for number in range(3):
        row = (("guid", 0, 16), ("offset", 16, 8), ("length", 24, 4), ("flags", 28, 4))
        fields += tuple(field._replace(name=f"{number} {field.name}") for field in _fields(at + 16 + 32 * number, *row))
    return Structure("region table", at, TABLE, fields, sealed, sum(REGION_TABLES) - at)


def _metadata(data: bytes, at: int) -> Iterator[Structure]:
    count = struct.unpack_from("<H", data, at + 10)[0]
    fields = _fields(at, ("signature", 0, 8), ("reserved", 8, 2), ("count", 10, 2))
    for number in range(count + 1):
        row = (("guid", 0, 16), ("offset", 16, 4), ("length", 20, 4), ("flags", 24, 4), ("reserved", 28, 4))
        fields += tuple(field._replace(name=f"{number} {field.name}") for field in _fields(at + 32 + 32 * number, *row))
    yield Structure("metadata table", at, 32 * (count + 1), fields)
    for number in range(count):
        offset, length = struct.unpack_from("<II", data, at + 32 + 32 * number + 16)
        item = at + offset
        if length <= 16:
            widths = {4: (4,), 8: (8,) if number else (4, 4), 16: (16,)}[length]
            rows = [(f"item {number}", sum(widths[:part]), width) for part, width in enumerate(widths)]
            yield Structure(f"metadata item {number}", item, length, _fields(item, *rows))
        else:
            yield _locator(data, item)


def _locator(data: bytes, at: int) -> Structure:
    count = struct.unpack_from("<H", data, at + 18)[0]
    fields = _fields(at, ("type", 0, 16), ("reserved", 16, 2), ("count", 18, 2))
    for number in range(count):
        row = at + 20 + 12 * number
        fields += _fields(row, ("key offset", 0, 4), ("value offset", 4, 4))
        fields += _fields(row, ("key length", 8, 2), ("value length", 10, 2))
        key, value, key_length, value_length = struct.unpack_from("<IIHH", data, row)
        fields += _fields(at, ("key", key, key_length), ("value", value, value_length))
    return Structure("parent locator", at, 20 + 12 * count, fields)


def _log(data: bytes) -> Iterator[Structure]:
    start = MIB
    for at in range(start, start + (64 << 10), PAGE):
        if data[at : at + 4] != b"loge":
            continue
        length = struct.unpack_from("<I", data, at + 8)[0]
        rows = [("signature", 0, 4), ("checksum", 4, 4), ("length", 8, 4), ("tail", 12, 4), ("sequence number", 16, 8)]
        rows += [("count", 24, 4), ("reserved", 28, 4), ("log guid", 32, 16), ("flushed", 48, 8), ("last", 56, 8)]
        for number in range(min(struct.unpack_from("<I", data, at + 24)[0], 3)):
            row = 64 + 32 * number
            rows += [("descriptor", row, 4), ("trailing", row + 4, 4), ("leading", row + 8, 8)]
            rows += [("file offset", row + 16, 8), ("descriptor sequence", row + 24, 8)]
        rows += [("data signature", PAGE, 4), ("data high", PAGE + 4, 4), ("data low", 2 * PAGE - 4, 4)]
        kept = tuple(row for row in rows if row[1] < length)
        yield Structure("log entry", at, length, _fields(at, *kept), sealed)


def _vhd(data: bytes) -> Anatomy:
    end = len(data) - 512
    structures = [_footer(end, 0 if data[:8] == b"conectix" else None)]
    entries: tuple[Field, ...] = ()
    used: tuple[int, ...] = ()
    if data[:8] == b"conectix":
        table, count = struct.unpack_from(">Q4xI", data, 512 + 16)
        entries = tuple(Field(f"bat[{number}]", table + 4 * number, 4) for number in range(count + 1))
        used = tuple(raw for raw in struct.unpack_from(f">{count}I", data, table) if raw != NO_ENTRY)
        structures += [
            _footer(0, end),
            _dynamic_header(data),
            Structure("block table", table, 4 * count, entries),
            *(_bitmap(512 * raw) for raw in used),
        ]
    return Anatomy(len(data), ">", tuple(structures), entries, used)


def _bitmap(at: int) -> Structure:
    return Structure("bitmap", at, 512, _fields(at, ("bits", 0, 8), ("more bits", 32, 4)))


def _footer(at: int, twin: int | None) -> Structure:
    fields = _fields(
        at,
        ("cookie", 0, 8),
        ("features", 8, 4),
        ("version", 12, 4),
        ("data offset", 16, 8),
        ("timestamp", 24, 4),
        ("creator", 28, 4),
        ("original size", 40, 8),
        ("current size", 48, 8),
        ("geometry", 56, 4),
        ("type", 60, 4),
        ("checksum", 64, 4),
        ("unique id", 68, 16),
        ("saved state", 84, 1),
        ("hidden", 85, 1),
    )
    return Structure("footer", at, 512, fields, partial(vhd_sealed, field=64), twin)


def _dynamic_header(data: bytes) -> Structure:
    at = 512
    rows = [("cookie", 0, 8), ("data offset", 8, 8), ("table offset", 16, 8), ("version", 24, 4), ("entries", 28, 4)]
    rows += [("block size", 32, 4), ("checksum", 36, 4), ("parent id", 40, 16)]
    rows += [("parent time", 56, 4), ("name", 64, 16)]
    for number in range(3):
        row = 576 + 24 * number
        rows += [("code", row, 4), ("space", row + 4, 4), ("length", row + 8, 4), ("offset", row + 16, 8)]
    fields = _fields(at, *rows)
    for number in range(2):
        length, offset = struct.unpack_from(">I4xQ", data, at + 576 + 24 * number + 8)
        if length:
            fields += (Field("path", offset, min(length, 64)),)
    return Structure("dynamic header", at, 1024, fields, partial(vhd_sealed, field=36))
