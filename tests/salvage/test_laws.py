"""Whatever the damage: a salvage refuses with one clear error, or each byte that it does not call lost is right.

Damage that the format cannot show is left out: to payload, to metadata items and table entries that become other valid
ones.
"""

import random
from collections.abc import Callable

import pytest

from tests.image.forge import HEADERS, REGION_TABLES, Forge
from tests.salvage.disks import STARTS, TARGET, forges, good, hold, leaf, read, refuses, salvage, without_log
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import ImageFormat

ALL = pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
BAT, CHUNK = 3 * MIB, 2048
COOKIE = b"conectix"
SEEDS = 60


def is_vhdx(image: Forge) -> bool:
    return image.size >= 8 and image.read(0, 8) == b"vhdxfile"


def some(files: MemoryFileSystem, rng: random.Random) -> Forge:
    return rng.choice(forges(files))


def cut(files: MemoryFileSystem, rng: random.Random) -> None:
    """Cut a file off anywhere, more often where something begins or ends."""
    image = some(files, rng)
    near = rng.choice([0, 512, 1536, 2048, BAT, 4 * MIB, max(image.size - 2500, 0)]) + rng.randrange(5000)
    image.truncate(min(rng.choice([near, rng.randrange(image.size + 1)]), image.size))


def flip_front(files: MemoryFileSystem, rng: random.Random) -> None:
    """Overwrite bytes of what has a checksum, in one copy or in all."""
    image = some(files, rng)
    if is_vhdx(image):
        offsets, length = list(rng.choice([HEADERS, REGION_TABLES])), 100
    elif rng.randrange(2):
        offsets, length = [512], 1024
    else:
        offsets, length = [0, image.size - 512], 512
    # Elsewhere the bytes are the guest's.
    marks = (b"head", b"regi", COOKIE, b"cxsparse")
    offsets = [at for at in offsets if 0 <= at <= image.size - length and image.read(at, 8).startswith(marks)]
    place, data = rng.randrange(length - 4), rng.choice([rng.randbytes(rng.randrange(1, 5)), b"\xff" * 4, bytes(4)])
    for offset in rng.choice([offsets, offsets[-1:], offsets[:1]]):
        image.write(offset + place, data)


def spoil_entry(files: MemoryFileSystem, rng: random.Random) -> None:
    """An entry of the block table that no writer would leave: on another block, on a structure, outside, impossible."""
    image = some(files, rng)
    if is_vhdx(image):
        if image.size < BAT + MIB:
            return
        other = image.number(BAT + 8 * rng.randrange(8)) >> 20 << 20 or MIB
        place = rng.choice([other, MIB, 2 * MIB, BAT, image.size // MIB * MIB, 1 << 50])
        raw = rng.choice([place | 6, place | 7, 4, 5, 6, place | 2, place | 6 | 1 << 19])
        image.write(BAT + 8 * rng.choice([*range(8), CHUNK]), raw.to_bytes(8, "little"))
    elif image.size > 10240 and image.read(0, 8) == COOKIE:
        table = int.from_bytes(image.read(512 + 16, 8))
        number = rng.randrange(3)
        taken = int.from_bytes(image.read(table + 4 * number, 4))
        other = 1 if taken == 0xFFFFFFFF else taken + rng.randrange(3)
        raw = rng.choice([other, 0, 2, image.size // 512, 1 << 31])
        image.write(table + 4 * ((number + 1 + rng.randrange(2)) % 3), raw.to_bytes(4))


HISTORIES = [(cut,), (flip_front,), (spoil_entry,), (flip_front, flip_front), (spoil_entry, cut)]


@ALL
def test_a_sound_image_is_copied_and_nothing_is_said(start: Callable[[], MemoryFileSystem]) -> None:
    case = good(start)
    files = case.files()
    report = salvage(files, leaf(files))
    assert report is not None
    assert (report.complete, report.lost, report.notes) == (True, (), ())
    assert read(files, TARGET) == case.content


def damaged(start: Callable[[], MemoryFileSystem], seed: int) -> str:
    """Damage the files of a disk, salvage it, and say what came of it."""
    rng = random.Random(seed)
    case = good(start)
    files = case.files()
    path = leaf(files)
    known = ImageFormat.VHDX if is_vhdx(Forge(files, path)) else ImageFormat.VHD
    format = rng.choice([None, known])
    for damage in rng.choice(HISTORIES):
        damage(files, rng)
    report = salvage(files, path, source_format=format)
    if report is None:
        return "refused"
    if refuses(files, path, format):
        assert not report.complete, "what the rules refuse was taken without a word"
    if without_log(report):
        return "without its log"
    hold(files, report, case.content)
    return "complete" if report.complete else "lost" if report.lost else "on trust"


@ALL
def test_no_wrong_byte_is_passed_off_as_right(start: Callable[[], MemoryFileSystem]) -> None:
    told = []
    for seed in range(SEEDS):
        try:
            told.append(damaged(start, seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    # The damage is neither all harmless nor all fatal.
    assert told.count("refused") < SEEDS // 2, told
    assert "lost" in told or "on trust" in told, told


@pytest.mark.more
@ALL
def test_no_wrong_byte_in_many_more_histories(start: Callable[[], MemoryFileSystem]) -> None:
    for seed in range(1000, 1250):
        try:
            damaged(start, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
