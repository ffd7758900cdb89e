"""The dynamic header, parent locators, and the arithmetic of table and bitmaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range, bit_runs
from vhdx.format import vhd_bat, vhd_checksum, vhd_header, vhd_locator
from vhdx.format.vhd_bat import VhdLayout
from vhdx.format.vhd_header import DynamicHeader
from vhdx.format.vhd_locator import LocatorPlace

MIB = 1 << 20
headers = st.builds(
    DynamicHeader,
    table_offset=st.integers(0, 1 << 50).map(lambda sector: sector * 512),
    version=st.integers(0x10000, 0x1FFFF),
    max_entries=st.integers(0, (1 << 32) - 1),
    block_size=st.sampled_from([4096, MIB, 256 * MIB]),
    parent_id=st.uuids(),
    parent_timestamp=st.integers(0, (1 << 32) - 1),
    parent_name=st.binary(min_size=512, max_size=512),
    locators=st.binary(min_size=192, max_size=192),
    data_offset=st.integers(0, (1 << 64) - 1),
)
paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=120)


def sealed(header: DynamicHeader, offset: int, put: bytes) -> bytes:
    data = vhd_header.build(header)
    return vhd_checksum.seal(data[:offset] + put + data[offset + len(put) :], field=36)


@given(headers)
def test_a_header_comes_back(header: DynamicHeader) -> None:
    built = vhd_header.build(header)
    assert len(built) == 1024
    assert vhd_header.parse(built, 512) == (header, True)


@pytest.mark.parametrize(
    ("offset", "put", "error"),
    [
        (0, b"cxsparsf", FormatError),
        (24, b"\0\2\0\0", UnsupportedFeature),
        (16, b"\0\0\0\0\0\0\2\1", FormatError),
        (32, b"\0\0\0\0", FormatError),
        (32, b"\0\0\x08\0", FormatError),
        (32, b"\0\x30\0\0", FormatError),
        (32, b"\x20\0\0\0", FormatError),
    ],
)
def test_a_header_that_leads_nowhere(offset: int, put: bytes, error: type[Exception]) -> None:
    header = vhd_header.new_header(table_offset=1536, max_entries=4, block_size=2 * MIB)
    with pytest.raises(error):
        vhd_header.parse(sealed(header, offset, put), 512)


def test_a_wrong_checksum_counts_when_all_fields_are_sound() -> None:
    header = vhd_header.new_header(table_offset=1536, max_entries=4, block_size=2 * MIB)
    data = bytearray(vhd_header.build(header))
    data[36] ^= 1
    assert vhd_header.parse(bytes(data), 512) == (header, False)
    data[15] = 0
    with pytest.raises(FormatError, match="checksum is wrong"):
        vhd_header.parse(bytes(data), 512)


@given(paths)
def test_a_path_comes_back(path: str) -> None:
    assert vhd_locator.decode_path(vhd_locator.encode_path(path)) == path
    assert vhd_locator.decode_path(vhd_locator.encode_path(path) + b"\0\0") == path


@given(paths)
def test_a_name_comes_back(path: str) -> None:
    name = vhd_locator.encode_name(path)
    assert len(name) == 512
    assert vhd_locator.decode_name(name) == path


def test_a_name_that_is_too_long() -> None:
    whole = "C:\\" + "d\\" * 200 + "base.vhd"
    assert vhd_locator.decode_name(vhd_locator.encode_name(whole)) == "base.vhd"
    for name in ("x" * 257, "a\0b", "\ud800"):
        with pytest.raises(FormatError):
            vhd_locator.encode_name(name)


@pytest.mark.parametrize("path", ["", "a\0b", "\udc00", "x" * 40_000])
def test_a_path_that_cannot_be_recorded(path: str) -> None:
    with pytest.raises(FormatError):
        vhd_locator.encode_path(path)


@pytest.mark.parametrize("data", [b"", b"a", b"\0\0", b"a\0\0\0b\0", b"\0\xd8"])
def test_what_is_no_path(data: bytes) -> None:
    assert vhd_locator.decode_path(data) is None


def test_locators_come_back_and_gaps_are_passed() -> None:
    entries = [LocatorPlace(b"W2ku", 4096, 84, 4096), LocatorPlace(b"W2ru", 65536, 32, 12288)]
    table = vhd_locator.build_entries(entries)
    assert len(table) == 192
    assert vhd_locator.parse_entries(table) == entries
    shifted = (bytes(24) + table)[:192]
    assert vhd_locator.parse_entries(shifted) == entries


def test_space_in_bytes_and_in_sectors() -> None:
    assert LocatorPlace(b"W2ku", 4096, 84, 4096).room == (4096, 4096)
    assert LocatorPlace(b"W2ku", 512, 84, 4096).room == (4096, 512)
    assert LocatorPlace(b"W2ku", 1, 84, 4096).room == (4096, 512)
    assert LocatorPlace(b"W2ku", 8, 84, 4096).room == (4096, 4096)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_bitmaps_count_from_the_other_end(bitmap: bytes, data: st.DataObject) -> None:
    turned = vhd_bat.reverse_bits(bitmap)
    assert vhd_bat.reverse_bits(turned) == bitmap
    bit = data.draw(st.integers(0, len(bitmap) * 8 - 1))
    expected = bool(bitmap[bit // 8] >> (7 - bit % 8) & 1)
    assert list(bit_runs(turned, bit, 1)) == [(bit, 1, expected)]


@pytest.mark.parametrize(
    ("block_size", "bitmap"), [(4096, 512), (512 << 10, 512), (2 * MIB, 512), (4 * MIB, 1024), (256 * MIB, 64 << 10)]
)
def test_sizes_of_bitmaps(block_size: int, bitmap: int) -> None:
    layout = VhdLayout(10 * block_size + 512, block_size, has_parent=False)
    assert (layout.blocks, layout.bitmap_size, layout.span) == (11, bitmap, bitmap + block_size)
    assert layout.table_size == 512


def test_entries_are_big_endian() -> None:
    assert list(vhd_bat.decode_entries(b"\0\0\0\4\xff\xff\xff\xff\0\1\0\0")) == [4, 0xFFFFFFFF, 65536]


@pytest.mark.parametrize(
    ("offset", "max_entries", "reason"),
    [(1536, 9, "too few"), (1 << 20, 10, "beyond end of file"), (1024, 10, "a header"), (0, 10, "a header")],
)
def test_a_table_that_cannot_be(offset: int, max_entries: int, reason: str) -> None:
    layout = VhdLayout(10 * MIB, MIB, has_parent=False)
    with pytest.raises(FormatError, match=reason):
        vhd_bat.verify_table(
            offset, layout, max_entries=max_entries, file_size=MIB, taken=[Range(0, 512), Range(512, 1024)]
        )
