"""Whole histories on storages that do only what they must, and on sectors of 4096 bytes: nothing reads differently."""

import random

import pytest

from tests.image.forge import Forge
from tests.support.choice import few
from tests.support.disks import MIB, Disk, pattern
from tests.support.memory import MemoryFileSystem


def grow_old(disk: Disk, chance: random.Random, *, sector: int) -> None:
    """A random step on *disk*."""
    length = min(chance.choice([1, 700, sector, 3 * sector, MIB, 2 * MIB + sector]), disk.size)
    offset = chance.randrange(disk.size - length + 1)
    match chance.choice(["write", "write", "zero", "discard", "flush", "reopen", "snapshot", "resize", "merge"]):
        case "write":
            disk.write(offset, pattern(chance.randrange(1000), length))
        case "zero":
            disk.zero(offset, length)
        case "discard":
            disk.discard(offset, length)
        case "flush":
            disk.open.flush()
        case "reopen":
            disk.close()
        case "snapshot":
            disk.snapshot()
        case "resize":
            disk.resize(chance.randrange(1, 7 * MIB // sector) * sector)
        case "merge" if len(disk.paths) > 1:
            top = chance.randrange(len(disk.paths) - 1)
            disk.merge(top, chance.randrange(top + 1, len(disk.paths)))


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("seed", few(range(4), 1))
def test_a_history(seed: int, optional: bool, sector: int) -> None:
    chance = random.Random(seed)
    files = MemoryFileSystem(optional=optional)
    disk = Disk.create(files, 5 * MIB, block_size=chance.choice([1, 2]) * MIB, sector_size=sector)
    for _ in range(25):
        grow_old(disk, chance, sector=sector)
    disk.check()
    for path in disk.paths:
        assert Forge(files, path).size % MIB == 0


@pytest.mark.parametrize("optional", [False, True])
def test_a_moved_table_and_a_clone(optional: bool) -> None:
    files = MemoryFileSystem(optional=optional)
    disk = Disk.create(files, 4 * MIB)
    disk.write(0, pattern(1, 3 * MIB + 100))
    disk.snapshot()
    disk.write(MIB - 100, pattern(2, 200))
    disk.close()
    disk.engine.convert(files, disk.paths[0], files, "clone.vhdx", size=8 * MIB)
    with disk.engine.open_chain(files, "clone.vhdx") as chain:
        assert chain.read(0, 8 * MIB) == bytes(disk.contents[0]).ljust(8 * MIB, b"\0")
    for path in ("clone.vhdx", disk.paths[0]):
        disk.engine.resize(files, path, 600 << 30)
        with disk.engine.open_chain(files, path, writable=1) as chain:
            chain.write((600 << 30) - 700, pattern(3, 700))
            chain.write(2 * MIB, pattern(4, 700))
        with disk.engine.open_chain(files, path) as chain:
            expected = bytearray(disk.contents[0].ljust(5 * MIB, b"\0"))
            expected[2 * MIB : 2 * MIB + 700] = pattern(4, 700)
            assert chain.read(0, 5 * MIB) == expected
            assert chain.read((600 << 30) - 1000, 1000) == bytes(300) + pattern(3, 700)
