"""A VHD equals its model, whatever was done to it."""

import random

import pytest

from tests.image.vhd_forge import KINDS, SECTOR, VhdDisk, file_bytes, info_of
from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import DiskType

SIZES = [512, 700, 4096, 64 << 10, MIB, 2 * MIB, 3 * MIB + 512]


def some_size(chance: random.Random) -> int:
    return chance.randrange(8, 12 * MIB // SECTOR) * SECTOR


def change(disk: VhdDisk, chance: random.Random, number: int) -> None:
    """One random operation on the leaf, or on the chain."""
    leaf = disk.open.leaf.info
    kinds = {"write": 6, "zero": 3, "discard": 3, "flush": 2, "reopen": 2, "resize": 1, "check": 1}
    if leaf.block_size is not None:
        kinds |= {"snapshot": 1, "compact": 1}
    if leaf.type is DiskType.DIFFERENCING:
        kinds |= {"relink": 1, "merge": 1, "detach": 1}
    kind = chance.choices(list(kinds), list(kinds.values()))[0]
    if kind in ("write", "zero", "discard"):
        change_content(disk, chance, kind, number)
    else:
        change_shape(disk, chance, kind)


def change_content(disk: VhdDisk, chance: random.Random, kind: str, number: int) -> None:
    length = min(chance.choice(SIZES), disk.size)
    offset = chance.randrange(disk.size - length + 1)
    if chance.random() < 0.5:
        offset = offset // disk.block_size * disk.block_size
    match kind:
        case "write":
            disk.write(offset, pattern(number, length))
        case "zero":
            disk.zero(offset, length)
        case "discard":
            disk.discard(offset, length)


def change_shape(disk: VhdDisk, chance: random.Random, kind: str) -> None:
    match kind:
        case "flush":
            disk.open.flush()
        case "reopen":
            disk.close()
        case "resize":
            disk.resize(some_size(chance))
        case "check":
            disk.check()
        case "snapshot" if len(disk.paths) < 4:
            disk.snapshot(some_size(chance) if chance.random() < 0.3 else None)
        case "compact" if all(len(content) >= disk.size for content in disk.contents):
            disk.compact()
        case "relink":
            disk.relink()
        case "merge":
            disk.merge_down()
        case "detach":
            disk.detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(25))
def test_a_random_history_equals_its_model(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    files = MemoryFileSystem(optional=seed % 5 != 0)
    block_size = chance.choice([4096, 64 << 10, 512 << 10, MIB, 2 * MIB, 4 * MIB])
    disk = VhdDisk.create(files, some_size(chance), kind=kind, block_size=block_size)
    for number in range(40):
        change(disk, chance, number)
    disk.check()


def test_both_footers_are_the_same_after_closing() -> None:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, 40 * MIB)
    disk.write(0, pattern(1, 30 * MIB))
    disk.close()
    data = file_bytes(files, "0.vhd")
    assert data[:512] == data[-512:]
    assert len(data) % 4096 == 0
    assert info_of(files, "0.vhd").warnings == ()
