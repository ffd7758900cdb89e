"""Region tables: their bytes, which copy counts, and what regions may not be."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.format import raw
from tests.format.raw import BAT_REGION, METADATA_REGION, MIB
from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import region
from vhdx.format.region import RegionEntry

STRANGE = UUID(int=0x1234)
BAT = (BAT_REGION, 3 * MIB, MIB, 1)
METADATA = (METADATA_REGION, 2 * MIB, MIB, 1)
entries = st.lists(
    st.builds(RegionEntry, st.uuids(), st.integers(0, (1 << 64) - 1), *[st.integers(0, 0xFFFFFFFF)] * 2), max_size=40
)


def verified(*rows: tuple[UUID, int, int, int], file_size: int = 8 * MIB) -> list[RegionEntry]:
    found = region.parse(raw.region_table(*rows), region.OFFSETS[0])
    region.verify(found, log=Range(MIB, MIB), file_size=file_size)
    return found


@given(entries)
def test_bytes_are_those_of_the_specification_and_read_back(value: list[RegionEntry]) -> None:
    data = region.build(value)
    assert data == raw.region_table(*((row.guid, row.file_offset, row.length, row.flags) for row in value))
    assert region.parse(data) == value


def test_a_full_table_reads_back() -> None:
    rows = [(UUID(int=number + 1), number * MIB, MIB, 0) for number in range(2047)]
    assert len(region.parse(raw.region_table(*rows))) == 2047


def test_a_count_over_the_limit_is_refused() -> None:
    with pytest.raises(FormatError, match="2048") as caught:
        region.parse(raw.region_table(BAT, count=2048), 192 << 10)
    assert (caught.value.structure, caught.value.offset) == ("region table", 192 << 10)


@pytest.mark.parametrize("position", [0, 4, 8, 16, 40, 65535])
def test_a_changed_byte_anywhere_makes_a_copy_invalid(position: int) -> None:
    data = bytearray(raw.region_table(BAT, METADATA))
    data[position] ^= 1
    with pytest.raises(FormatError):
        region.parse(bytes(data))


def test_the_first_valid_copy_counts() -> None:
    first, second = raw.region_table(BAT), raw.region_table(METADATA)
    assert region.current([first, second])[0].guid == BAT_REGION
    assert region.current([first[:-1] + b"x", second])[0].guid == METADATA_REGION
    with pytest.raises(FormatError, match="no copy is valid") as caught:
        region.current([bytes(65536), second[:-1] + b"x"])
    assert caught.value.offset == 192 << 10


def test_sound_tables() -> None:
    assert verified(BAT, METADATA)
    assert verified(METADATA, BAT)
    assert verified(BAT, METADATA, (STRANGE, 4 * MIB, 2 * MIB, 0)), "an unknown region that is optional"
    assert verified((*BAT[:3], 0), (*METADATA[:3], 0)), "qemu sets no Required flag"
    found = verified(BAT, METADATA)
    assert region.find(found, region.BAT) == Range(3 * MIB, MIB)
    assert region.find(found, region.METADATA) == Range(2 * MIB, MIB)


def test_an_unknown_region_that_is_required_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match=str(STRANGE)):
        verified(BAT, METADATA, (STRANGE, 4 * MIB, MIB, 1))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([BAT], "metadata"),
        ([METADATA], "BAT"),
        ([], "BAT"),
        ([BAT, METADATA, (BAT_REGION, 4 * MIB, MIB, 1)], "2 entries"),
        ([BAT, METADATA, (STRANGE, 4 * MIB, MIB, 0), (STRANGE, 5 * MIB, MIB, 0)], "two entries"),
        ([(BAT_REGION, 3 * MIB + 4096, MIB, 1), METADATA], "1 MiB aligned"),
        ([(BAT_REGION, 3 * MIB, MIB + 512, 1), METADATA], "1 MiB aligned"),
        ([(BAT_REGION, 3 * MIB, 0, 1), METADATA], "1 MiB aligned"),
        ([(BAT_REGION, 0, MIB, 1), METADATA], "header section"),
        ([(BAT_REGION, 8 * MIB, MIB, 1), METADATA], "end of file"),
        ([(BAT_REGION, 7 * MIB, 2 * MIB, 1), METADATA], "end of file"),
        ([(BAT_REGION, (1 << 64) - MIB, MIB, 1), METADATA], "end of file"),
        ([(BAT_REGION, 2 * MIB, MIB, 1), METADATA], "overlap"),
        ([(BAT_REGION, MIB, MIB, 1), METADATA], "overlap"),
        ([BAT, METADATA, (STRANGE, 2 * MIB, 4 * MIB, 0)], "overlap"),
        ([(*BAT[:3], 3), METADATA], "reserved"),
    ],
)
def test_impossible_tables(rows: list[tuple[UUID, int, int, int]], reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        verified(*rows)
    assert caught.value.structure.startswith("region table")
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    ("guid", "most"), [(BAT_REGION, 513 * MIB), (METADATA_REGION, 128 * MIB)], ids=["BAT", "metadata"]
)
def test_regions_have_a_longest_length(guid: UUID, most: int) -> None:
    other = METADATA if guid == BAT_REGION else (BAT_REGION, 2 * MIB, MIB, 1)
    verified((guid, 3 * MIB, most, 1), other, file_size=600 * MIB)
    with pytest.raises(FormatError, match="larger than the maximum"):
        verified((guid, 3 * MIB, most + MIB, 1), other, file_size=600 * MIB)


def test_the_reserved_field_must_be_zero() -> None:
    with pytest.raises(FormatError):
        region.parse(raw.region_table(BAT, METADATA, reserved=1))
