"""Opening: what is verified, what reading leaves alone, what writing does first."""

import struct
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.format.raw import BAT_REGION, METADATA_REGION, MIB
from tests.image import forge
from tests.image.forge import HEADERS, REGION_TABLES, Forge, reader, writer
from tests.support.disks import counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error, FormatError, Poisoned, ReadOnly, UnsupportedFeature
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, DiskType, Image, LogState
from vhdx.image.open import open_image
from vhdx.image.vhdx.create import create_vhdx
from vhdx.storage.base import Access

STRANGE = UUID(int=0x5757)


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def image(files: MemoryFileSystem) -> Forge:
    """8 MiB with data in the first two."""
    made = forge.create(files)
    with forge.disk(files, writable=1) as disk:
        disk.write(0, pattern(1, 2 * MIB))
    return made


def content(files: MemoryFileSystem) -> bytes:
    with forge.disk(files) as disk:
        return disk.read(0, disk.size)


def put(image: Image, offset: int, data: bytes) -> None:
    with image.allocate([Range(offset, len(data))]) as places:
        for place in places:
            assert place.file_offset is not None
            start = place.offset - offset
            image.storage.write([(place.file_offset, data[start : start + place.length])])


def test_a_new_image_says_what_it_is(files: MemoryFileSystem) -> None:
    options = CreateOptions(
        block_size=2 * MIB, logical_sector_size=4096, physical_sector_size=4096, log_length=2 * MIB, creator="a test"
    )
    image = create_vhdx(
        files.create("disk.vhdx"), size=5 * MIB, disk_id=UUID(int=9), new_id=counting_ids(), options=options
    )
    image.close()
    info = forge.engine().info(files, "disk.vhdx")
    assert (info.format, info.type, info.virtual_size, info.block_size) == ("vhdx", DiskType.DYNAMIC, 5 * MIB, 2 * MIB)
    assert (info.logical_sector_size, info.physical_sector_size, info.creator) == (4096, 4096, "a test")
    assert (info.disk_id, info.log, info.log_entries, info.parent) == (UUID(int=9), LogState.CLEAN, 0, None)


def test_a_new_image_is_laid_out_as_windows_does_it(files: MemoryFileSystem) -> None:
    made = forge.create(files, block=32 * MIB)
    assert made.region(BAT_REGION) == (3 * MIB, MIB)
    assert made.region(METADATA_REGION) == (2 * MIB, MIB)
    assert made.read(REGION_TABLES[0], 65536) == made.read(REGION_TABLES[1], 65536)
    assert (made.number(HEADERS[0] + 68, 4), made.number(HEADERS[0] + 72)) == (MIB, MIB)
    assert all(made.header_valid(slot) for slot in (0, 1))
    assert made.sequence_number(1) == made.sequence_number(0) + 1
    assert made.size == 4 * MIB
    assert made.read(8, 4) == "py".encode("utf-16-le")


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (0, CreateOptions()),
        (-512, CreateOptions()),
        (513, CreateOptions()),
        (512, CreateOptions(logical_sector_size=4096)),
        ((64 << 40) + 512, CreateOptions()),
        (MIB, CreateOptions(block_size=MIB // 2)),
        (MIB, CreateOptions(block_size=3 * MIB)),
        (MIB, CreateOptions(block_size=512 * MIB)),
        (MIB, CreateOptions(logical_sector_size=1024)),
        (MIB, CreateOptions(physical_sector_size=8192)),
        (MIB, CreateOptions(log_length=0)),
        (MIB, CreateOptions(log_length=MIB + 4096)),
    ],
)
def test_impossible_shapes_are_refused_and_leave_nothing(
    files: MemoryFileSystem, size: int, options: CreateOptions
) -> None:
    with pytest.raises(Error):
        forge.engine().create(files, "disk.vhdx", size, options)
    assert files.list("") == []


def test_what_is_no_vhdx_is_refused(files: MemoryFileSystem) -> None:
    samples = {
        "empty": b"",
        "short": b"vhdx",
        "only the signature": b"vhdxfile",
        "raw": bytes(4 * MIB),
        "cut": b"vhdxfile" + bytes(MIB - 9),
        "qcow2": b"QFI\xfb" + bytes(1000),
    }
    for name, data in samples.items():
        storage = files.create(name)
        storage.write([(0, data)])
        storage.close()
        with pytest.raises(FormatError, match=name):
            open_image(files.open(name, Access.WRITE), new_id=counting_ids())
        files.remove(name)  # would be InUse if the storage had stayed open


def test_a_broken_vhd_is_refused_by_name(files: MemoryFileSystem) -> None:
    for data in (b"conectix" + bytes(2000), bytes(2048) + b"conectix" + bytes(504)):
        storage = files.create("disk.vhd")
        storage.write([(0, data)])
        storage.close()
        with pytest.raises(FormatError, match=r"disk\.vhd"):
            open_image(files.open("disk.vhd", Access.READ), new_id=counting_ids())
        files.remove("disk.vhd")


def test_reading_changes_nothing(files: MemoryFileSystem, image: Forge) -> None:
    before = image.everything
    opened = reader(files)
    changes: list[Callable[[], object]] = [
        lambda: opened.zero(0, MIB),
        lambda: opened.discard(0, MIB),
        lambda: opened.resize(16 * MIB),
        opened.begin,
        lambda: put(opened, 0, bytes(512)),
    ]
    for change in changes:
        with pytest.raises(ReadOnly, match=r"disk\.vhdx"):
            change()
    opened.flush()
    opened.close()
    assert image.everything == before


def test_opening_for_writing_changes_nothing_by_itself(files: MemoryFileSystem, image: Forge) -> None:
    before = image.everything
    opened = writer(files)
    list(opened.extents(0, 8 * MIB))
    opened.flush()
    opened.close()
    assert image.everything == before


def test_the_first_change_brings_new_write_guids_once(files: MemoryFileSystem, image: Forge) -> None:
    before = image.file_write_guid, image.data_write_guid
    opened = writer(files)
    put(opened, 0, bytes(512))
    first = opened.info.linkage
    put(opened, 512, bytes(512))
    opened.flush()
    put(opened, 4 * MIB, bytes(512))
    assert opened.info.linkage == first
    opened.close()
    assert image.file_write_guid != before[0]
    assert image.data_write_guid == first != before[1]


def test_the_headers_are_newer_before_the_first_byte_of_data_changes(files: MemoryFileSystem, image: Forge) -> None:
    before = image.data_write_guid
    opened = writer(files)
    with opened.allocate([Range(0, 512)]):
        assert image.data_write_guid != before
    opened.abandon()


def test_a_chosen_data_write_guid(files: MemoryFileSystem, image: Forge) -> None:
    opened = writer(files)
    opened.begin(data_write_guid=UUID(int=0x77))
    put(opened, 0, bytes(512))
    opened.close()
    assert image.data_write_guid == UUID(int=0x77)


def test_a_torn_newest_header_leaves_the_older(files: MemoryFileSystem, image: Forge) -> None:
    image.write(image.current_header + 200, b"x")
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    with forge.disk(files, writable=1) as disk:
        disk.write(MIB, b"new")
    assert all(image.header_valid(slot) for slot in (0, 1))
    assert content(files)[MIB : MIB + 3] == b"new"


def test_identical_headers_are_accepted_and_written_on(files: MemoryFileSystem, image: Forge) -> None:
    image.write(HEADERS[0], image.read(HEADERS[1], 4096))
    number = image.sequence_number(0)
    with forge.disk(files, writable=1) as disk:
        disk.write(0, b"new")
    assert {image.sequence_number(0), image.sequence_number(1)}.isdisjoint({number})
    assert content(files)[:3] == b"new"


def test_the_last_sequence_number_is_refused_on_writing(files: MemoryFileSystem, image: Forge) -> None:
    image.change_header(8, b"\xff" * 8, slots=(1,))
    before = image.everything
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    opened = writer(files)
    with pytest.raises(FormatError, match="sequence number"):
        put(opened, 0, bytes(512))
    opened.close()
    assert image.everything == before


def test_headers_of_other_versions_are_refused(files: MemoryFileSystem, image: Forge) -> None:
    image.change_header(66, struct.pack("<H", 2))
    with pytest.raises(UnsupportedFeature, match=r"disk\.vhdx.*version 2"):
        reader(files)


def test_the_second_region_table_serves_when_the_first_is_broken(files: MemoryFileSystem, image: Forge) -> None:
    image.write(REGION_TABLES[0], bytes(65536))
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    image.write(REGION_TABLES[1] + 20, b"x")
    with pytest.raises(FormatError, match=r"disk\.vhdx: region table at offset 196608"):
        reader(files)


def test_region_flags_and_unknown_regions(files: MemoryFileSystem, image: Forge) -> None:
    bat, metadata = (BAT_REGION, 3 * MIB, MIB), (METADATA_REGION, 2 * MIB, MIB)
    image.truncate(7 * MIB)
    strange = (STRANGE, 6 * MIB, MIB)
    image.set_regions((*bat, 0), (*metadata, 0), (*strange, 0))
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    image.write(6 * MIB, b"precious" * 1000)
    with forge.disk(files, writable=1) as disk:
        disk.write(3 * MIB, pattern(2, 4 * MIB))
    assert image.read(6 * MIB, 8000) == b"precious" * 1000, "a region that is not ours stays as it is"
    assert content(files)[3 * MIB : 7 * MIB] == pattern(2, 4 * MIB)
    image.set_regions((*bat, 1), (*metadata, 1), (*strange, 1))
    with pytest.raises(UnsupportedFeature, match=str(STRANGE)):
        reader(files)


def test_metadata_items(files: MemoryFileSystem, image: Forge) -> None:
    table = image.metadata
    entry = table + 32 + 5 * 32
    image.write(entry, image.read(entry - 32, 32))
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB), "a stale copy behind the counted entries"
    image.write(entry, STRANGE.bytes_le + struct.pack("<IIII", 0x20000, 16, 0, 0))
    image.write(table + 10, struct.pack("<H", 6))
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB), "an unknown item that is optional"
    image.write(entry + 24, struct.pack("<I", 4))
    with pytest.raises(UnsupportedFeature, match=str(STRANGE)):
        reader(files)


@pytest.mark.parametrize(
    ("place", "data"),
    [(0, b"M"), (10, b"\xff\xff"), (32, bytes(16)), (48, b"\xff" * 4), (52, b"\x09"), (56, b"\xff"), (65536, b"\3")],
)
def test_broken_metadata_is_refused(files: MemoryFileSystem, image: Forge, place: int, data: bytes) -> None:
    image.write(image.metadata + place, data)
    with pytest.raises(FormatError, match=r"disk\.vhdx: metadata") as caught:
        reader(files)
    assert caught.value.offset is not None
    assert image.metadata <= caught.value.offset < image.metadata + MIB


@pytest.mark.parametrize(
    ("index", "raw"), [(0, 4), (0, 5), (0, 7 | 4 * MIB), (0, 6), (0, 2 | 4 * MIB), (0, 14 | 4 * MIB)]
)
def test_a_bad_entry_hides_only_its_block(files: MemoryFileSystem, image: Forge, index: int, raw: int) -> None:
    image.set_entry(index, raw)
    opened = reader(files)
    with pytest.raises(FormatError) as caught:
        list(opened.extents(0, 8 * MIB))
    assert (caught.value.structure, caught.value.offset) == ("BAT entry", image.bat + 8 * index)
    opened.close()
    with forge.disk(files) as disk:
        assert disk.read(MIB, MIB) == pattern(1, 2 * MIB)[MIB:]
    before = image.everything
    opened = writer(files)
    with pytest.raises(FormatError, match="entry 0"):
        put(opened, 4 * MIB, bytes(512))
    opened.close()
    assert image.everything == before


def test_a_complaint_names_the_file_at_any_time(files: MemoryFileSystem, image: Forge) -> None:
    image.set_entry(0, 5)
    opened = reader(files)
    with pytest.raises(FormatError, match=r"disk\.vhdx"):
        list(opened.extents(0, MIB))
    opened.close()
    opened = writer(files)
    with pytest.raises(FormatError, match=r"disk\.vhdx"):
        put(opened, 4 * MIB, bytes(512))
    opened.close()


def test_padding_entries_are_no_entries(files: MemoryFileSystem, image: Forge) -> None:
    image.write(image.bat + 8 * 8, b"\xff" * 4000)
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    with forge.disk(files, writable=1) as disk:
        disk.write(7 * MIB, pattern(3, MIB))
    assert content(files)[7 * MIB :] == pattern(3, MIB)


@pytest.mark.parametrize("state", [0, 1, 2, 3])
def test_states_without_data_read_as_zeros(files: MemoryFileSystem, image: Forge, state: int) -> None:
    image.set_entry(0, state)
    assert content(files)[:MIB] == bytes(MIB)
    with forge.disk(files, writable=1) as disk:
        disk.write(4096, b"part")
    assert content(files)[:MIB] == (bytes(4096) + b"part").ljust(MIB, b"\0")


@pytest.mark.parametrize("state", [0, 1, 3])
def test_a_block_that_kept_its_place_shows_nothing_old(files: MemoryFileSystem, image: Forge, state: int) -> None:
    image.set_entry(0, image.entry(0) & ~7 | state)
    assert content(files)[:MIB] == bytes(MIB)
    with forge.disk(files, writable=1) as disk:
        disk.write(4096, b"part")
        disk.write(5 * MIB, pattern(5, MIB))
    expected = (bytes(4096) + b"part").ljust(MIB, b"\0") + pattern(1, 2 * MIB)[MIB:]
    assert content(files) == expected + bytes(3 * MIB) + pattern(5, MIB) + bytes(2 * MIB)


def test_requests_outside_the_disk_or_not_in_sectors_are_refused(files: MemoryFileSystem, image: Forge) -> None:
    opened = writer(files)
    for offset, length in ((8 * MIB, 512), (-512, 512), (0, 9 * MIB), (1, 512), (0, 511)):
        with pytest.raises(Error):
            list(opened.extents(offset, length))
        with pytest.raises(Error):
            opened.zero(offset, length)
        with pytest.raises(Error):
            put(opened, offset, bytes(length))
    opened.close()


def test_a_file_without_a_log_is_for_reading_only(files: MemoryFileSystem, image: Forge) -> None:
    image.change_header(68, bytes(4))
    assert content(files)[: 2 * MIB] == pattern(1, 2 * MIB)
    with pytest.raises(UnsupportedFeature, match="log"):
        writer(files)


def test_a_fixed_image_keeps_its_space(files: MemoryFileSystem) -> None:
    made = forge.create(files, 4 * MIB)
    with forge.disk(files, writable=1) as disk:
        disk.write(0, pattern(1, 4 * MIB))
    made.write(made.metadata + 65536 + 4, b"\1")
    size = made.size
    assert forge.engine().info(files, "disk.vhdx").type is DiskType.FIXED
    with forge.disk(files, writable=1) as disk:
        disk.discard(0, 2 * MIB)
        disk.zero(2 * MIB, 2 * MIB)
    assert content(files)[2 * MIB :] == bytes(2 * MIB)
    assert made.size >= size, "MS-VHDX 2.6.2.1: the file must not become too small for all blocks"


def test_poisoned_images_say_so(files: MemoryFileSystem, image: Forge) -> None:
    opened = writer(files)
    with pytest.raises(OSError, match="broken"), opened.allocate([Range(0, 512)]):
        raise OSError("broken")
    for change in (opened.flush, lambda: opened.zero(0, MIB), lambda: put(opened, 0, bytes(512))):
        with pytest.raises(Poisoned, match="open it again"):
            change()
    opened.close()
