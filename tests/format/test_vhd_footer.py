"""Footers, their checksum, and the geometry in them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.errors import Error, FormatError, UnsupportedFeature
from vhdx.format import vhd_checksum, vhd_footer
from vhdx.format.vhd_footer import NO_OFFSET, Footer, VhdType
from vhdx.format.vhd_geometry import Geometry, geometry

MIB = 1 << 20
GIB = 1 << 30
numbers = {bits: st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64)}
footers = st.builds(
    Footer,
    features=numbers[32],
    version=st.integers(0x10000, 0x1FFFF),
    data_offset=st.integers(1, 1 << 40).map(lambda sector: sector * 512),
    timestamp=numbers[32],
    creator=st.binary(min_size=4, max_size=4),
    creator_version=numbers[32],
    creator_host=st.binary(min_size=4, max_size=4),
    original_size=numbers[64],
    current_size=st.integers(1, 1 << 40).map(lambda sector: sector * 512),
    cylinders=numbers[16],
    heads=numbers[8],
    sectors_per_track=numbers[8],
    disk_type=st.sampled_from(list(map(int, VhdType))),
    unique_id=st.uuids(),
    saved_state=numbers[8],
    reserved=st.binary(min_size=427, max_size=427),
)


def new(kind: VhdType = VhdType.DYNAMIC, size: int = 8 * MIB) -> Footer:
    data_offset = NO_OFFSET if kind is VhdType.FIXED else 512
    return vhd_footer.new_footer(kind, size, UUID(int=5), data_offset=data_offset, stamp=0)


def with_bytes(data: bytes, offset: int, put: bytes, *, sealed: bool = True) -> bytes:
    changed = data[:offset] + put + data[offset + len(put) :]
    return vhd_checksum.seal(changed, field=64) if sealed else changed


@given(footers)
def test_a_footer_comes_back(footer: Footer) -> None:
    built = vhd_footer.build(footer)
    assert len(built) == 512
    assert vhd_footer.parse(built, 0) == (footer, True)
    assert footer.creator_text.isprintable()


@given(st.binary(min_size=512, max_size=512), st.sampled_from([36, 64]))
def test_the_checksum_is_the_complement_of_the_sum(data: bytes, field: int) -> None:
    sealed = vhd_checksum.seal(data, field=field)
    stored = int.from_bytes(sealed[field : field + 4], "big")
    others = sum(byte for at, byte in enumerate(data) if not field <= at < field + 4)
    assert (stored + others) & 0xFFFFFFFF == 0xFFFFFFFF
    assert vhd_checksum.is_sealed(sealed, field=field)


def test_a_footer_of_511_bytes() -> None:
    footer = new()
    assert vhd_footer.parse(vhd_footer.build(footer)[:511], 0) == (footer, True)


@pytest.mark.parametrize(
    ("offset", "put", "error"),
    [
        (0, b"conectiy", FormatError),
        (0, b"v_poison", FormatError),
        (12, b"\0\2\0\0", UnsupportedFeature),
        (60, b"\0\0\0\5", UnsupportedFeature),
        (48, bytes(8), FormatError),
        (48, b"\0\0\0\0\0\0\2\1", FormatError),
        (16, b"\0\0\0\0\0\0\2\1", FormatError),
        (16, bytes(8), FormatError),
    ],
)
def test_what_no_disk_can_be_read_from(offset: int, put: bytes, error: type[Error]) -> None:
    with pytest.raises(error):
        vhd_footer.parse(with_bytes(vhd_footer.build(new()), offset, put), 0)


def test_a_wrong_checksum_counts_when_all_fields_are_sound() -> None:
    footer = new()
    data = vhd_footer.build(footer)
    wrong = with_bytes(data, 64, b"\1\2\3\4", sealed=False)
    assert vhd_footer.parse(wrong, 0) == (footer, False)
    for offset, put in ((8, b"\7"), (60, b"\0\0\0\6"), (84, b"\1"), (300, b"x"), (12, b"\0\1\0\1"), (56, bytes(4))):
        with pytest.raises(FormatError, match="checksum is wrong"):
            vhd_footer.parse(with_bytes(wrong, offset, put, sealed=False), 0)


def test_where_a_size_is_read_in_two_ways() -> None:
    size = new().current_size
    ours = vhd_footer.build(new())
    assert vhd_footer.size_warning(new()) == ""
    theirs = vhd_footer.parse(with_bytes(ours, 28, b"vpc "), 0).footer
    assert str(size) in vhd_footer.size_warning(theirs)
    largest = with_bytes(vhd_footer.build(theirs), 56, b"\xff\xff\x10\xff")
    assert vhd_footer.size_warning(vhd_footer.parse(largest, 0).footer) == ""


def test_moments() -> None:
    assert vhd_footer.timestamp(946684800) == 0
    assert vhd_footer.timestamp(946684800 + 3600.9) == 3600
    assert vhd_footer.timestamp(0) == 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4194304, (120, 4, 17)),
        (4212736, (121, 4, 17)),
        (104448, (3, 4, 17)),
        (3221225472, (6241, 16, 63)),
        (136365211648, (65278, 16, 255)),
        (2040 * GIB, (65535, 16, 255)),
        (512, (0, 4, 17)),
    ],
)
def test_geometries_that_others_wrote(size: int, expected: tuple[int, int, int]) -> None:
    assert geometry(size) == expected


def by_the_book(total: int) -> Geometry:
    """The algorithm of the specification, line by line."""
    total = min(total, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        per_track, heads, cylinder_heads = 255, 16, total // 255
    else:
        per_track = 17
        cylinder_heads = total // per_track
        heads = max((cylinder_heads + 1023) // 1024, 4)
        if cylinder_heads >= heads * 1024 or heads > 16:
            per_track, heads = 31, 16
            cylinder_heads = total // per_track
        if cylinder_heads >= heads * 1024:
            per_track, heads = 63, 16
            cylinder_heads = total // per_track
    return Geometry(cylinder_heads // heads, heads, per_track)


@given(st.one_of(st.integers(1, 1 << 22), st.integers(1, 1 << 34)))
def test_geometry_is_that_of_the_book(sectors: int) -> None:
    found = geometry(sectors * 512)
    assert found == by_the_book(sectors)
    assert found.size <= sectors * 512
