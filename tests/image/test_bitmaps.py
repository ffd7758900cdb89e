"""Partial blocks: which sectors are the image's own, through every way in which bits can go stale."""

import random

import pytest

from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import Forge, disk, writer
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error, FormatError
from vhdx.extents import Presence

GIB = 1 << 30


def chained(size: int = 8 * MIB, *, sector: int = 512, seed: int = 1) -> tuple[MemoryFileSystem, Forge]:
    """disk.vhdx over base.vhdx with data at its start."""
    files = MemoryFileSystem()
    forge.create(files, size, "base.vhdx", sector=sector)
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(seed, min(size, 8 * MIB)))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    return files, Forge(files)


def read(files: MemoryFileSystem, offset: int, length: int) -> bytes:
    with disk(files) as chain:
        return chain.read(offset, length)


def test_bits_lie_where_the_specification_says() -> None:
    files, made = chained(20 * GIB)
    sectors = [0, 1, 7, 8, 4095, 4096, 5 * 4096 + 9, 2047 * 4096, 2048 * 4096 + 3, 5000 * 4096 + 77]
    with disk(files, writable=1) as chain:
        for sector in sectors:
            chain.write(sector * 512, pattern(sector, 512))
    for sector in sectors:
        chunk, within = divmod(sector, 2048 * 4096)
        bitmap = made.entry(chunk * 2049 + 2048)
        assert bitmap & 7 == 6
        byte = made.number((bitmap >> 20 << 20) + within // 8, 1)
        assert byte >> (within % 8) & 1, sector
        assert made.entry(sector // 4096 + sector // 4096 // 2048) & 7 == 7


def test_a_partial_block_becomes_whole_with_its_last_sector() -> None:
    files, made = chained(2 * MIB)
    order = list(range(4096))
    random.Random(3).shuffle(order)
    runs = [order[at : at + 512] for at in range(0, 4096, 512)]
    for number, run in enumerate(runs):
        with disk(files, writable=1) as chain:
            for sector in run:
                chain.write(sector * 512, pattern(number + sector, 512))
        assert made.entry(0) & 7 == (7 if number < 7 else 6)
    assert read(files, 0, 2 * MIB) == b"".join(
        pattern(number + sector, 512)
        for sector, number in sorted((sector, number) for number, run in enumerate(runs) for sector in run)
    )


def test_a_whole_write_needs_no_bitmap() -> None:
    files, made = chained()
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB, pattern(2, 4 * MIB))
    assert [made.entry(index) & 7 for index in range(4)] == [0, 6, 6, 0]
    assert made.entry(2048) == 0
    below = pattern(1, 8 * MIB)
    assert read(files, 0, 8 * MIB) == below[: 2 * MIB] + pattern(2, 4 * MIB) + below[6 * MIB :]


@pytest.mark.parametrize("letting_go", ["zero", "discard"])
def test_bits_from_before_a_block_was_let_go_do_not_count(letting_go: str) -> None:
    files, _ = chained()
    with disk(files, writable=1) as chain:
        chain.write(4096, pattern(2, 8192))
        chain.flush()
        getattr(chain, letting_go)(0, 2 * MIB)
        chain.flush()
        assert chain.read(0, 2 * MIB) == bytes(2 * MIB), "never the parent's"
        chain.write(512, pattern(3, 512))
    assert read(files, 0, 2 * MIB) == (bytes(512) + pattern(3, 512)).ljust(2 * MIB, b"\0")


@pytest.mark.parametrize("state", [1, 2, 3])
def test_a_part_of_a_block_without_data_is_zeros_around_not_the_parent(state: int) -> None:
    files, made = chained()
    made.set_entry(0, state)
    assert read(files, 0, 2 * MIB) == bytes(2 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(3, 512))
    assert made.entry(0) & 7 == 6
    assert read(files, 0, 2 * MIB) == (bytes(512) + pattern(3, 512)).ljust(2 * MIB, b"\0")


def test_stale_bits_under_a_block_that_is_not_present() -> None:
    """A bitmap block whose bits were left set by another writer."""
    files, made = chained()
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(3, 512))
    bitmap = made.entry(2048) >> 20 << 20
    made.write(bitmap, b"\xff" * MIB)
    made.set_entry(0, 0)
    expected = bytearray(pattern(1, 8 * MIB))
    assert read(files, 0, 8 * MIB) == expected
    with disk(files, writable=1) as chain:
        chain.write(3 * MIB, pattern(4, 512))
        chain.write(8192, pattern(5, 512))
    expected[3 * MIB : 3 * MIB + 512] = pattern(4, 512)
    expected[8192:8704] = pattern(5, 512)
    assert read(files, 0, 8 * MIB) == expected


def test_bits_behind_the_end_of_the_disk_do_not_matter() -> None:
    files, made = chained(2 * MIB + 1024)
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB, pattern(3, 512))
    bitmap = made.entry(2048) >> 20 << 20
    made.write(bitmap + 512, b"\xfd" + b"\xff" * 511)
    assert made.entry(1) & 7 == 7
    assert read(files, 2 * MIB, 1024) == pattern(3, 512) + pattern(1, 8 * MIB)[2 * MIB + 512 : 2 * MIB + 1024]


def test_a_new_bitmap_in_used_space_starts_clear() -> None:
    files, made = chained()
    with disk(files, writable=1) as chain:
        chain.write(2 * MIB, b"\xff" * 4 * MIB)
    with disk(files, writable=1) as chain:
        chain.discard(2 * MIB, 2 * MIB)
        chain.flush()
        chain.write(512, pattern(3, 512))
        chain.write(6 * MIB + 512, pattern(4, 512))
    expected = bytearray(pattern(1, 8 * MIB))
    expected[2 * MIB : 6 * MIB] = bytes(2 * MIB) + b"\xff" * 2 * MIB
    expected[512:1024] = pattern(3, 512)
    expected[6 * MIB + 512 : 6 * MIB + 1024] = pattern(4, 512)
    assert read(files, 0, 8 * MIB) == expected
    assert made.entry(2048) & 7 == 6


def test_a_broken_bitmap_entry_hides_only_partial_blocks() -> None:
    files, made = chained()
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(3, 512))
        chain.write(4 * MIB, pattern(4, 2 * MIB))
    for raw in (5, 6, 7 | 4 * MIB, 6 | 4 * MIB | 1 << 10):
        made.set_entry(2048, raw)
        with disk(files) as chain:
            assert chain.read(4 * MIB, 2 * MIB) == pattern(4, 2 * MIB)
            with pytest.raises(FormatError, match="entry 2048") as caught:
                chain.read(0, 512)
        assert caught.value.offset == made.bat + 2048 * 8
        image = writer(files)
        with pytest.raises(FormatError, match="entry 2048"):
            image.begin()
        image.close()


def test_a_bitmap_entry_without_a_parent_is_let_be() -> None:
    files = MemoryFileSystem()
    made = forge.create(files, 6 * GIB)
    made.truncate(5 * MIB)
    made.set_entry(4096, 6 | 4 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
        chain.write(5 * GIB, pattern(2, MIB))
        assert next(iter(chain.leaf.extents(0, MIB))).file_offset != 4 * MIB
    assert read(files, 0, 2 * MIB) == pattern(1, 2 * MIB)
    assert made.entry(4096) == 6 | 4 * MIB


def test_sectors_of_4096_bytes() -> None:
    files, made = chained(sector=4096)
    expected = bytearray(pattern(1, 8 * MIB))
    with disk(files, writable=1) as chain:
        for offset, length in ((100, 50), (4090, 12), (8192, 4096), (MIB - 1, 2), (8 * MIB - 5, 5), (MIB * 3, 9000)):
            chain.write(offset, pattern(offset, length))
            expected[offset : offset + length] = pattern(offset, length)
        chain.zero(5 * MIB + 1, 10000)
        expected[5 * MIB + 1 : 5 * MIB + 10001] = bytes(10000)
        assert chain.read(0, 8 * MIB) == expected
        extents = list(chain.leaf.extents(0, 12288))
    assert [(extent.length, extent.presence) for extent in extents] == [(12288, Presence.DATA)]
    assert read(files, 0, 8 * MIB) == expected
    assert read(files, 4091, 3) == expected[4091:4094]
    bitmap = made.entry(16384) >> 20 << 20
    assert made.number(bitmap, 1) == 0b111


def test_layers_of_other_sector_sizes_do_not_mix() -> None:
    files, _ = chained()
    forge.create(files, path="other.vhdx", sector=4096)
    with pytest.raises(Error, match="sector"):
        forge.engine().relink(files, "disk.vhdx", "other.vhdx")


def test_blocks_of_256_mib() -> None:
    files = MemoryFileSystem()
    made = forge.create(files, 10 * GIB, block=256 * MIB)
    places = [0, 256 * MIB - 4096, 512 * MIB, 17 * 256 * MIB + 12345 * 512, 10 * GIB - 8192]
    with disk(files, writable=1) as chain:
        for number, offset in enumerate(places):
            chain.write(offset, pattern(number, 8192))
        chain.zero(100 * MIB, 300 * MIB)
        chain.discard(0, 10 * GIB - 256 * MIB)
        chain.flush()
        for number, offset in enumerate(places):
            chain.write(offset, pattern(number + 50, 8192))
    for number, offset in enumerate(places):
        assert read(files, offset, 8192) == pattern(number + 50, 8192)
    assert read(files, 100 * MIB, MIB) == bytes(MIB)
    assert made.size % MIB == 0


def test_a_disk_of_many_chunks() -> None:
    files, _ = chained(40 * GIB)
    chance = random.Random(5)
    model: dict[int, bytes] = {}
    with disk(files, writable=1) as chain:
        for number in range(60):
            sector = chance.choice([4 * GIB, 8 * GIB, 32 * GIB, 40 * GIB]) // 512 - chance.randrange(1, 20000)
            model[sector] = pattern(number, 512)
            chain.write(sector * 512, model[sector])
    with disk(files) as chain:
        for sector, data in model.items():
            assert chain.read(sector * 512, 512) == data
        assert chain.read(0, 8 * MIB) == pattern(1, 8 * MIB)
        assert sum(found.extent.length for found in chain.extents(0, chain.size)) == chain.size
