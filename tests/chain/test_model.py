"""A disk read through its chain equals the model, whatever was done to it."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.choice import examples, few
from tests.support.disks import MIB, Disk, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import CreateOptions, ImageFormat

SECTOR = 512
SIZES = st.integers(1, 6 * MIB // SECTOR).map(lambda sectors: sectors * SECTOR)
fractions = st.integers(0, 1 << 16)
lengths = st.one_of(st.integers(1, 3000), st.sampled_from([512, 4096, 65536, MIB, 2 * MIB, 3 * MIB + 512]))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "zero", "discard"]), fractions, lengths),
        st.tuples(st.sampled_from(["flush", "reopen", "snapshot"])),
        st.tuples(st.sampled_from(["snapshot", "resize"]), SIZES),
        st.tuples(st.sampled_from(["merge", "pull", "compact"]), fractions, fractions),
    ),
    max_size=14,
)


def span(disk: Disk, place: int, length: int) -> tuple[int, int]:
    """A range inside the disk; two thirds of the places are aligned."""
    offset = place * disk.size >> 16
    if place % 3:
        offset = offset // (4096, MIB)[place % 2] * (4096, MIB)[place % 2]
    return offset, min(length, disk.size - offset)


def take(disk: Disk, number: int, step: tuple[object, ...]) -> None:
    match step:
        case ("write", int(place), int(length)):
            offset, length = span(disk, place, length)
            disk.write(offset, pattern(number, length))
        case ("zero", int(place), int(length)):
            disk.zero(*span(disk, place, length))
        case ("discard", int(place), int(length)):
            disk.discard(*span(disk, place, length))
        case ("flush",):
            disk.open.flush()
        case ("reopen",):
            disk.close()
        case ("snapshot",):
            disk.snapshot()
        case ("snapshot", int(size)):
            disk.snapshot(size)
        case ("resize", int(size)):
            disk.resize(size)
        case ("compact", int(layer), _):
            disk.compact(layer % len(disk.paths))
        case (str(verb), int(first), int(second)) if len(disk.paths) > 1:
            count = len(disk.paths)
            top = first % (count - 1)
            target = top + 1 + second % (count - 1 - top)
            (disk.merge if verb == "merge" else disk.pull)(top, target)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SIZES, st.sampled_from([1, 2, 8]), st.sampled_from([ImageFormat.VHDX, ImageFormat.VHD]), steps)
def test_a_disk_equals_its_model(
    size: int, block_mib: int, format: ImageFormat, steps: list[tuple[object, ...]]
) -> None:
    disk = Disk.shaped(MemoryFileSystem(), size, CreateOptions(format=format, block_size=block_mib * MIB))
    for number, step in enumerate(steps, 1):
        take(disk, number, step)
    disk.check()


def some_step(chance: random.Random) -> tuple[object, ...]:
    kinds = ["write", "zero", "discard", "snapshot", "resize", "merge", "pull", "compact", "reopen"]
    kind = chance.choices(kinds, [4, 4, 2, 4, 2, 2, 1, 1, 2])[0]
    if kind in ("write", "zero", "discard"):
        length = chance.choice([chance.randrange(1, 3000), 512, 4096, MIB, 2 * MIB, 3 * MIB, 6 * MIB])
        return kind, chance.randrange(1 << 16), length
    if kind == "resize" or (kind == "snapshot" and chance.random() < 0.4):
        return kind, chance.randrange(1, 6 * MIB // SECTOR) * SECTOR
    if kind in ("merge", "pull", "compact"):
        return kind, chance.randrange(1 << 16), chance.randrange(1 << 16)
    return (kind,)


@pytest.mark.parametrize("seed", few(range(40), 14))
@pytest.mark.parametrize("format", [ImageFormat.VHDX, ImageFormat.VHD])
def test_a_disk_with_a_long_history_equals_its_model(format: ImageFormat, seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randrange(1, 6 * MIB // SECTOR) * SECTOR
    options = CreateOptions(format=format, block_size=chance.choice([1, 2, 4]) * MIB)
    disk = Disk.shaped(MemoryFileSystem(), size, options)
    for number in range(30):
        take(disk, number, some_step(chance))
        if number % 10 == 9:
            disk.check()
