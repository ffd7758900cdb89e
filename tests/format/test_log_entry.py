"""Log entries: bytes, what makes one valid, and what a valid one may not ask for."""

import struct
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.format import raw
from tests.format.raw import MIB, PAGE
from tests.support.choice import examples
from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import log
from vhdx.format.log import Entry, EntryHeader, PageWrite, ZeroRange

GUID = UUID(int=0x1093)
RING = 64 * PAGE
LOG = Range(MIB, MIB)
sequences = st.integers(1, (1 << 64) - 1)


def page(seed: int) -> bytes:
    return b"".join(struct.pack("<II", seed, number) for number in range(PAGE // 8))


def header(sequence: int = 1, *, tail: int = 0, flushed: int = 4 * MIB, last: int = 4 * MIB) -> EntryHeader:
    return EntryHeader(0, tail, sequence, 0, 0, GUID, flushed, last)


def found(entry: bytes, position: int = 0) -> Entry | None:
    return log.parse_entry(raw.ring(RING, (position, entry)), position, GUID)


@given(sequences, st.integers(0, 3), st.integers(0, 63))
def test_bytes_are_those_of_the_specification_and_read_back(sequence: int, pages: int, sector: int) -> None:
    writes = [PageWrite((number + 100) * PAGE, page(sequence + number & 0xFFFF)) for number in range(pages)]
    built = log.build_entry(header(sequence, tail=sector * PAGE, flushed=3 * MIB, last=5 * MIB), writes)
    assert built == raw.log_entry(GUID, sequence, *writes, tail=sector * PAGE, flushed=3 * MIB, last=5 * MIB)
    entry = found(built, sector * PAGE)
    assert entry is not None
    assert entry.changes == tuple(writes)
    assert (entry.position, entry.header.sequence_number, entry.header.tail) == (sector * PAGE, sequence, sector * PAGE)
    assert (entry.header.flushed_file_offset, entry.header.last_file_offset) == (3 * MIB, 5 * MIB)


@pytest.mark.parametrize("pages", [0, 1, 125, 126, 127, 253, 254, 255, 300])
def test_descriptors_go_on_into_further_sectors(pages: int) -> None:
    writes = [PageWrite((number + 100) * PAGE, page(number)) for number in range(pages)]
    built = log.build_entry(header(9), writes)
    assert len(built) == log.entry_length(pages) == (max(1, 1 + -(-(pages - 126) // 128)) + pages) * PAGE
    assert built == raw.log_entry(GUID, 9, *writes)
    entry = log.parse_entry(built + bytes(PAGE), 0, GUID)
    assert entry is not None
    assert entry.changes == tuple(writes)


def test_every_place_of_a_page_comes_through_whole() -> None:
    """The bytes at both ends of a page travel in the descriptor: a shift by eight there is a classic mistake."""
    for index in range(PAGE // 8):
        content = bytearray(PAGE)
        content[index * 8 : index * 8 + 8] = b"\x06\xee\xdd\xcc\xbb\xaa\x99\x88"
        entry = found(log.build_entry(header(), [PageWrite(3 * MIB, bytes(content))]))
        assert entry is not None
        assert entry.changes == (PageWrite(3 * MIB, bytes(content)),)


@given(st.lists(st.tuples(st.booleans(), st.integers(48, 1 << 40)), max_size=8), sequences)
def test_zero_ranges_and_pages_keep_their_order(kinds: list[tuple[bool, int]], sequence: int) -> None:
    changes = [(at * PAGE, page(at & 0xFF) if is_page else at * PAGE) for is_page, at in kinds]
    entry = found(raw.log_entry(GUID, sequence, *changes))
    assert entry is not None
    assert [tuple(change) for change in entry.changes] == changes
    assert [isinstance(change, PageWrite) for change in entry.changes] == [is_page for is_page, _ in kinds]


ONE = (3 * MIB, page(1))


@pytest.mark.parametrize(
    "entry",
    [
        raw.log_entry(UUID(int=4), 7, ONE),
        raw.log_entry(GUID, 0, ONE),
        raw.log_entry(GUID, 7, ONE, descriptor_sequence=8),
        raw.log_entry(GUID, 7, (3 * MIB, MIB), descriptor_sequence=8),
        raw.log_entry(GUID, 7, ONE, sector_sequence=8),
        raw.log_entry(GUID, 7, ONE, sector_sequence=1 << 32 | 7),
        raw.log_entry(GUID, 7, ONE, descriptor_signature=b"dset"),
        raw.log_entry(GUID, 7, ONE, sector_signature=b"atad"),
        raw.log_entry(GUID, 7, ONE, count=0),
        raw.log_entry(GUID, 7, ONE, count=2),
        raw.log_entry(GUID, 7, ONE, count=0xFFFFFFFF),
        raw.log_entry(GUID, 7, ONE, length=PAGE),
        raw.log_entry(GUID, 7, ONE, length=3 * PAGE),
        raw.log_entry(GUID, 7, ONE, length=2 * PAGE + 512),
        raw.log_entry(GUID, 7, ONE, length=0),
        raw.log_entry(GUID, 7, ONE, length=RING),
        raw.log_entry(GUID, 7, ONE, length=0xFFFFF000),
        raw.log_entry(GUID, 7, ONE, tail=512),
        raw.log_entry(GUID, 7, ONE, tail=RING),
        raw.log_entry(GUID, 7, ONE, tail=0xFFFFF000),
    ],
    ids=[
        "another log", "sequence number 0", "descriptor of another entry", "zero descriptor of another entry",
        "sector of another entry", "sector's high half", "descriptor's signature", "sector's signature",
        "count too low", "count too high", "count absurd", "length too short", "length too long",
        "length not in sectors", "no length",
        "length of the ring", "length absurd", "tail inside a sector", "tail behind the ring", "tail absurd",
    ],
)  # fmt: skip
def test_what_is_no_entry(entry: bytes) -> None:
    # Sealed again over the length that it claims, as far as that is there at all.
    claimed = struct.unpack_from("<I", entry, 8)[0]
    if PAGE <= claimed <= RING:
        entry = raw.sealed(entry[:claimed].ljust(claimed, b"\0"))
    assert found(entry) is None


@pytest.mark.parametrize("position", [0, 5, 16, 63, 64, 4095, 4096, 8191])
def test_a_changed_byte_anywhere_makes_an_entry_invalid(position: int) -> None:
    entry = bytearray(raw.log_entry(GUID, 7, ONE))
    entry[position] ^= 1
    assert found(bytes(entry)) is None


def test_no_entry_starts_in_nothing() -> None:
    assert log.parse_entry(bytes(RING), 0, GUID) is None
    assert log.parse_entry(bytes(RING), RING - PAGE, GUID) is None


@pytest.mark.parametrize("mib", [1, 2, 16])
def test_two_of_the_largest_entries_fit_into_the_ring(mib: int) -> None:
    most = log.most_pages(mib * MIB)
    assert 2 * log.entry_length(most) <= mib * MIB < 2 * log.entry_length(most + 2)
    assert log.most_pages(0) < 1


def checked(*changes: tuple[int, bytes | int], file_size: int = 4 * MIB, last: int = 4 * MIB) -> None:
    entry = found(raw.log_entry(GUID, 7, *changes, last=last, flushed=file_size), 3 * PAGE)
    assert entry is not None
    log.verify([entry], log=LOG, file_size=file_size)


def test_sound_targets() -> None:
    checked((192 << 10, page(0)), (MIB - PAGE, page(0)), (2 * MIB, page(0)), (3 * MIB, MIB), (4 * MIB - PAGE, PAGE))
    checked((8 * MIB - PAGE, page(0)), (4 * MIB, 4 * MIB), last=8 * MIB)


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (0, PAGE),
        (64 << 10, page(1)),
        ((192 << 10) - PAGE, page(1)),
        ((192 << 10) - PAGE, 2 * PAGE),
        (MIB, page(1)),
        (2 * MIB - PAGE, page(1)),
        (MIB - PAGE, 2 * PAGE),
        (512 << 10, 8 * MIB),
        (4 * MIB, page(1)),
        (4 * MIB - PAGE, 2 * PAGE),
        (2 * MIB + 512, page(1)),
        (2 * MIB + 512, PAGE),
        (2 * MIB, PAGE + 512),
        (2 * MIB, 0),
        ((1 << 64) - PAGE, page(1)),
        ((1 << 64) - PAGE, (1 << 64) - PAGE),
        (2 * MIB, (1 << 64) - PAGE),
    ],
)
def test_hostile_targets_are_refused(offset: int, content: bytes | int) -> None:
    with pytest.raises(FormatError) as caught:
        checked((3 * MIB, page(0)), (offset, content))
    assert (caught.value.structure, caught.value.offset) == ("log entry", MIB + 3 * PAGE)


def test_a_file_shorter_than_what_was_flushed_is_refused() -> None:
    entry = found(raw.log_entry(GUID, 7, ONE, flushed=8 * MIB, last=4 * MIB))
    assert entry is not None
    log.verify([entry], log=LOG, file_size=8 * MIB)
    with pytest.raises(FormatError, match="file truncated") as caught:
        log.verify([entry], log=LOG, file_size=8 * MIB - 1)
    assert caught.value.offset == MIB


def test_only_the_newest_entry_says_how_long_the_file_was() -> None:
    older = found(raw.log_entry(GUID, 7, ONE, flushed=16 * MIB))
    newer = found(raw.log_entry(GUID, 8, ONE, flushed=4 * MIB))
    assert older is not None
    assert newer is not None
    log.verify([older, newer], log=LOG, file_size=4 * MIB)


@pytest.mark.parametrize(
    ("last", "size", "after"),
    [(4, 4, 4 * MIB), (3, 4, 4 * MIB), (9, 4, 9 * MIB), (0, 4, 4 * MIB)],
)
def test_the_file_grows_to_what_the_log_says(last: int, size: int, after: int) -> None:
    entry = found(raw.log_entry(GUID, 7, ONE, last=last * MIB))
    assert entry is not None
    assert log.file_size_after([entry], size * MIB) == after


def test_the_file_grows_in_whole_mib() -> None:
    entry = found(raw.log_entry(GUID, 7, ONE, last=4 * MIB + 1))
    assert entry is not None
    assert log.file_size_after([entry], 4 * MIB) == 5 * MIB


def test_changes_come_in_the_order_of_replay() -> None:
    first = found(raw.log_entry(GUID, 7, ONE, (MIB, MIB)))
    second = found(raw.log_entry(GUID, 8, (3 * MIB, page(2))))
    assert first is not None
    assert second is not None
    assert log.changes([first, second]) == [
        PageWrite(3 * MIB, page(1)), ZeroRange(MIB, MIB), PageWrite(3 * MIB, page(2))
    ]  # fmt: skip


@settings(max_examples=examples(200))
@given(st.binary(max_size=300), st.integers(0, 2 * PAGE), st.booleans())
def test_any_bytes_are_an_entry_or_none(data: bytes, place: int, seal: bool) -> None:
    entry = bytearray(raw.log_entry(GUID, 7, ONE))
    place = min(place, len(entry) - len(data))
    entry[place : place + len(data)] = data
    result = found(raw.sealed(bytes(entry)) if seal else bytes(entry))
    assert result is None or result.header.log_guid == GUID
