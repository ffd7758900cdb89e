"""Which entries of a ring count."""

import random
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.format import raw
from tests.format.raw import MIB, PAGE
from tests.support.choice import examples
from vhdx.errors import FormatError
from vhdx.format import log

GUID, FORMER = UUID(int=0x1093), UUID(int=0x0FF)
SECTORS = 32
RING = SECTORS * PAGE
CONTENT = bytes(PAGE)


def entry(sequence: int, tail: int, *, pages: int = 1, guid: UUID = GUID) -> bytes:
    """An entry of *pages* + 1 sectors; *tail* is in sectors."""
    changes = [((number + 100) * PAGE, CONTENT) for number in range(pages)]
    return raw.log_entry(guid, sequence, *changes, tail=tail * PAGE)


def scanned(*entries: tuple[int, bytes]) -> list[int]:
    """The sequence numbers of the active sequence; places are in sectors."""
    found = log.scan(raw.ring(RING, *((sector * PAGE, data) for sector, data in entries)), GUID)
    return [one.header.sequence_number for one in found]


def test_an_empty_ring_has_no_sequence() -> None:
    assert scanned() == []


def test_one_entry_whose_tail_is_itself() -> None:
    assert scanned((0, entry(1, 0))) == [1]
    assert scanned((5, entry(1, 5))) == [1]


def test_the_sequence_begins_at_the_tail_of_the_newest() -> None:
    assert scanned((0, entry(1, 0)), (2, entry(2, 0)), (4, entry(3, 0))) == [1, 2, 3]
    assert scanned((0, entry(1, 0)), (2, entry(2, 0)), (4, entry(3, 2))) == [2, 3]
    assert scanned((0, entry(1, 0)), (2, entry(2, 0)), (4, entry(3, 4))) == [3]


def test_a_tail_outside_the_sequence_makes_it_invalid() -> None:
    assert scanned((0, entry(1, 6)), (2, entry(2, 6))) == []
    assert scanned((0, entry(1, 0)), (2, entry(2, 1))) == [], "not where an entry starts"
    assert scanned((0, entry(1, 0)), (2, entry(2, 4))) == [], "behind the newest"


def test_the_greatest_sequence_number_wins() -> None:
    assert scanned((0, entry(50, 0)), (10, entry(90, 10)), (20, entry(70, 20))) == [90]
    assert scanned((0, entry(90, 0)), (10, entry(50, 10)), (12, entry(51, 10)), (14, entry(52, 10))) == [90]
    high = 1 << 63
    assert scanned((0, entry(5, 0)), (10, entry(high, 10))) == [high]


def test_an_invalid_sequence_does_not_win() -> None:
    assert scanned((0, entry(50, 0)), (10, entry(90, 3))) == [50]


def test_a_torn_entry_ends_the_sequence() -> None:
    whole = entry(3, 0)
    for kept in range(0, len(whole), 512):
        ring = ((0, entry(1, 0)), (2, entry(2, 0)), (4, whole[:kept].ljust(len(whole), b"\xee")))
        assert scanned(*ring) == [1, 2], kept


def test_a_torn_entry_over_an_older_one() -> None:
    new, old = entry(9, 4), entry(3, 0)
    for kept in range(0, len(new), 512):
        torn = new[:kept] + old[kept:]
        assert scanned((0, entry(7, 0)), (2, entry(8, 2)), (4, torn)) == [8], kept


def test_a_gap_in_the_numbers_ends_the_sequence() -> None:
    assert scanned((0, entry(1, 0)), (2, entry(3, 0))) == [1]
    assert scanned((0, entry(1, 0)), (2, entry(3, 2))) == [3]
    assert scanned((0, entry(5, 0)), (2, entry(4, 2))) == [5]


def test_entries_of_former_logs_do_not_count() -> None:
    assert scanned((0, entry(99, 0, guid=FORMER))) == []
    assert scanned((0, entry(5, 0)), (2, entry(6, 0, guid=FORMER)), (4, entry(7, 4, guid=FORMER))) == [5]


def test_a_sequence_may_wrap() -> None:
    assert scanned((28, entry(1, 28)), (30, entry(2, 28)), (0, entry(3, 28)), (2, entry(4, 28))) == [1, 2, 3, 4]
    assert scanned((28, entry(1, 28)), (30, entry(2, 28)), (0, entry(3, 28)), (2, entry(4, 0))) == [3, 4]


@pytest.mark.parametrize("pages", [1, 2, 5])
@pytest.mark.parametrize("start", range(SECTORS))
def test_an_entry_may_wrap_anywhere(start: int, pages: int) -> None:
    following = (start + pages + 1) % SECTORS
    assert scanned((start, entry(8, start, pages=pages)), (following, entry(9, start))) == [8, 9]


def test_a_ring_full_of_one_sequence() -> None:
    everything = [(sector, entry(sector // 2 + 1, 0)) for sector in range(0, SECTORS, 2)]
    assert scanned(*everything) == list(range(1, 17))


def test_a_ring_that_went_round_many_times() -> None:
    """Each entry stands alone, as this package writes them: only the newest counts."""
    for newest in range(2, 60):
        places = [(number, number * 3 % SECTORS) for number in range(1, newest + 1)]
        assert scanned(*((place, entry(number, place, pages=2)) for number, place in places)) == [newest]


def test_a_session_of_windows() -> None:
    """It begins with an empty entry under a random number; later ones hold a page each."""
    start = 0x5A5A_1234_5678_9ABC
    session = [(0, entry(start, 0, pages=0))]
    session += [(1, entry(start + 1, 0)), (3, entry(start + 2, 1)), (5, entry(start + 3, 3))]
    assert scanned(*session[:1]) == [start]
    assert scanned(*session[:2]) == [start, start + 1]
    assert scanned(*session) == [start + 2, start + 3]


def test_a_data_sector_that_looks_like_an_entry_is_data() -> None:
    inner = entry(99, 1, pages=0)
    outer = raw.log_entry(GUID, 5, (3 * MIB, inner), tail=0)
    assert scanned((0, outer)) == [5]


def test_a_ring_that_takes_quadratic_time_is_refused() -> None:
    length = 4 * MIB
    broken = raw.log_entry(GUID, 7, length=length - PAGE)[:PAGE]
    hostile = raw.ring(length, *((place, broken) for place in range(0, length, PAGE)))
    with pytest.raises(FormatError, match="overlapping"):
        log.scan(hostile, GUID)


@pytest.mark.parametrize("entries", [1, 2])
def test_more_zero_ranges_than_can_be_replayed_are_refused(entries: int) -> None:
    """In one entry, or in all of a sequence together."""
    zeros = [(number * PAGE, 8 * PAGE) for number in range(200, 200 + 65537 // entries + 1)]
    first = raw.log_entry(GUID, 7, *zeros, tail=0)
    second = raw.log_entry(GUID, 8, *zeros, tail=0)
    ring = raw.ring(8 * MIB, (0, first), *[(len(first), second)] * (entries - 1))
    with pytest.raises(FormatError, match="ranges of zeros"):
        log.scan(ring, GUID)


def test_a_ring_of_broken_but_short_entries_is_merely_empty() -> None:
    broken = entry(7, 0)[:-1] + b"x"
    assert scanned(*((sector, broken) for sector in range(0, SECTORS, 2))) == []


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 1 << 32))
def test_any_ring_has_a_sound_sequence_or_none(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(RING)
    for _ in range(chance.randrange(12)):
        place = chance.randrange(SECTORS)
        data = entry(chance.randrange(1, 6), chance.randrange(SECTORS), pages=chance.randrange(4))
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))]
        part = data[: RING - place * PAGE]
        content[place * PAGE : place * PAGE + len(part)] = part
    found = log.scan(bytes(content), GUID)
    for first, second in pairwise(found):
        assert second.header.sequence_number == first.header.sequence_number + 1
        assert second.position == (first.position + first.header.entry_length) % RING
    assert not found or found[-1].header.tail == found[0].position
    assert sum(one.header.entry_length for one in found) <= RING
