"""Headers: their bytes, and which of the two copies counts."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.format import raw
from vhdx.errors import Error, FormatError, UnsupportedFeature
from vhdx.format import header
from vhdx.format.header import Header

MIB = 1 << 20
LAST = (1 << 64) - 1
guids = st.uuids()
headers = st.builds(
    Header,
    sequence_number=st.integers(0, LAST),
    file_write_guid=guids,
    data_write_guid=guids,
    log_guid=guids,
    log_version=st.integers(0, 0xFFFF),
    version=st.integers(0, 0xFFFF),
    log_length=st.integers(0, 0xFFFFFFFF),
    log_offset=st.integers(0, LAST),
)


def spoiled(copy: bytes) -> bytes:
    return copy[:100] + bytes([copy[100] ^ 1]) + copy[101:]


@given(headers)
def test_bytes_are_those_of_the_specification_and_read_back(value: Header) -> None:
    data = header.build(value)
    assert data == raw.header(
        value.sequence_number,
        file_guid=value.file_write_guid,
        data_guid=value.data_write_guid,
        log_guid=value.log_guid,
        log_version=value.log_version,
        version=value.version,
        log_length=value.log_length,
        log_offset=value.log_offset,
    )
    assert header.parse(data) == value


@pytest.mark.parametrize("position", [0, 3, 4, 8, 16, 79, 80, 4095])
def test_a_changed_byte_anywhere_makes_a_copy_invalid(position: int) -> None:
    data = bytearray(raw.header())
    data[position] ^= 0x40
    with pytest.raises(FormatError) as caught:
        header.parse(bytes(data), 65536)
    assert (caught.value.structure, caught.value.offset) == ("header", 65536)


def test_a_copy_cut_short_is_invalid() -> None:
    for length in (0, 79, 4095):
        with pytest.raises(FormatError):
            header.parse(raw.header()[:length])


@given(headers, headers, st.integers(0, 8))
def test_a_torn_update_is_the_old_header_or_the_new_or_nothing(old: Header, new: Header, sectors: int) -> None:
    torn = header.build(new)[: sectors * 512] + header.build(old)[sectors * 512 :]
    try:
        found = header.parse(torn)
    except FormatError:
        return
    assert found in (old, new)


def test_the_only_valid_copy_counts() -> None:
    good, newer = raw.header(5), spoiled(raw.header(6))
    assert header.current([good, newer])[1] == 0
    assert header.current([newer, good])[1] == 1
    assert header.current([newer, good]).header.sequence_number == 5


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (7, 5000), (LAST, 1), (1 << 63, (1 << 63) - 1)])
def test_the_larger_sequence_number_counts(first: int, second: int) -> None:
    found = header.current([raw.header(first), raw.header(second)])
    assert found.slot == (0 if first > second else 1)
    assert found.header.sequence_number == max(first, second)


def test_identical_copies_count_as_one() -> None:
    assert header.current([raw.header(9), raw.header(9)]).header.sequence_number == 9


def test_equal_sequence_numbers_over_different_contents_are_refused() -> None:
    with pytest.raises(FormatError, match="same sequence number"):
        header.current([raw.header(9), raw.header(9, data_guid=UUID(int=77))])


def test_without_a_valid_copy_there_is_no_image() -> None:
    with pytest.raises(FormatError, match="no copy is valid") as caught:
        header.current([spoiled(raw.header()), bytes(4096)])
    assert (caught.value.structure, caught.value.offset) == ("header", 65536)


@pytest.mark.parametrize("version", [0, 2, 0xFFFF])
def test_another_version_of_the_format_is_refused(version: int) -> None:
    with pytest.raises(UnsupportedFeature, match=str(version)):
        header.current([raw.header(version=version), bytes(4096)])


def test_another_version_of_the_log_is_refused_where_the_log_is_in_use() -> None:
    with pytest.raises(UnsupportedFeature, match="log"):
        header.current([raw.header(log_version=1, log_guid=UUID(int=5)), bytes(4096)])
    assert header.current([raw.header(log_version=1), bytes(4096)]).header.log_version == 1


@pytest.mark.parametrize(
    "copy",
    [
        raw.header(log_offset=MIB + 4096),
        raw.header(log_length=MIB + 4096),
        raw.header(log_offset=0),
        raw.header(log_length=0, log_guid=UUID(int=5)),
    ],
    ids=["offset", "length", "on the headers", "in use without room"],
)
def test_an_impossible_log_is_refused(copy: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        header.current([bytes(4096), copy])
    assert (caught.value.structure, caught.value.offset) == ("header", 128 << 10)


def test_only_the_header_in_force_has_to_make_sense() -> None:
    assert header.current([raw.header(3), raw.header(2, version=9)]).slot == 0


@given(headers)
def test_a_successor_changes_what_it_is_told_to(value: Header) -> None:
    number = min(value.sequence_number, LAST - 1)
    value = replace(value, sequence_number=number)
    after = header.successor(value, file_write_guid=UUID(int=8))
    assert after == replace(value, sequence_number=number + 1, file_write_guid=UUID(int=8))
    after = header.successor(value, file_write_guid=UUID(int=8), data_write_guid=UUID(int=9), log_guid=UUID(int=0))
    assert (after.data_write_guid, after.log_guid) == (UUID(int=9), UUID(int=0))


def test_the_last_sequence_number_has_no_successor() -> None:
    with pytest.raises(Error, match="sequence number"):
        header.successor(header.parse(raw.header(LAST)), file_write_guid=UUID(int=8))
