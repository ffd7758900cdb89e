"""Resizing: nothing old shows in what is grown, whatever lay behind the end, and the table moves when it must."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.format.raw import BAT_REGION, MIB
from tests.image import forge
from tests.image.forge import REGION_TABLES, Forge, disk, writer
from tests.support.choice import examples
from tests.support.disks import Disk, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.extents import Presence
from vhdx.verbs.engine import Shrink

GIB = 1 << 30


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


def resize(files: MemoryFileSystem, size: int, path: str = "disk.vhdx") -> None:
    forge.engine(300).resize(files, path, size, shrink=Shrink.FORCE)


def read(files: MemoryFileSystem, offset: int, length: int) -> bytes:
    with disk(files) as chain:
        return chain.read(offset, length)


def child(files: MemoryFileSystem, size: int = 8 * MIB) -> Forge:
    """disk.vhdx of *size* over a base of 8 MiB that is full of data."""
    forge.create(files, path="base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx", size=size)
    return Forge(files)


def test_growing_changes_the_data_write_guid(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    before = made.data_write_guid
    resize(files, 9 * MIB)
    assert made.data_write_guid != before
    before = made.data_write_guid
    resize(files, 9 * MIB)
    assert made.data_write_guid == before, "nothing to do"


@pytest.mark.parametrize("end", [3 * MIB, 3 * MIB + 512, 4 * MIB - 512, 512])
def test_what_was_cut_off_does_not_come_back(files: MemoryFileSystem, end: int) -> None:
    forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    resize(files, end)
    resize(files, 8 * MIB)
    assert read(files, 0, 8 * MIB) == pattern(1, 8 * MIB)[:end].ljust(8 * MIB, b"\0")


@pytest.mark.parametrize("end", [2 * MIB, 3 * MIB + 512, 512])
def test_what_a_child_cuts_off_does_not_come_back_from_either_layer(files: MemoryFileSystem, end: int) -> None:
    child(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(2, 4096))
        chain.write(end + 512, pattern(3, 4096))
        chain.write(6 * MIB + 512, pattern(4, 4096))
    expected = read(files, 0, end).ljust(10 * MIB, b"\0")
    resize(files, end)
    resize(files, 10 * MIB)
    assert read(files, 0, 10 * MIB) == expected


def test_stale_bits_of_a_partial_block_do_not_count(files: MemoryFileSystem) -> None:
    """Shrink to the middle of a partial block, grow, and write into the part that was cut off."""
    child(files)
    with disk(files, writable=1) as chain:
        for sector in range(0, 4096, 3):
            chain.write(sector * 512, pattern(sector, 512))
    expected = bytearray(read(files, 0, 8 * MIB))
    resize(files, MIB + 512)
    expected[MIB + 512 :] = bytes(8 * MIB - MIB - 512)
    resize(files, 2 * MIB - 512)
    with disk(files, writable=1) as chain:
        chain.write(MIB + 8192, pattern(7, 512))
        expected[MIB + 8192 : MIB + 8704] = pattern(7, 512)
    resize(files, 8 * MIB)
    assert read(files, 0, 8 * MIB) == expected
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB - 512, pattern(8, 1024))
        expected[2 * MIB - 512 : 2 * MIB + 512] = pattern(8, 1024)
    assert read(files, 0, 8 * MIB) == expected


def test_bits_of_a_block_that_was_let_go_do_not_come_back(files: MemoryFileSystem) -> None:
    child(files)
    with disk(files, writable=1) as chain:
        chain.write(4096, pattern(2, MIB))
        chain.flush()
    resize(files, 512)
    with disk(files, writable=1) as chain:
        chain.zero(0, 512)
    resize(files, 8 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB + 512, pattern(3, 512))
    expected = bytearray(8 * MIB)
    expected[2 * MIB + 512 : 2 * MIB + 1024] = pattern(3, 512)
    assert read(files, 0, 8 * MIB) == expected


def test_all_bits_of_a_short_last_block_make_it_whole(files: MemoryFileSystem) -> None:
    child(files, 2 * MIB + 1024)
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB, pattern(2, 512))
        chain.write(2 * MIB + 512, pattern(3, 512))
        assert [extent.presence for extent in chain.leaf.extents(2 * MIB, 1024)] == [Presence.DATA]
    resize(files, 8 * MIB)
    assert read(files, 2 * MIB, 6 * MIB) == (pattern(2, 512) + pattern(3, 512)).ljust(6 * MIB, b"\0")


GARBAGE = [b"\xff" * 8, (6 | 4 * MIB).to_bytes(8, "little"), (6 | 1 << 40).to_bytes(8, "little"), b"\2" + bytes(7)]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["ones", "a live place", "behind the end", "zero"])
def test_padding_does_not_come_to_life(files: MemoryFileSystem, garbage: bytes) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    made.write(made.bat + 64, garbage * 8192)
    resize(files, 10 * GIB)
    assert read(files, 0, 16 * MIB) == pattern(1, 2 * MIB).ljust(16 * MIB, b"\0")
    assert read(files, 4 * GIB - MIB, 2 * MIB) == bytes(2 * MIB)
    assert read(files, 8 * GIB - MIB, 2 * MIB) == bytes(2 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(4 * GIB - 512, pattern(2, 1024))
        chain.write(0, b"new")
    assert read(files, 4 * GIB - 512, 1024) == pattern(2, 1024)
    assert read(files, 0, 2 * MIB) == b"new" + pattern(1, 2 * MIB)[3:]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["ones", "a live place", "behind the end", "zero"])
def test_padding_of_a_child_does_not_come_to_life(files: MemoryFileSystem, garbage: bytes) -> None:
    made = child(files)
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(2, 512))
    bitmap = made.entry(2048)
    made.write(made.bat + 32, garbage * 8192)
    made.set_entry(2048, bitmap)
    expected = read(files, 0, 8 * MIB)
    resize(files, 10 * GIB)
    assert read(files, 0, 16 * MIB) == expected.ljust(16 * MIB, b"\0")
    assert read(files, 4 * GIB - MIB, 2 * MIB) == bytes(2 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(4 * GIB + 512, pattern(3, 512))
        chain.write(3 * MIB, b"new")
    assert read(files, 4 * GIB, 2048) == bytes(512) + pattern(3, 512) + bytes(1024)
    assert read(files, 2 * MIB, 6 * MIB) == expected[2 * MIB : 3 * MIB] + b"new" + expected[3 * MIB + 3 :]


@pytest.mark.parametrize("entry", ["a block's", "the last block's"])
def test_shrinking_frees_nothing_that_a_block_without_data_points_to(files: MemoryFileSystem, entry: str) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    made.set_entry(6, made.entry(0 if entry == "a block's" else 1) & ~7)
    image = writer(files)
    image.resize(5 * MIB)
    image.close()
    with disk(files, writable=1) as chain:
        chain.write(3 * MIB, pattern(9, 2 * MIB))
    assert read(files, 0, 5 * MIB) == pattern(1, 2 * MIB) + bytes(MIB) + pattern(9, 2 * MIB)


def test_shrinking_frees_nothing_in_the_same_session_either(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    made.set_entry(6, made.entry(0) & ~7)
    with disk(files, writable=1) as chain:
        chain.leaf.resize(5 * MIB)
        chain.write(3 * MIB, pattern(9, 2 * MIB))
    assert read(files, 0, 5 * MIB) == pattern(1, 2 * MIB) + bytes(MIB) + pattern(9, 2 * MIB)


def test_shrinking_gives_space_back(files: MemoryFileSystem) -> None:
    made = child(files)
    empty = made.size
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(2, 8 * MIB))
    assert made.size == empty + 8 * MIB
    resize(files, 2 * MIB)
    assert made.size == empty + 2 * MIB
    assert read(files, 0, 2 * MIB) == pattern(2, 2 * MIB)


def test_the_table_of_a_child_moves_when_it_outgrows_its_region(files: MemoryFileSystem) -> None:
    made = child(files)
    with disk(files, writable=1) as chain:
        chain.write(MIB + 512, pattern(2, 3 * MIB))
    before = made.region(BAT_REGION)
    expected = read(files, 0, 8 * MIB)
    resize(files, 300 * GIB)
    after = made.region(BAT_REGION)
    assert before[1] == MIB < after[1]
    assert before[0] != after[0]
    assert made.read(REGION_TABLES[0], 65536) == made.read(REGION_TABLES[1], 65536)
    assert read(files, 0, 16 * MIB) == expected.ljust(16 * MIB, b"\0")
    with disk(files, writable=1) as chain:
        chain.write(300 * GIB - 4096, pattern(3, 4096))
        chain.write(256 * GIB - 4096, pattern(4, 8192))
        chain.write(6 * MIB, pattern(5, 2 * MIB))
    assert made.size % MIB == 0
    assert read(files, 0, 8 * MIB) == expected[: 6 * MIB] + pattern(5, 2 * MIB)
    assert read(files, 300 * GIB - 8192, 8192) == bytes(4096) + pattern(3, 4096)
    assert read(files, 256 * GIB - 8192, 16384) == bytes(4096) + pattern(4, 8192) + bytes(4096)


def test_a_moved_table_survives_in_the_log_alone(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    image = writer(files)
    image.resize(200 * GIB)
    image.abandon()
    assert made.spoil_logged_pages() >= 33, "both region tables among them"
    assert read(files, 0, 9 * MIB) == pattern(1, 8 * MIB) + bytes(MIB)
    writer(files, start=600).close()
    with disk(files, writable=1) as chain:
        chain.write(199 * GIB, pattern(2, MIB))
        assert chain.read(0, 9 * MIB) == pattern(1, 8 * MIB) + bytes(MIB)
        assert chain.read(199 * GIB, MIB) == pattern(2, MIB)


def test_the_old_table_is_free_after_the_move(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, MIB))
        old = made.bat
        chain.leaf.resize(200 * GIB)
        chain.write(100 * GIB, pattern(2, MIB))
        found = next(iter(chain.leaf.extents(100 * GIB, MIB)))
        assert found.file_offset == old
        chain.flush()
        assert chain.read(0, MIB) == pattern(1, MIB)
    assert read(files, 100 * GIB, MIB) == pattern(2, MIB)
    assert read(files, 0, 2 * MIB) == pattern(1, MIB) + bytes(MIB)


def test_growing_within_the_reserved_table_moves_nothing(files: MemoryFileSystem) -> None:
    made = forge.create(files, 100 * GIB)
    place = made.bat
    resize(files, 127 * GIB)
    assert made.bat == place


sizes = st.integers(1, 12 * MIB // 512).map(lambda sectors: sectors * 512)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6), st.booleans())
def test_any_sizes_in_one_session(steps: list[tuple[int, int]], over_parent: bool) -> None:
    model = Disk.create(MemoryFileSystem(), 9 * MIB, block_size=2 * MIB)
    model.write(0, pattern(1, 9 * MIB))
    below = 0
    if over_parent:
        model.snapshot()
        below = 9 * MIB
    content = bytearray(model.contents[0])
    for number, (size, place) in enumerate(steps):
        model.open.leaf.resize(size, below=below)
        content = bytearray(content[:size].ljust(size, b"\0"))
        offset = place % size
        data = pattern(number + 2, 5000)[: size - offset]
        model.open.write(offset, data)
        content[offset : offset + len(data)] = data
        assert model.open.read(0, size) == content
    model.close()
    with model.engine.open_chain(model.files, model.paths[0]) as chain:
        assert chain.read(0, len(content)) == content
