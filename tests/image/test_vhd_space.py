"""The places in a VHD against a map of single sectors."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.choice import examples
from vhdx.extents import Range
from vhdx.image.vhd.space import VhdSpace

SECTOR = 512
SPAN, BITMAP = 9, 1


class Model:
    """Every sector by itself."""

    def __init__(self, starts: list[int], others: list[Range]) -> None:
        self.taken: set[int] = set()
        for start in starts:
            self.taken |= set(range(start, start + SPAN))
        for other in others:
            self.taken |= set(range(other.offset // SECTOR, -(-other.end // SECTOR)))

    def free(self, start: int, count: int) -> bool:
        return self.taken.isdisjoint(range(start, start + count))

    @property
    def end(self) -> int:
        return max(self.taken) + 1

    def first_block_place(self) -> int:
        """The lowest gap that holds a block: aligned where it has room for that, else at its start."""
        start = 0
        while start < self.end:
            if not self.free(start, 1):
                start += 1
                continue
            stop = start
            while stop < self.end and self.free(stop, 1):
                stop += 1
            aligned = -(-(start + BITMAP) // 8) * 8 - BITMAP
            if stop < self.end and stop - start >= SPAN:
                return aligned if aligned + SPAN <= stop else start
            start = stop
        return -(-(self.end + BITMAP) // 8) * 8 - BITMAP


operations = st.lists(
    st.tuples(st.sampled_from(["take", "bytes", "release", "back", "settle", "reclaim", "drop"]), st.integers(0, 99)),
    max_size=40,
)


@settings(max_examples=examples(300))
@given(st.lists(st.integers(0, 12), max_size=8), operations)
def test_places_are_the_lowest_and_never_twice(distances: list[int], steps: list[tuple[str, int]]) -> None:
    starts, at = [], 12
    for distance in distances:
        at += distance
        starts.append(at)
        at += SPAN
    others = [Range(0, 3 * SECTOR), Range(4 * SECTOR, 700)]
    size = (at + 5) * SECTOR
    space = VhdSpace(array("I", starts), span=SPAN * SECTOR, bitmap=SECTOR, others=others, file_size=size)
    model = Model(starts, others)
    used, ever = list(starts), size // SECTOR
    leaving: list[int] = []
    left: list[int] = []
    kept: dict[int, int] = {}
    for step, number in steps:
        match step:
            case "take":
                place = space.take_block()
                start = place.offset // SECTOR
                assert start == model.first_block_place()
                assert model.free(start, SPAN)
                assert place.fresh == (start >= ever)
                model.taken |= set(range(start, start + SPAN))
                used.append(start)
                ever = max(ever, start + SPAN)
            case "bytes":
                count = number % 5 + 1
                start = space.take_bytes(count * SECTOR).offset // SECTOR
                assert model.free(start, count)
                assert start == next(at for at in range(10_000) if model.free(at, count))
                model.taken |= set(range(start, start + count))
                kept[start] = count
                ever = max(ever, start + count)
            case "drop" if kept:
                start = list(kept)[number % len(kept)]
                space.drop(start * SECTOR)
                model.taken -= set(range(start, start + kept.pop(start)))
            case "release" if used:
                start = used.pop(number % len(used))
                space.release(start * SECTOR)
                leaving.append(start)
            case "back" if used:
                start = used.pop(number % len(used))
                space.give_back(start * SECTOR)
                model.taken -= set(range(start, start + SPAN))
            case "settle":
                space.freeze()
                settled = space.settle()
                assert sorted(settled) == sorted(leaving)
                left += settled
                leaving.clear()
            case "reclaim" if left:
                space.free(left)
                for start in left:
                    model.taken -= set(range(start, start + SPAN))
                left.clear()
        assert space.used_end == model.end * SECTOR


def test_many_freed_at_once() -> None:
    starts = list(range(100, 100 + 1000 * SPAN, SPAN))
    space = VhdSpace(array("I", starts), span=SPAN * SECTOR, bitmap=SECTOR, others=[Range(0, 512)], file_size=1 << 30)
    for start in starts[10:500]:
        space.release(start * SECTOR)
    space.freeze()
    released = space.settle()
    assert space.take_block().offset // SECTOR == 7, "below the first"
    end = space.used_end
    space.free(released)
    assert space.used_end == end
    taken = [space.take_block().offset // SECTOR for _ in range(20)]
    assert all(starts[9] + SPAN <= start < starts[500] or start < 100 for start in taken)
    assert len(set(taken)) == 20


def test_claiming_one_place() -> None:
    space = VhdSpace(array("I", [20]), span=SPAN * SECTOR, bitmap=SECTOR, others=[Range(0, 512)], file_size=1 << 20)
    assert space.claim(Range(512, 1024))
    assert not space.claim(Range(1024, 512))
    assert not space.claim(Range(19 * SECTOR, 2 * SECTOR))
    assert not space.claim(Range(28 * SECTOR, 2 * SECTOR)), "it begins on the block and ends behind everything"
    assert space.claim(Range(29 * SECTOR, 2 * SECTOR))
    space.drop(512)
    assert space.claim(Range(1024, 512))
