"""Compacting: space is given back, nothing that anybody reads changes."""

import random

import pytest

from tests.support.disks import MIB, Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Cancelled, Error
from vhdx.extents import Presence
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.raw import create_raw
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


def grown(files: MemoryFileSystem, *, sector_size: int = 512) -> Disk:
    """Ten blocks, of which all but three are then let go, in no order."""
    disk = Disk.create(files, 10 * MIB, sector_size=sector_size)
    for block in (7, 2, 9, 0, 4, 1, 8, 3, 6, 5):
        disk.write(block * MIB, pattern(block + 1, MIB))
    for block in (0, 1, 2, 3, 4, 7, 9):
        disk.discard(block * MIB, MIB)
    disk.close()
    return disk


def test_holes_are_filled_and_the_file_is_cut(files: MemoryFileSystem) -> None:
    disk = grown(files)
    before = files.stat("0.vhdx").size
    disk.engine.compact(files, "0.vhdx")
    disk.check()
    assert files.stat("0.vhdx").size == before - 7 * MIB


def test_blocks_of_zeros_go(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 6 * MIB)
    disk.write(0, bytes(4 * MIB) + pattern(1, MIB))
    disk.close()
    before = files.stat("0.vhdx").size
    disk.engine.compact(files, "0.vhdx", scan=False)
    assert files.stat("0.vhdx").size == before, "without a scan nobody knows"
    disk.engine.compact(files, "0.vhdx")
    disk.check()
    assert files.stat("0.vhdx").size == before - 4 * MIB


def test_zeros_over_a_parent_go_on_masking_it(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 8 * MIB)
    disk.write(0, pattern(1, 4 * MIB))
    disk.snapshot()
    disk.write(0, bytes(8 * MIB))
    disk.write(5 * MIB, pattern(2, 512))
    disk.close()
    before = files.stat("1.vhdx").size
    disk.engine.compact(files, "1.vhdx")
    disk.check()
    assert files.stat("1.vhdx").size < before
    with disk.engine.open_chain(files, "1.vhdx") as chain:
        assert not any(chain.read(0, 4 * MIB))


def test_a_block_with_holes_onto_the_parents_data_stays(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 4 * MIB)
    disk.write(0, pattern(1, 4 * MIB))
    disk.snapshot()
    disk.write(0, bytes(4096))
    disk.close()
    disk.engine.compact(files, "1.vhdx")
    disk.check()


def test_a_child_larger_than_its_parent(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, MIB + 512)
    disk.write(0, pattern(1, MIB + 512))
    disk.snapshot(6 * MIB)
    disk.write(512, bytes(2 * MIB))
    disk.write(4 * MIB, bytes(MIB))
    disk.close()
    disk.compact(0)
    disk.check()


def test_children_stay_children(files: MemoryFileSystem) -> None:
    disk = grown(files)
    disk.snapshot()
    disk.write(0, pattern(77, 4096))
    disk.close()
    linkage = disk.engine.info(files, "0.vhdx").linkage
    disk.engine.compact(files, "0.vhdx")
    assert disk.engine.info(files, "0.vhdx").linkage == linkage
    disk.check()


@pytest.mark.parametrize("seed", range(12))
def test_any_history(files: MemoryFileSystem, seed: int) -> None:
    chance = random.Random(seed)
    sector = chance.choice([512, 4096])
    disk = Disk.create(files, 9 * MIB + 4096, sector_size=sector)
    for number in range(25):
        offset = chance.randrange(disk.size // sector) * sector
        length = min(chance.choice([sector, 4096, MIB, 3 * MIB]), disk.size - offset)
        match chance.choice(["write", "write", "zeros", "zero", "discard", "snapshot", "compact"]):
            case "write":
                disk.write(offset, pattern(number + 1, length))
            case "zeros":
                disk.write(offset, bytes(length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "snapshot" if len(disk.paths) < 4:
                disk.snapshot()
            case "compact":
                disk.close()
                disk.engine.compact(files, chance.choice(disk.paths))
    disk.check()


def test_a_stop_between_moves_leaves_the_content(files: MemoryFileSystem) -> None:
    """Each block holds little, since more has to be moved than one batch takes."""
    engine, blocks = NativeEngine(counting_ids()), 70
    engine.create(files, "0.vhdx", 2 * blocks * MIB, CreateOptions(block_size=MIB))
    with engine.open_chain(files, "0.vhdx", writable=1) as chain:
        for block in range(2 * blocks):
            chain.write(block * MIB + 512 * block, pattern(block, 512))
        chain.discard(0, blocks * MIB)
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Cancelled("enough")

    def check() -> None:
        with engine.open_chain(files, "0.vhdx") as chain:
            for block in range(2 * blocks):
                expected = bytearray(MIB)
                if block >= blocks:
                    expected[512 * block : 512 * block + 512] = pattern(block, 512)
                assert chain.read(block * MIB, MIB) == expected

    with pytest.raises(Cancelled):
        engine.compact(files, "0.vhdx", scan=False, on_progress=stop)
    check()
    size = files.stat("0.vhdx").size
    engine.compact(files, "0.vhdx", scan=False)
    check()
    assert files.stat("0.vhdx").size < size
    assert files.stat("0.vhdx").size < (blocks + 8) * MIB


def test_what_cannot_be_compacted(files: MemoryFileSystem) -> None:
    engine = NativeEngine(counting_ids())
    engine.create(files, "fixed.vhdx", 4 * MIB, CreateOptions(block_size=MIB, fixed=True))
    with pytest.raises(Error, match="fixed"):
        engine.compact(files, "fixed.vhdx", scan=False)


def test_a_fixed_image_is_all_there_and_stays_so(files: MemoryFileSystem) -> None:
    engine = NativeEngine(counting_ids())
    engine.create(files, "fixed.vhdx", 4 * MIB + 512, CreateOptions(block_size=MIB, fixed=True))
    size = files.stat("fixed.vhdx").size
    with engine.open_chain(files, "fixed.vhdx", writable=1) as chain:
        assert [found.extent.presence for found in chain.extents(0, chain.size)] == [Presence.DATA]
        chain.write(1000, b"here")
        chain.discard(0, 2 * MIB)
        chain.zero(2 * MIB, MIB)
    assert files.stat("fixed.vhdx").size == size
    engine.resize(files, "fixed.vhdx", 6 * MIB)
    assert files.stat("fixed.vhdx").size == size + MIB
    with engine.open_chain(files, "fixed.vhdx") as chain:
        assert [found.extent.presence for found in chain.extents(0, chain.size)] == [Presence.DATA] * len(
            list(chain.extents(0, chain.size))
        )
        assert chain.read(0, chain.size) == bytes(1000) + b"here" + bytes(6 * MIB - 1004)


def test_places_that_a_reader_holds_are_not_reused(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 8 * MIB)
    disk.write(0, pattern(1, MIB))
    disk.open.flush()
    leaf = disk.open.leaf
    with leaf.pinned():
        (held,) = leaf.extents(0, MIB)
        disk.zero(0, MIB)
        disk.open.flush()
        disk.write(4 * MIB, pattern(2, MIB))
        disk.open.flush()
        assert held.file_offset is not None
        buffer = bytearray(MIB)
        leaf.storage.read([(held.file_offset, memoryview(buffer))])
        assert buffer == pattern(1, MIB)
    disk.write(5 * MIB, pattern(3, MIB))
    (later,) = leaf.extents(5 * MIB, MIB)
    assert later.file_offset == held.file_offset, "free once nobody reads there"
    disk.check()


def test_a_raw_disk_has_nothing_to_pack(files: MemoryFileSystem) -> None:
    create_raw(files.create("disk.raw"), size=MIB).close()
    with pytest.raises(Error, match="only dynamic and differencing"):
        NativeEngine().compact(files, "disk.raw", format=ImageFormat.RAW)
    assert files.open("disk.raw", Access.READ).size() == MIB
