"""Which footer counts, what is refused, and what may be read but not written."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.vhd_forge import VhdDisk, chain_of, file_bytes, info_of, make, opened, patch, vhd_id
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.errors import Error, FormatError, ReadOnly, UnsupportedFeature
from vhdx.extents import Presence, Range
from vhdx.format import vhd_checksum, vhd_footer, vhd_header
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.image.marks import is_vhd
from vhdx.image.vhd.open import open_vhd
from vhdx.storage.base import Access, Storage
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import NativeEngine

BLOCK = 64 << 10


def some_disk(kind: str = "dynamic", size: int = 20 * BLOCK) -> tuple[MemoryFileSystem, VhdDisk]:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, size, kind=kind, block_size=BLOCK)
    disk.write(BLOCK, pattern(1, 5 * BLOCK + 1024))
    disk.close()
    return files, disk


def cut(files: MemoryFileSystem, path: str, size: int) -> None:
    storage = files.open(path, Access.WRITE)
    storage.truncate(size if size >= 0 else storage.size() + size)
    storage.close()


def reseal_footer(files: MemoryFileSystem, path: str, offset: int, put: bytes) -> None:
    """Change both footers, or the one of a fixed image, and make their checksums right."""
    data = bytearray(file_bytes(files, path)[-512:])
    data[offset : offset + len(put)] = put
    whole = vhd_checksum.seal(bytes(data), field=64)
    fixed = data[63] == 2
    patch(files, path, -512, whole)
    if not fixed:
        patch(files, path, 0, whole)


def reseal_header(files: MemoryFileSystem, path: str, offset: int, put: bytes) -> None:
    data = bytearray(file_bytes(files, path)[512:1536])
    data[offset : offset + len(put)] = put
    patch(files, path, 512, vhd_checksum.seal(bytes(data), field=36))


def entry(files: MemoryFileSystem, path: str, block: int, value: int) -> None:
    table = vhd_header.parse(file_bytes(files, path)[512:1536], 512).header.table_offset
    patch(files, path, table + block * 4, value.to_bytes(4, "big"))


def reads_as_before(files: MemoryFileSystem, disk: VhdDisk) -> tuple[str, ...]:
    """The content is that of the model and the files are untouched; the warnings of the leaf."""
    before = {path: file_bytes(files, path) for path in disk.paths}
    with chain_of(files, disk.paths) as chain:
        assert chain.read(0, chain.size) == bytes(disk.contents[0])
        warnings = chain.leaf.info.warnings
    assert before == {path: file_bytes(files, path) for path in disk.paths}
    return warnings


def mended(files: MemoryFileSystem, disk: VhdDisk) -> None:
    """A writer puts the footers right as soon as it has opened the file."""
    opened(files, disk.paths[0], writable=True).close()
    data = file_bytes(files, disk.paths[0])
    assert data[:512] == data[-512:]
    assert len(data) % 4096 == 0
    assert reads_as_before(files, disk) == ()
    disk.write(7 * BLOCK + 512, pattern(9, 3 * BLOCK))
    disk.check()


DAMAGES: list[Callable[[MemoryFileSystem, str], None]] = [
    lambda files, path: patch(files, path, -512, bytes(512)),
    lambda files, path: patch(files, path, -512 + 70, b"xx"),
    lambda files, path: patch(files, path, -512, pattern(3, 512)),
    lambda files, path: cut(files, path, -512),
    lambda files, path: cut(files, path, -1),
    lambda files, path: cut(files, path, -300),
    lambda files, path: cut(files, path, len(file_bytes(files, path)) + MIB),
]


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_the_copy_serves_where_the_footer_is_lost(kind: str, number: int) -> None:
    files, disk = some_disk(kind)
    DAMAGES[number](files, disk.paths[0])
    # Cut by one byte, it is a footer of the old length.
    assert any("at the end" in warning for warning in reads_as_before(files, disk)) or number == 4
    mended(files, disk)


def test_the_footer_at_the_end_counts_where_the_copy_is_lost() -> None:
    files, disk = some_disk()
    patch(files, "0.vhd", 0, bytes(512))
    assert any("copy" in warning for warning in reads_as_before(files, disk))
    mended(files, disk)


def test_of_two_different_footers_the_one_at_the_end_counts() -> None:
    files, disk = some_disk()
    footer = vhd_footer.parse(file_bytes(files, "0.vhd")[:512], 0).footer
    patch(files, "0.vhd", 0, vhd_footer.build(replace(footer, current_size=512)))
    assert info_of(files, "0.vhd").virtual_size == 20 * BLOCK
    assert any("copy" in warning for warning in reads_as_before(files, disk))
    mended(files, disk)


def test_both_footers_gone() -> None:
    files, _ = some_disk()
    patch(files, "0.vhd", 0, bytes(512))
    patch(files, "0.vhd", -512, bytes(512))
    storage = files.open("0.vhd", Access.READ)
    assert not is_vhd(storage)
    with pytest.raises(FormatError, match="no footer"):
        open_vhd(storage, new_id=counting_ids())


def test_a_copy_that_calls_the_disk_fixed_is_refused() -> None:
    """A guest can write one into the first sector of its disk."""
    files, _ = some_disk("fixed")
    footer = file_bytes(files, "0.vhd")[-512:]
    patch(files, "0.vhd", 0, footer)
    cut(files, "0.vhd", -512)
    storage = files.open("0.vhd", Access.READ)
    assert is_vhd(storage)
    with pytest.raises(FormatError, match="no footer"):
        open_vhd(storage, new_id=counting_ids())


def test_a_footer_of_a_guest_at_the_start_of_a_fixed_disk() -> None:
    files, disk = some_disk("fixed")
    dynamic = vhd_footer.new_footer(vhd_footer.VhdType.DYNAMIC, MIB, vhd_id(9), data_offset=512, stamp=0)
    disk.write(0, vhd_footer.build(dynamic))
    disk.check()
    assert info_of(files, "0.vhd").type is DiskType.FIXED


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_footer_of_511_bytes(kind: str) -> None:
    files, disk = some_disk(kind)
    cut(files, "0.vhd", -1)
    storage = files.open("0.vhd", Access.READ)
    assert is_vhd(storage)
    storage.close()
    assert reads_as_before(files, disk) == ()
    disk.write(512, pattern(4, 4 * BLOCK))
    disk.check()
    disk.resize(30 * BLOCK)
    disk.check()


@pytest.mark.parametrize("size", [0, 1, 511])
def test_files_that_are_too_short(size: int) -> None:
    files = MemoryFileSystem()
    files.create("0.vhd").close()
    patch(files, "0.vhd", 0, b"conectix".ljust(512, b"\0")[:size])
    with pytest.raises(FormatError):
        opened(files, "0.vhd")


@pytest.mark.parametrize("place", [0, -512])
def test_what_vhd_util_left_unfinished_is_refused(place: int) -> None:
    files, _ = some_disk()
    patch(files, "0.vhd", place, b"v_poison")
    storage = files.open("0.vhd", Access.READ)
    assert is_vhd(storage)
    with pytest.raises(FormatError, match="vhd-util"):
        open_vhd(storage, new_id=counting_ids())


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_saved_state_is_not_written_under(kind: str) -> None:
    files, disk = some_disk(kind)
    reseal_footer(files, "0.vhd", 84, b"\1")
    assert any("state was saved" in warning for warning in reads_as_before(files, disk))
    with pytest.raises(Error, match="state was saved"):
        opened(files, "0.vhd", writable=True)
    assert files.open("0.vhd", Access.WRITE), "the file was given back"


@pytest.mark.parametrize("damage", ["footer", "header"])
def test_a_wrong_checksum_is_read_but_not_written(damage: str) -> None:
    files, disk = some_disk()
    places = [64, len(file_bytes(files, "0.vhd")) - 512 + 64] if damage == "footer" else [512 + 36]
    for place in places:
        patch(files, "0.vhd", place, b"\1\2\3\4")
    assert any(f"checksum of the {damage}" in text or "dynamic header" in text for text in reads_as_before(files, disk))
    with pytest.raises(Error, match="repair it first"):
        opened(files, "0.vhd", writable=True)


def test_the_size_that_the_geometry_gives_is_only_mentioned() -> None:
    files, disk = some_disk()
    reseal_footer(files, "0.vhd", 28, b"vpc ")
    assert any("geometry" in warning for warning in reads_as_before(files, disk))
    opened(files, "0.vhd", writable=True).close()


@pytest.mark.parametrize(
    ("offset", "put", "reason"),
    [
        (16, (0).to_bytes(8, "big"), "overlap a header"),
        (16, (1024).to_bytes(8, "big"), "overlap a header"),
        (16, (1 << 40).to_bytes(8, "big"), "beyond end of file"),
        (28, (3).to_bytes(4, "big"), "too few"),
        (32, (3 << 12).to_bytes(4, "big"), "power of two"),
        (32, (4096).to_bytes(4, "big"), "too few"),
    ],
)
def test_headers_that_cannot_be(offset: int, put: bytes, reason: str) -> None:
    files, _ = some_disk()
    reseal_header(files, "0.vhd", offset, put)
    with pytest.raises(FormatError, match=reason) as caught:
        opened(files, "0.vhd")
    assert "0.vhd" in str(caught.value)
    assert "VHD 1.0" in str(caught.value)


def test_a_header_behind_the_end() -> None:
    files, _ = some_disk()
    reseal_footer(files, "0.vhd", 16, (1 << 40).to_bytes(8, "big"))
    with pytest.raises(FormatError, match="beyond end"):
        opened(files, "0.vhd")


def test_a_fixed_disk_that_does_not_fit_into_its_file() -> None:
    files, _ = some_disk("fixed")
    reseal_footer(files, "0.vhd", 48, (21 * BLOCK).to_bytes(8, "big"))
    with pytest.raises(FormatError, match="does not fit"):
        opened(files, "0.vhd")


def test_an_entry_too_many_and_padding_of_zeros() -> None:
    """As older qemu and Disk2vhd write them; neither is an entry of the disk."""
    files, disk = some_disk()
    reseal_header(files, "0.vhd", 28, (21).to_bytes(4, "big"))
    for block in range(20, 128):
        entry(files, "0.vhd", block, 0)
    assert reads_as_before(files, disk) == ()
    disk.resize(25 * BLOCK)
    disk.write(22 * BLOCK, pattern(1, 512))
    disk.check()


@pytest.mark.parametrize(
    ("value", "readable"),
    [(0, False), (1, False), (3, False), (0xFFFFFFF0, False), (8, True), (7 + 129, True)],
)
def test_entries_that_cannot_be(value: int, readable: bool) -> None:
    """Only the one block cannot be read, at most; and nothing is written over two structures on one place."""
    files, disk = some_disk()
    entry(files, "0.vhd", 10, value)
    with chain_of(files, ["0.vhd"]) as chain:
        assert chain.read(0, 10 * BLOCK) == bytes(disk.contents[0][: 10 * BLOCK])
        if readable:
            assert len(chain.read(10 * BLOCK, BLOCK)) == BLOCK
        else:
            with pytest.raises(FormatError, match="entry 10"):
                chain.read(10 * BLOCK, BLOCK)
    before = file_bytes(files, "0.vhd")
    with chain_of(files, ["0.vhd"], writable=1) as chain, pytest.raises(FormatError):
        chain.write(0, b"x")
    assert file_bytes(files, "0.vhd") == before


def test_a_block_under_the_footer() -> None:
    files, _ = some_disk()
    size = len(file_bytes(files, "0.vhd"))
    entry(files, "0.vhd", 10, (size - BLOCK - 512) // 512)
    entry(files, "0.vhd", 6, 0xFFFFFFFF)
    entry(files, "0.vhd", 5, 0xFFFFFFFF)
    with chain_of(files, ["0.vhd"], writable=1) as chain, pytest.raises(FormatError, match="footer"):
        chain.write(0, b"x")


def test_a_disk_of_type_4_always_has_a_parent() -> None:
    files, disk = some_disk("differencing")
    patch(files, disk.paths[0], 4096, b"\xff\xd8" * 30)
    reseal_header(files, disk.paths[0], 40, bytes(16))
    info = info_of(files, disk.paths[0])
    assert info.type is DiskType.DIFFERENCING
    assert info.parent is not None
    assert info.parent.linkage.int == 0
    assert set(info.parent.paths) == {"relative_path", "parent_name"}
    assert any("W2ku" in warning for warning in info.warnings)


def test_a_locator_outside_the_file() -> None:
    files, disk = some_disk("differencing")
    reseal_header(files, disk.paths[0], 576 + 16, (1 << 60).to_bytes(8, "big"))
    info = info_of(files, disk.paths[0])
    assert info.parent is not None
    assert "absolute_win32_path" not in info.parent.paths
    with chain_of(files, disk.paths, writable=1) as chain, pytest.raises(FormatError, match="locator"):
        chain.write(0, b"x")


def test_bits_behind_the_end_of_the_disk_mean_nothing() -> None:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, 2 * BLOCK + 3 * 512, kind="differencing", block_size=BLOCK)
    disk.write(2 * BLOCK, pattern(5, 512))
    disk.close()
    with chain_of(files, disk.paths) as chain:
        place = next(iter(chain.leaf.extents(2 * BLOCK, 512))).file_offset
    assert place is not None
    patch(files, disk.paths[0], place - 512, b"\x9f" + b"\xff" * 15)
    reads_as_before(files, disk)
    disk.resize(3 * BLOCK)
    disk.check()


def test_a_dynamic_block_is_there_whatever_its_bitmap() -> None:
    files, disk = some_disk()
    with chain_of(files, disk.paths) as chain:
        place = next(iter(chain.leaf.extents(BLOCK, 512))).file_offset
    assert place is not None
    patch(files, "0.vhd", place - 512, bytes(512))
    reads_as_before(files, disk)
    disk.write(BLOCK, b"x" * 512)
    disk.check()
    assert file_bytes(files, "0.vhd")[place - 512 : place] == b"\xff" * 512, "others believe it"


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_nothing_changes_through_a_reader(kind: str) -> None:
    files, _ = some_disk(kind)
    image = opened(files, "0.vhd")
    actions: list[Callable[[], object]] = [
        lambda: image.allocate([Range(0, 512)]).__enter__(),
        lambda: image.zero(0, 512),
        lambda: image.discard(0, BLOCK),
        lambda: image.resize(MIB),
        image.begin,
        lambda: image.drop_zeros([], masked=False),
    ]
    for action in actions:
        with pytest.raises(ReadOnly):
            action()
    image.flush()
    image.close()


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_ranges_outside_the_disk(kind: str) -> None:
    files, _ = some_disk(kind)
    image = opened(files, "0.vhd")
    for offset, length in ((-512, 512), (0, 21 * BLOCK), (1, 512), (0, 100), (20 * BLOCK, 512)):
        with pytest.raises(Error, match=r"inside the disk|whole sectors"):
            list(image.extents(offset, length))
    assert list(image.extents(20 * BLOCK, 0)) == []


def test_an_unknown_type() -> None:
    files, _ = some_disk()
    reseal_footer(files, "0.vhd", 60, b"\0\0\0\6")
    with pytest.raises(UnsupportedFeature):
        opened(files, "0.vhd")


def test_absent_blocks_are_one_extent() -> None:
    files = MemoryFileSystem()
    make(files, 0, 2040 << 30).close()
    image = opened(files, "0.vhd")
    assert [extent.presence for extent in image.extents(0, 2040 << 30)] == [Presence.NOT_PRESENT]
    image.close()


def touch_all(storage: Storage) -> None:
    """Open whatever it is and read a few places."""
    image = open_vhd(storage, new_id=counting_ids())
    try:
        with Chain([Layer("0.vhd", image)]) as chain:
            for extent in image.extents(0, min(chain.size, 8 * MIB)):
                assert extent.length > 0
            chain.read(0, min(chain.size, MIB))
    finally:
        image.abandon()


@pytest.mark.parametrize("kind", ["dynamic", "differencing", "fixed"])
@pytest.mark.parametrize("seed", range(8))
def test_mutations_are_read_or_refused(kind: str, seed: int) -> None:
    """Whatever the bytes of the structures are: a value or an Error, reading and writing."""
    chance = random.Random(seed)
    files, disk = some_disk(kind)
    original = file_bytes(files, disk.paths[0])
    areas = [(0, 2048), (4096, 200), (8192, 200), (len(original) - 512, 512)]
    if kind == "fixed":
        areas = areas[-1:]
    for number in range(60):
        data = bytearray(original)
        for _ in range(chance.randrange(1, 4)):
            start, length = chance.choice(areas)
            at = start + chance.randrange(length)
            value = chance.choice([b"\0", b"\xff", b"\x80", bytes([chance.randrange(256)]), b"\xff" * 4, bytes(8)])
            data[at : at + len(value)] = value[: len(data) - at]
        if chance.random() < 0.9:
            for start, length, field in ((0, 512, 64), (512, 1024, 36), (len(data) - 512, 512, 64)):
                if kind != "fixed" or start == len(data) - 512:
                    data[start : start + length] = vhd_checksum.seal(bytes(data[start : start + length]), field=field)
        name = f"mutated{number}.vhd"
        files.create(name).close()
        patch(files, name, 0, bytes(data))
        try:
            touch_all(files.open(name, Access.READ))
            image = opened(files, name, writable=True)
            try:
                with image.allocate([Range(0, 512)]) as places:
                    assert len(places) == 1
                image.flush()
            finally:
                image.abandon()
        except Error:
            pass
        assert files.open(name, Access.WRITE), "given back"


def test_the_message_names_file_structure_and_place(tmp_path: Path) -> None:
    files, _ = some_disk()
    patch(files, "0.vhd", 512, b"x")
    with pytest.raises(FormatError, match=r"0\.vhd: dynamic header at offset 512: .*\(VHD 1\.0 dynamic disk header\)"):
        opened(files, "0.vhd")


def test_what_a_guest_wrote_at_the_start_of_a_fixed_disk_is_no_copy_of_its_damaged_footer() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(counting_ids())
    engine.create(files, "inner.vhd", 1 << 20, CreateOptions(format=ImageFormat.VHD))
    inner = pread(files.open("inner.vhd", Access.READ), 0, files.stat("inner.vhd").size)
    engine.create(files, "outer.vhd", 64 << 20, CreateOptions(format=ImageFormat.VHD, fixed=True))
    with engine.open_chain(files, "outer.vhd", writable=1) as chain:
        chain.write(0, inner)
    size = files.stat("outer.vhd").size
    storage = files.open("outer.vhd", Access.WRITE)
    storage.write([(size - 512 + 64, b"\xff\xff\xff\xff")])
    storage.close()
    info = engine.info(files, "outer.vhd")
    assert (info.type, info.virtual_size) == (DiskType.FIXED, 64 << 20)
    assert "checksum" in info.warnings[0]
