"""The shape of files: whole MiB, both headers, freed space used again when that is safe, free tails cut off."""

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import Forge, disk, writer
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.errors import FormatError
from vhdx.extents import Extent, Presence, Range


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


def place(chain: Chain, offset: int) -> int:
    """Where the block that starts at *offset* lies in the file."""
    extent: Extent = next(iter(chain.leaf.extents(offset, 512)))
    assert extent.presence is Presence.DATA
    assert extent.file_offset is not None
    return extent.file_offset


def sound_and_settled(made: Forge) -> None:
    assert made.size % MIB == 0
    assert all(made.header_valid(slot) for slot in (0, 1))
    assert abs(made.sequence_number(0) - made.sequence_number(1)) == 1
    first, second = (made.read(offset + 16, 4080) for offset in forge.HEADERS)
    assert first == second, "the same but for the sequence number"
    assert made.log_guid == UUID(int=0)


def test_after_closing_the_file_is_settled(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    sound_and_settled(made)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 3 * MIB + 100))
    sound_and_settled(made)
    with disk(files, writable=1) as chain:
        chain.write(0, b"in place")
    sound_and_settled(made)
    with disk(files, writable=1) as chain:
        chain.discard(MIB, 2 * MIB)
        chain.flush()
        chain.zero(0, 8 * MIB)
    sound_and_settled(made)


def test_closing_cuts_the_free_tail_off(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    empty = made.size
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    assert made.size == empty + 8 * MIB
    with disk(files, writable=1) as chain:
        chain.discard(4 * MIB, 4 * MIB)
    assert made.size == empty + 4 * MIB
    with disk(files, writable=1) as chain:
        chain.discard(0, MIB)
    assert made.size == empty + 4 * MIB, "a gap in the middle stays"
    with disk(files, writable=1) as chain:
        chain.zero(0, 8 * MIB)
    assert made.size == empty


def test_a_file_that_is_not_whole_mib_becomes_so(files: MemoryFileSystem) -> None:
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    made.truncate(made.size + 12345)
    with disk(files, writable=1) as chain:
        chain.write(4 * MIB, pattern(2, MIB))
    sound_and_settled(made)
    with disk(files) as chain:
        assert chain.read(0, 5 * MIB) == pattern(1, 2 * MIB) + bytes(2 * MIB) + pattern(2, MIB)


@pytest.mark.parametrize("free", ["discard", "zero"])
def test_freed_space_is_used_again_only_after_a_flush(files: MemoryFileSystem, free: str) -> None:
    forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 3 * MIB))
        chain.flush()
        first = place(chain, 0)
        getattr(chain, free)(0, MIB)
        chain.write(5 * MIB, pattern(2, MIB))
        assert place(chain, 5 * MIB) != first, "a crash could still bring the old owner back"
        chain.flush()
        chain.write(6 * MIB, pattern(3, 512))
        assert place(chain, 6 * MIB) == first
    with disk(files) as chain:
        assert chain.read(0, MIB) == bytes(MIB)
        assert chain.read(5 * MIB, 2 * MIB) == pattern(2, MIB) + pattern(3, 512) + bytes(MIB - 512)


def test_recycled_space_shows_nothing_of_its_former_owner(files: MemoryFileSystem) -> None:
    made = forge.create(files, 64 * MIB, block=2 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(0, b"\xaa" * 16 * MIB)
    with disk(files, writable=1) as chain:
        chain.discard(0, 14 * MIB)
        chain.flush()
        for number in range(7):
            chain.write(20 * MIB + number * 2 * MIB + 1000, b"new")
    assert made.size == 4 * MIB + 16 * MIB, "all of it went into the gaps"
    with disk(files) as chain:
        for number in range(7):
            block = chain.read(20 * MIB + number * 2 * MIB, 2 * MIB)
            assert block == (bytes(1000) + b"new").ljust(2 * MIB, b"\0")


def test_space_given_back_by_a_failed_write_shows_nothing(files: MemoryFileSystem) -> None:
    forge.create(files)
    image = writer(files)
    with pytest.raises(ZeroDivisionError), image.allocate([Range(0, MIB)]) as places:
        assert places[0].file_offset is not None
        image.storage.write([(places[0].file_offset, b"\xaa" * MIB)])
        raise ZeroDivisionError
    with image.allocate([Range(4096, 512)]) as places:
        assert places[0].file_offset is not None
        image.storage.write([(places[0].file_offset, b"\xbb" * 512)])
    image.close()
    with disk(files) as chain:
        assert chain.read(0, MIB) == (bytes(4096) + b"\xbb" * 512).ljust(MIB, b"\0")


OVERLAPS: dict[str, Callable[[Forge], int]] = {
    "the same place": lambda made: made.entry(0),
    "the second half": lambda made: made.entry(0) + MIB,
    "the header area": lambda made: 6,
    "the log": lambda made: 6 | MIB,
    "the metadata": lambda made: 6 | 2 * MIB,
    "the table": lambda made: 6 | 3 * MIB,
    "across the table": lambda made: 6 | (3 * MIB - MIB),
    "behind the end": lambda made: 6 | made.size,
    "across the end": lambda made: 6 | made.size - MIB,
    "nowhere": lambda made: 6 | (1 << 63),
    "an unmapped place": lambda made: made.entry(0) & ~7 | 3,
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_an_entry_on_something_else_is_refused_before_the_first_write(files: MemoryFileSystem, name: str) -> None:
    made = forge.create(files, 16 * MIB, block=2 * MIB)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 4 * MIB))
    made.set_entry(3, OVERLAPS[name](made))
    before = made.everything
    chain = disk(files, writable=1)
    changes: list[Callable[[], object]] = [
        lambda: chain.write(8 * MIB, b"x"),
        lambda: chain.write(0, b"x"),
        lambda: chain.zero(0, 2 * MIB),
        lambda: chain.discard(0, 2 * MIB),
        lambda: chain.leaf.resize(32 * MIB),
        chain.leaf.begin,
    ]
    for change in changes:
        with pytest.raises(FormatError, match="entry 3"):
            change()
    assert chain.read(0, 4 * MIB) == pattern(1, 4 * MIB), "still readable"
    chain.close()
    assert made.everything == before
    with disk(files) as chain:
        assert chain.read(0, 4 * MIB) == pattern(1, 4 * MIB)


def test_places_that_do_not_count_are_no_overlap(files: MemoryFileSystem) -> None:
    """NOT_PRESENT with a place is wrong to write and harmless to read; padding is not read at all."""
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    made.set_entry(3, made.entry(0) & ~7)
    made.set_entry(20, made.entry(0))
    with disk(files, writable=1) as chain:
        chain.write(3 * MIB, pattern(2, MIB))
    with disk(files) as chain:
        assert chain.read(0, 4 * MIB) == pattern(1, 2 * MIB) + bytes(MIB) + pattern(2, MIB)


@pytest.mark.parametrize("bitmap", [0, 1 << 20, 5 << 20], ids=["none", "no longer", "no longer, elsewhere"])
def test_a_partial_block_without_a_bitmap_is_refused_before_the_first_write(
    files: MemoryFileSystem, bitmap: int
) -> None:
    forge.create(files, path="base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(2, 4096))
    made = Forge(files)
    made.set_entry(2048, bitmap)
    before = made.everything
    with disk(files) as chain, pytest.raises(FormatError, match="sector bitmap"):
        chain.read(0, 512)
    chain = disk(files, writable=1)
    for offset in (8192, 4 * MIB):
        with pytest.raises(FormatError, match="bitmap"):
            chain.write(offset, b"x")
    chain.close()
    assert made.everything == before
    with disk(files) as chain, pytest.raises(FormatError, match="sector bitmap"):
        chain.read(0, 512)
