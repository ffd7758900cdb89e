"""Each field that a reader uses, given a value that is out of range, alone and with sound checksums, is a finding.

The fields are those of the specifications' tables, by their offsets; what no reader uses (times, creators) is not here.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.check import vhd_images
from tests.check.catalogue import (
    BAT,
    DATA,
    ITEMS,
    METADATA,
    Start,
    check,
    child,
    fixed,
    good,
    item_entry,
    plain,
    seal_regions,
)
from tests.format.raw import MIB
from tests.image.forge import Forge
from vhdx.check import Severity

Put = Callable[[Forge, int, bytes], None]


class Field(NamedTuple):
    """A field at *place* of a structure in the images of *starts*, and values that it must not have."""

    name: str
    starts: tuple[Start, ...]
    put: Put
    place: int
    values: tuple[bytes, ...]


def big(length: int, *values: int) -> tuple[bytes, ...]:
    return tuple(value.to_bytes(length, "big") for value in values)


def little(length: int, *values: int) -> tuple[bytes, ...]:
    return tuple(value.to_bytes(length, "little") for value in values)


def raw(image: Forge, place: int, data: bytes) -> None:
    image.write(place, data)


def headers(image: Forge, place: int, data: bytes) -> None:
    image.change_header(place, data)


BLOCKS = (vhd_images.dynamic, vhd_images.differencing, vhd_images.mapped)
VHDS = (*BLOCKS, vhd_images.fixed)
CHILD = (vhd_images.differencing,)
MAP = (vhd_images.mapped,)
MAX32, MAX64 = (1 << 32) - 1, (1 << 64) - 1
footers, header = vhd_images.change_footers, vhd_images.change_header
VHD = [
    Field("footer cookie", VHDS, footers, 0, (b"CONECTIX", b"v_poison")),
    Field("footer features", VHDS, footers, 8, big(4, 0, 4, MAX32)),
    Field("footer version", VHDS, footers, 12, big(4, 0, 1, 0x10001, 0x20000, MAX32)),
    Field("footer data offset", BLOCKS, footers, 16, big(8, 0, 1, 511, 513, 1 << 40, MAX64)),
    Field("footer data offset", (vhd_images.fixed,), footers, 16, big(8, 0, 512)),
    Field("footer host", VHDS, footers, 36, (b"Lnx ", b"\xff" * 4)),
    Field("footer original size", VHDS, footers, 40, big(8, 0, 1, MAX64)),
    Field("footer size", VHDS, footers, 48, big(8, 0, 1, 511, 1 << 62, MAX64)),
    Field("footer type", VHDS, footers, 60, big(4, 0, 1, 5, 6, MAX32)),
    Field("footer id", VHDS, footers, 68, (bytes(16),)),
    Field("footer saved state", VHDS, footers, 84, (b"\1", b"\xff")),
    Field("footer reserved", VHDS, footers, 86, (b"\1",)),
    Field("header cookie", BLOCKS, header, 0, (b"CXSPARSE",)),
    Field("header next", BLOCKS, header, 8, big(8, 0, 512)),
    Field("header table", BLOCKS, header, 16, big(8, 0, 1, 512, 1537, 1 << 40, MAX64)),
    Field("header version", BLOCKS, header, 24, big(4, 0, 1, 0x10001, 0x20000, MAX32)),
    Field("header entries", BLOCKS, header, 28, big(4, 0, 2)),
    Field("header block size", BLOCKS, header, 32, big(4, 0, 1, 512, 3 * MIB, 512 * MIB, MAX32)),
    Field("header reserved", BLOCKS, header, 60, big(4, 1, MAX32)),
    Field("header parent", (vhd_images.dynamic,), header, 40, (b"x" * 16,)),
    Field("header parent", CHILD, header, 40, (bytes(16),)),
    Field("header name", CHILD, header, 64, (bytes(512), b"\xd8\0" * 256)),
    Field("locator code", CHILD, header, 576, (b"BeOS", b"W2ku")),
    Field("locator space", CHILD, header, 580, big(4, 0)),
    Field("locator length", CHILD, header, 584, big(4, 0, 1, MAX32)),
    Field("locator reserved", CHILD, header, 588, big(4, 1)),
    Field("locator offset", CHILD, header, 592, big(8, 0, 512, 1537, 1 << 40, MAX64)),
    Field("table entry", BLOCKS, raw, vhd_images.TABLE + 4, big(4, 0, 1, 3, MAX32 - 1)),
    Field("sector bitmap", (vhd_images.dynamic,), raw, 2048, (bytes(1), bytes(512))),
    Field("batmap cookie", MAP, raw, 2048, (b"TDBATMAP",)),
    Field("batmap offset", MAP, raw, 2056, big(8, 0, 1, 512, 1 << 40, MAX64)),
    Field("batmap size", MAP, raw, 2064, big(4, 0, MAX32)),
    Field("batmap version", MAP, raw, 2068, big(4, 0, 0x20000)),
    Field("batmap checksum", MAP, raw, 2072, big(4, 0)),
    Field("batmap bits", MAP, raw, 2560, (b"\xff",)),
]

VHDXS = (plain, child, fixed)
VHDX = [
    Field("identifier", VHDXS, raw, 0, (b"VHDXFILE",)),
    Field("header write ids", VHDXS, headers, 16, (bytes(16),)),
    Field("header data id", VHDXS, headers, 32, (bytes(16),)),
    Field("header log id", VHDXS, headers, 48, (b"x" * 16,)),
    Field("header log version", VHDXS, headers, 64, little(2, 1, 0xFFFF)),
    Field("header version", VHDXS, headers, 66, little(2, 0, 2, 0xFFFF)),
    Field("header log length", VHDXS, headers, 68, little(4, 0, 1, 2 * MIB, MAX32)),
    Field("header log offset", VHDXS, headers, 72, little(8, 0, 1, MIB + 1, 2 * MIB, 1 << 40, MAX64)),
    Field("header reserved", VHDXS, headers, 80, (b"\1",)),
    *(
        Field(f"region {number} {name}", VHDXS, seal_regions, 16 + 32 * number + place, values)
        for number in range(2)
        for name, place, values in (
            ("id", 0, (bytes(16), b"\xff" * 16)),
            ("offset", 16, little(8, 0, 1, MIB, 5 * MIB + 1, 1 << 40, MAX64)),
            ("length", 24, little(4, 0, 1, MAX32)),
            ("flags", 28, little(4, 2, MAX32)),
        )
    ),
    *(
        Field(f"item {number} {name}", VHDXS, raw, item_entry(number) + place, values)
        for number in range(5)
        for name, place, values in (
            ("id", 0, (bytes(16), b"\xff" * 16)),
            ("offset", 16, little(4, 0, 1, 0xFFFF, MIB, MAX32)),
            ("length", 20, little(4, 0, 1, MIB + 1, MAX32)),
            ("flags", 24, little(4, 1, 5, 8, MAX32)),
            ("reserved", 28, little(4, 1)),
        )
    ),
    Field("metadata table", VHDXS, raw, METADATA, (b"METADATA",)),
    Field("metadata count", VHDXS, raw, METADATA + 10, little(2, 0, 4, 2048, 0xFFFF)),
    Field("block size", VHDXS, raw, ITEMS, little(4, 0, 1, MIB - 1, 3 * MIB, 512 * MIB, MAX32)),
    Field("file flags", VHDXS, raw, ITEMS + 4, little(4, 4, 8, MAX32)),
    Field("file flags", (plain,), raw, ITEMS + 4, little(4, 2)),
    Field("file flags", (child,), raw, ITEMS + 4, little(4, 0, 3)),
    Field("disk size", VHDXS, raw, ITEMS + 8, little(8, 0, 1, 513, 1 << 47, MAX64)),
    Field("logical sector", VHDXS, raw, ITEMS + 16, little(4, 0, 1, 513, 1024, MAX32)),
    Field("physical sector", VHDXS, raw, ITEMS + 20, little(4, 0, 1, 513, 1024, MAX32)),
    Field("disk id", VHDXS, raw, ITEMS + 24, (bytes(16),)),
    Field("locator type", (child,), raw, ITEMS + 40, (bytes(16),)),
    Field("locator reserved", (child,), raw, ITEMS + 56, little(2, 1)),
    Field("locator count", (child,), raw, ITEMS + 58, little(2, 0, 1, 0xFFFF)),
    *(
        Field(f"locator pair {number} {name}", (child,), raw, ITEMS + 60 + 12 * number + place, values)
        for number in range(2)
        for name, place, values in (
            ("key", 0, little(4, 0, 1, MAX32)),
            ("value", 4, little(4, 1, MAX32)),
            ("key length", 8, little(2, 0, 1, 2, 0xFFFF)),
            ("value length", 10, little(2, 0, 1, 0xFFFF)),
        )
    ),
    *(
        Field(f"BAT entry {name}", starts, raw, BAT + 8, little(8, *values))
        for name, starts, values in (
            ("state", VHDXS, (4, 5, DATA | 4, DATA | 5)),
            ("state without a parent", (plain, fixed), ((DATA + MIB) | 7,)),
            ("reserved bits", VHDXS, (8, 1 << 19, MAX64)),
            ("without a place", VHDXS, (6, 7)),
            ("with a place", VHDXS, (DATA, DATA | 2)),
            ("in a structure", VHDXS, (MIB | 6, METADATA | 6, BAT | 6)),
            ("behind the end", VHDXS, (1 << 40 | 6, 1 << 63 | 6, DATA + 100 * MIB | 6)),
            ("of another block", VHDXS, (DATA + MIB * 2 | 6, DATA + MIB * 2 | 3)),
        )
    ),
    Field("BAT entry of a bitmap", (child,), raw, BAT + 8 * 2048, little(8, 0, 1, 2, 3, 6, 7, 8, 1 << 40 | 6)),
]
CASES = [(field, start) for field in (*VHD, *VHDX) for start in field.starts]


@pytest.mark.parametrize(("field", "start"), CASES, ids=[f"{field.name}-{start.__name__}" for field, start in CASES])
def test_a_value_out_of_range_is_found(field: Field, start: Start) -> None:
    for value in field.values:
        files = good(start)
        before = {finding.code for finding in check(files)}
        field.put(Forge(files), field.place, value)
        findings = [finding for finding in check(files) if finding.code not in before]
        assert any(finding.severity is not Severity.INFO for finding in findings), f"{value.hex()}: {findings}"


def test_values_in_range_are_not() -> None:
    """The law has teeth: what it puts into a field is found for its value, not for being another."""
    harmless = [
        (vhd_images.dynamic, footers, 24, struct.pack(">I", 7)),
        (vhd_images.dynamic, footers, 68, b"another id of it"),
        (vhd_images.dynamic, header, 28, struct.pack(">I", 3)),
        (plain, headers, 32, b"another data id!"),
        (plain, raw, ITEMS + 24, b"another disk id!"),
        (plain, raw, BAT + 8 * 7, struct.pack("<Q", 2)),
    ]
    for start, put, place, value in harmless:
        files = good(start)
        put(Forge(files), place, value)
        assert [finding for finding in check(files) if finding.severity is not Severity.INFO] == []
