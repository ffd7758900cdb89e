"""A log that was left in use: shown to readers, replayed for writers, refused when it asks for the impossible."""

import random
from uuid import UUID

import pytest

from tests.format import raw
from tests.format.raw import MIB, PAGE
from tests.image import forge
from tests.image.forge import Forge, disk, reader, writer
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import FormatError, ReadOnly, UnsupportedFeature
from vhdx.extents import Presence, Range
from vhdx.format import log
from vhdx.image.base import LogState
from vhdx.image.blocks import BlockImage
from vhdx.storage.transfer import pread, pwrite

GUID = UUID(int=0xD1E7)
TIB = 1 << 40


def put(image: BlockImage, offset: int, data: bytes) -> None:
    with image.allocate([Range(offset, len(data))]) as places:
        for place in places:
            assert place.file_offset is not None
            pwrite(image.storage, place.file_offset, data[place.offset - offset :][: place.length])


def content(files: MemoryFileSystem, path: str = "disk.vhdx") -> bytes:
    with disk(files, path) as chain:
        return chain.read(0, chain.size)


def dirty(files: MemoryFileSystem, size: int = 8 * MIB, *, commits: int = 3) -> tuple[Forge, bytes]:
    """An image whose last commits are in the log alone, and its content."""
    made = forge.create(files, size)
    expected = bytearray(size)
    image = writer(files)
    for number in range(commits):
        data = pattern(number + 1, MIB + 4096)
        put(image, number * MIB, data)
        expected[number * MIB : number * MIB + len(data)] = data
        image.flush()
    image.abandon()
    assert made.spoil_logged_pages()
    return made, bytes(expected[:size])


def inject(made: Forge, *changes: tuple[int, bytes | int], flushed: int = 0, last: int = 0, guid: UUID = GUID) -> None:
    """Put a log of one entry with these changes into use."""
    entry = raw.log_entry(guid, 5, *changes, flushed=flushed, last=last)
    made.write(MIB, entry)
    made.change_header(48, GUID.bytes_le)


def test_a_reader_sees_the_log_and_leaves_the_file_alone() -> None:
    files = MemoryFileSystem()
    made, expected = dirty(files)
    before = made.everything
    image = reader(files)
    assert (image.info.log, image.info.log_entries) == (LogState.DIRTY, 1)
    image.close()
    assert content(files) == expected
    assert made.everything == before


def test_a_view_is_for_reading_only() -> None:
    files = MemoryFileSystem()
    dirty(files)
    image = reader(files)
    with pytest.raises(ReadOnly):
        image.zero(0, MIB)
    with pytest.raises(ReadOnly):
        image.storage.write([(4 * MIB, b"x")])
    image.close()


def test_opening_for_writing_replays() -> None:
    files = MemoryFileSystem()
    made, expected = dirty(files)
    written = made.file_write_guid, made.data_write_guid
    image = writer(files, start=600)
    assert image.info.log is LogState.CLEAN
    assert made.log_guid == UUID(int=0), "settled as soon as the image is open"
    image.close()
    assert all(made.header_valid(slot) for slot in (0, 1))
    assert made.file_write_guid != written[0]
    assert made.data_write_guid == written[1], "replaying changes nothing that the guest sees"
    assert content(files) == expected


def test_writing_goes_on_after_a_replay() -> None:
    files = MemoryFileSystem()
    made, expected = dirty(files)
    with disk(files, writable=1, start=600) as chain:
        chain.write(5 * MIB, pattern(9, MIB))
        chain.flush()
        chain.write(MIB, pattern(8, MIB))
    expected = expected[:MIB] + pattern(8, MIB) + expected[2 * MIB : 5 * MIB] + pattern(9, MIB) + expected[6 * MIB :]
    assert content(files) == expected
    assert made.log_guid == UUID(int=0)
    assert made.size % MIB == 0


def test_every_position_of_a_changed_entry_in_its_page() -> None:
    """Block *n*'s entry is number *n* mod 512 of a page; its neighbours are there already."""
    blocks = 520
    base = MemoryFileSystem()
    made = forge.create(base, blocks * MIB)
    image = writer(base)
    data = {block: pattern(block, 512) for block in range(0, blocks, 3)}
    for block, sector in data.items():
        put(image, block * MIB, sector)
    image.close()
    states = base.snapshot()
    for block in range(513):
        files = MemoryFileSystem({path: pages.copy() for path, pages in states.items()})
        made = Forge(files)
        image = writer(files, start=600)
        image.zero(block * MIB, MIB) if block in data else put(image, block * MIB, pattern(999, 512))
        image.flush()
        image.abandon()
        made.spoil_logged_pages()
        wanted = {other: sector for other, sector in data.items() if other != block}
        if block not in data:
            wanted[block] = pattern(999, 512)
        check_blocks(files, block, wanted)
        if block % 16 == 0:
            writer(files, start=800).close()
            assert made.log_guid == UUID(int=0)
            check_blocks(files, block, wanted)


def check_blocks(files: MemoryFileSystem, changed: int, wanted: dict[int, bytes]) -> None:
    image = reader(files)
    for block in (*range(max(changed - 3, 0), changed + 4), 0, 511, 512):
        found = next(iter(image.extents(block * MIB, 512)))
        if block in wanted:
            assert found.presence is Presence.DATA
            assert found.file_offset is not None
            assert pread(image.storage, found.file_offset, 512) == wanted[block]
        else:
            assert found.presence is (Presence.ZERO if block == changed else Presence.NOT_PRESENT)
    image.close()


def test_a_log_that_went_round_many_times() -> None:
    files = MemoryFileSystem()
    made = forge.create(files, 64 * MIB, path="base.vhdx")
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    made = Forge(files)
    chance = random.Random(1)
    expected = bytearray(64 * MIB)
    image = writer(files)
    for number in range(150):
        for _ in range(chance.randrange(1, 9)):
            offset = chance.randrange(64 * MIB // 4096) * 4096
            data = pattern(number, 4096)
            put(image, offset, data)
            expected[offset : offset + 4096] = data
        image.flush()
    ring = made.read(MIB, MIB)
    assert ring[-PAGE:] != bytes(PAGE), "the ring was filled to its end"
    image.abandon()
    assert made.spoil_logged_pages()
    assert content(files) == bytes(expected)
    writer(files, start=600).close()
    assert content(files) == bytes(expected)


def test_large_commits_are_cut_to_what_the_log_holds() -> None:
    files = MemoryFileSystem()
    forge.create(files, 1 << 40, path="base.vhdx", block=MIB)
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    image = writer(files)
    places = [number * (1 << 30) for number in range(300)]
    for offset in places:
        put(image, offset, pattern(offset >> 30, 512))
    image.flush()
    image.abandon()
    Forge(files).spoil_logged_pages()
    with disk(files) as chain:
        for offset in places:
            assert chain.read(offset, 1024) == pattern(offset >> 30, 512) + bytes(512)


def test_a_file_that_ends_inside_its_last_block_is_grown_to_hold_it() -> None:
    """As qemu leaves them; without it, what a later growth of the disk gains would lie beyond end of file."""
    files = MemoryFileSystem()
    size = MIB + 64 * 1024
    made = forge.create(files, size)
    image = writer(files)
    put(image, 0, pattern(1, size))
    image.close()
    made.truncate(made.size - MIB + 64 * 1024)
    page = made.read(made.bat, PAGE)
    inject(made, (made.bat, page), last=made.size)
    with disk(files, writable=1) as chain:
        chain.leaf.resize(2 * MIB)
        assert chain.read(0, 2 * MIB) == pattern(1, size).ljust(2 * MIB, b"\0")
    assert content(files) == pattern(1, size).ljust(2 * MIB, b"\0")


def test_a_log_in_use_without_a_sequence_is_refused() -> None:
    files = MemoryFileSystem()
    made, _ = dirty(files)
    made.write(MIB, bytes(MIB))
    before = made.everything
    for opening in (reader, writer):
        with pytest.raises(FormatError, match=r"disk\.vhdx: log at offset 1048576.*no valid sequence"):
            opening(files)
    assert made.everything == before


def test_a_file_that_was_cut_off_is_refused() -> None:
    files = MemoryFileSystem()
    made, _ = dirty(files)
    made.truncate(made.size - MIB)
    before = made.everything
    for opening in (reader, writer):
        with pytest.raises(FormatError, match="file truncated: "):
            opening(files)
    assert made.everything == before


@pytest.mark.parametrize(
    ("offset", "change"),
    [(64 << 10, bytes(PAGE)), (0, PAGE), (MIB, bytes(PAGE)), (MIB // 2, 2 * MIB), (TIB, bytes(PAGE)), (3 * MIB, TIB)],
)
def test_hostile_targets_are_refused_and_nothing_is_written(offset: int, change: bytes | int) -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    inject(made, (3 * MIB, bytes(PAGE)), (offset, change), last=made.size)
    before = made.everything
    for opening in (reader, writer):
        with pytest.raises(FormatError, match=r"disk\.vhdx: log entry"):
            opening(files)
    assert made.everything == before


def test_a_log_that_breaks_the_metadata_is_refused_and_nothing_is_written() -> None:
    for target in (192 << 10, 2 * MIB):
        files = MemoryFileSystem()
        made = forge.create(files)
        inject(made, (target, b"\xee" * PAGE), ((192 << 10) + 65536, b"\xee" * PAGE), last=made.size)
        before = made.everything
        for opening in (reader, writer):
            with pytest.raises(FormatError):
                opening(files)
        assert made.everything == before


def test_a_log_that_lays_two_blocks_on_each_other_is_not_replayed() -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, MIB))
    page = bytearray(made.read(made.bat, PAGE))
    page[8:16] = page[:8]
    inject(made, (made.bat, bytes(page)), last=made.size)
    before = made.everything
    with pytest.raises(FormatError, match="belongs to something else"):
        writer(files)
    assert made.everything == before
    assert content(files)[: 2 * MIB] == pattern(1, MIB) * 2


def test_the_file_grows_to_where_the_log_says() -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    page = bytearray(made.read(made.bat, PAGE))
    page[:8] = (6 | 6 * MIB).to_bytes(8, "little")
    inject(made, (made.bat, bytes(page)), last=7 * MIB)
    size = made.size
    assert content(files) == bytes(8 * MIB)
    assert made.size == size
    writer(files).close()
    assert made.size == 7 * MIB
    assert content(files) == bytes(8 * MIB)


def test_zero_ranges_are_replayed() -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    start = made.entry(0) >> 20 << 20
    inject(made, (start + 8192, 4096), (start + 65536, b"\x11" * PAGE), last=made.size)
    expected = bytearray(pattern(1, 2 * MIB))
    expected[8192:12288] = bytes(4096)
    expected[65536 : 65536 + PAGE] = b"\x11" * PAGE
    assert content(files)[: 2 * MIB] == expected
    writer(files).close()
    assert content(files)[: 2 * MIB] == expected


def test_a_log_may_not_blow_the_file_up() -> None:
    for last in (1 << 63, 2 << 40, 8 << 30):
        files = MemoryFileSystem()
        made = forge.create(files)
        inject(made, (3 * MIB, bytes(PAGE)), last=last)
        size = made.size
        with pytest.raises((FormatError, UnsupportedFeature)):
            writer(files)
        assert made.size == size


def test_a_log_version_that_is_not_known_is_refused_only_when_in_use() -> None:
    files = MemoryFileSystem()
    made, expected = dirty(files)
    made.change_header(64, b"\1\0")
    for opening in (reader, writer):
        with pytest.raises(UnsupportedFeature, match="log"):
            opening(files)
    made.change_header(64, b"\0\0")
    writer(files, start=600).close()
    made.change_header(64, b"\1\0")
    assert content(files) == expected


def test_stale_entries_of_former_sessions_do_not_come_back() -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    for session in range(4):
        image = writer(files, start=600 + 50 * session)
        put(image, session * MIB, pattern(session + 1, MIB))
        image.close()
    image = writer(files, start=900)
    put(image, 0, pattern(77, MIB))
    image.zero(MIB, MIB)
    image.flush()
    image.abandon()
    made.spoil_logged_pages()
    assert content(files)[: 4 * MIB] == pattern(77, MIB) + bytes(MIB) + pattern(3, MIB) + pattern(4, MIB)
    ring = made.read(MIB, MIB)
    assert len(log.scan(ring, made.log_guid)) == 1
