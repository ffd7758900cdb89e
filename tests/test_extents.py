"""Range and bitmap arithmetic against oracles that go one byte and one bit at a time."""

from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from vhdx.extents import Extent, Presence, Range, bit_runs, clip, coalesce, gaps, put_bits, spans

offsets = st.integers(0, 200)
lengths = st.integers(0, 200)


@st.composite
def disjoint(draw: st.DrawFn) -> list[Range]:
    """Ascending, disjoint ranges; neighbours may touch."""
    cuts = sorted(draw(st.lists(offsets, max_size=12, unique=True)))
    return [Range(start, end - start) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]


@st.composite
def extent_lists(draw: st.DrawFn) -> list[Extent]:
    """Ascending extents, with and without gaps, whose data may or may not continue in the file."""
    at = 0
    made = []
    for gap, length, presence, place in draw(
        st.lists(
            st.tuples(
                st.sampled_from((0, 0, 0, 5)),
                st.integers(1, 9),
                st.sampled_from(Presence),
                st.sampled_from((0, 0, 1000)),
            ),
            max_size=12,
        )
    ):
        at += gap
        made.append(Extent(at, length, presence, at + place if presence is Presence.DATA else None))
        at += length
    return made


def bytes_of(ranges: list[Range]) -> set[int]:
    return {byte for piece in ranges for byte in range(piece.offset, piece.end)}


@given(offsets, lengths, st.integers(1, 64))
def test_spans_give_every_byte_once_and_in_order(offset: int, length: int, unit: int) -> None:
    pieces = list(spans(offset, length, unit))
    covered = [span.number * unit + span.within + at for span in pieces for at in range(span.length)]
    assert covered == list(range(offset, offset + length))


@given(offsets, lengths, st.integers(1, 64))
def test_spans_are_never_empty_and_never_leave_their_unit(offset: int, length: int, unit: int) -> None:
    assert all(
        span.length > 0 and span.within >= 0 and span.within + span.length <= unit
        for span in spans(offset, length, unit)
    )


def told(extents: list[Extent]) -> list[tuple[int, Presence, int | None]]:
    """What extents say of each byte."""
    return [
        (extent.offset + at, extent.presence, None if extent.file_offset is None else extent.file_offset + at)
        for extent in extents
        for at in range(extent.length)
    ]


@given(extent_lists())
def test_coalesce_says_the_same_of_every_byte(extents: list[Extent]) -> None:
    assert told(list(coalesce(extents))) == told(extents)


@given(extent_lists())
def test_coalesce_leaves_no_neighbours_that_could_be_one(extents: list[Extent]) -> None:
    joined = list(coalesce(extents))
    for first, second in pairwise(joined):
        touching = first.end == second.offset and first.presence is second.presence
        continued = first.file_offset is None or first.file_offset + first.length == second.file_offset
        assert not (touching and continued)


bitmaps = st.binary(min_size=0, max_size=12)


@st.composite
def bit_spans(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """A bitmap, and a start and count of bits inside it."""
    bitmap = draw(bitmaps)
    start = draw(st.integers(0, len(bitmap) * 8))
    return bitmap, start, draw(st.integers(0, len(bitmap) * 8 - start))


def bit(bitmap: bytes | bytearray, number: int) -> bool:
    return bool(bitmap[number // 8] >> number % 8 & 1)


@given(bit_spans())
def test_bit_runs_agree_with_counting_one_bit_at_a_time(span: tuple[bytes, int, int]) -> None:
    bitmap, start, count = span
    expected = []
    for value, group in groupby(range(start, start + count), key=lambda number: bit(bitmap, number)):
        numbers = list(group)
        expected.append((numbers[0], len(numbers), value))
    assert list(bit_runs(bitmap, start, count)) == expected
    assert list(bit_runs(memoryview(bitmap), start, count)) == expected


@given(bit_spans(), st.booleans())
def test_put_bits_agrees_with_setting_one_bit_at_a_time(span: tuple[bytes, int, int], value: bool) -> None:
    bitmap, start, count = span
    changed = bytearray(bitmap)
    put_bits(changed, start, count, value=value)
    expected = [value if start <= number < start + count else bit(bitmap, number) for number in range(len(bitmap) * 8)]
    assert [bit(changed, number) for number in range(len(bitmap) * 8)] == expected


@given(disjoint(), offsets, lengths)
def test_clip_keeps_exactly_the_bytes_inside(ranges: list[Range], offset: int, length: int) -> None:
    inside = list(clip(ranges, offset, length))
    assert bytes_of(inside) == bytes_of(ranges) & set(range(offset, offset + length))
    assert all(piece.length > 0 for piece in inside)


@given(disjoint(), offsets, lengths)
def test_gaps_are_exactly_the_bytes_that_the_ranges_leave_out(ranges: list[Range], offset: int, length: int) -> None:
    left = list(gaps(ranges, offset, length))
    assert bytes_of(left) == set(range(offset, offset + length)) - bytes_of(ranges)
    assert all(piece.length > 0 for piece in left)
    assert left == sorted(left)
