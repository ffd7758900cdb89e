"""New VHDs: laid out as Windows lays them out, the same in every run, and refused where the format cannot."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import vhdx
from tests.image.vhd_forge import chain_of, file_bytes, info_of, link_to, make, vhd_id
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.errors import Error
from vhdx.extents import Presence
from vhdx.format import vhd_footer, vhd_header, vhd_locator
from vhdx.format.vhd_footer import VhdType
from vhdx.format.vhd_geometry import LARGEST
from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ParentLink
from vhdx.image.create import refuse_shape
from vhdx.image.vhd.create import create_vhd
from vhdx.storage.local import LocalFileSystem

GIB = 1 << 30
VHD = ImageFormat.VHD


def test_a_dynamic_image() -> None:
    files = MemoryFileSystem()
    make(files, 0, 100 * MIB).close()
    data = file_bytes(files, "0.vhd")
    assert data[:512] == data[-512:]
    footer, sealed = vhd_footer.parse(data[:512], 0)
    assert sealed
    assert (footer.creator, footer.creator_host, footer.features, footer.saved_state) == (b"win ", b"Wi2k", 2, 0)
    assert (footer.original_size, footer.current_size, footer.timestamp) == (100 * MIB, 100 * MIB, 0)
    assert (footer.data_offset, footer.disk_type, footer.unique_id) == (512, 3, vhd_id(0))
    header, sealed = vhd_header.parse(data[512:1536], 512)
    assert sealed
    assert (header.table_offset, header.max_entries, header.block_size) == (1536, 50, 2 * MIB)
    assert data[512 + 8 : 512 + 16] == b"\xff" * 8
    assert data[1536:2048] == b"\xff" * 512, "padded like unused entries"
    assert len(data) == 4096


def test_the_data_of_blocks_is_on_whole_pages() -> None:
    files = MemoryFileSystem()
    make(files, 0, 100 * MIB).close()
    with chain_of(files, ["0.vhd"], writable=1) as chain:
        for number in (7, 3, 9):
            chain.write(number * 2 * MIB, b"x")
        places = [found.extent.file_offset for found in chain.extents(0, chain.size)]
    assert all(place % 4096 == 0 for place in places if place is not None)
    assert sorted(place for place in places if place is not None)[0] == 4096


def test_a_child_as_windows_makes_it() -> None:
    """Places and codes as in a differencing image that Windows 10 made: paths twice, the first block at sector 0x9f."""
    files = MemoryFileSystem()
    make(files, 0, 4 * MIB).close()
    make(files, 1, 4 * MIB, parent=link_to(0)).close()
    data = file_bytes(files, "1.vhd")
    header = vhd_header.parse(data[512:1536], 512).header
    assert header.table_offset == 0x2000
    assert header.parent_id == vhd_id(0)
    assert header.parent_timestamp == 0
    absolute, relative = header.entries
    assert (absolute.code, absolute.data_space, absolute.data_offset) == (b"W2ku", 4096, 0x1000)
    assert (relative.code, relative.data_space, relative.data_offset) == (b"W2ru", 65536, 0x3000)
    assert data[0x1000 : 0x1000 + absolute.data_length] == "C:\\disks\\0.vhd".encode("utf-16-le")
    assert data[0x3000 : 0x3000 + relative.data_length] == ".\\0.vhd".encode("utf-16-le")
    assert vhd_locator.decode_name(header.parent_name) == "0.vhd"
    info = info_of(files, "1.vhd")
    assert info.parent == link_to(0)
    assert (info.type, info.disk_id, info.linkage) == (DiskType.DIFFERENCING, vhd_id(1), vhd_id(1))
    with chain_of(files, ["1.vhd", "0.vhd"], writable=1) as chain:
        chain.write(0, b"x" * 512)
        place = next(iter(chain.leaf.extents(0, 512))).file_offset
    assert place == (0x9F + 1) * 512


@pytest.mark.parametrize("paths", [{"relative_path": ".\\deep\\p.vhd"}, {"absolute_win32_path": "C:\\p.vhd"}])
def test_a_child_that_records_one_path(paths: dict[str, str]) -> None:
    files = MemoryFileSystem()
    make(files, 1, 600 * GIB, parent=ParentLink(vhd_id(0), None, paths)).close()
    link = info_of(files, "1.vhd").parent
    assert link == ParentLink(vhd_id(0), None, {**paths, "parent_name": "p.vhd"})


@pytest.mark.parametrize(
    "link",
    [
        ParentLink(vhd_id(0), None, {}),
        ParentLink(vhd_id(0), vhd_id(1), {"relative_path": "p.vhd"}),
        ParentLink(vhd_id(0), None, {"relative_path": "a\0b"}),
        ParentLink(vhd_id(0), None, {"relative_path": "\udc80.vhd"}),
    ],
)
def test_parents_that_cannot_be_recorded(link: ParentLink) -> None:
    with pytest.raises(Error):
        make(MemoryFileSystem(), 1, MIB, parent=link)


@pytest.mark.parametrize("kind", ["dynamic", "fixed", "differencing"])
def test_the_same_bytes_in_every_run(kind: str) -> None:
    contents = []
    for _ in range(2):
        files = MemoryFileSystem()
        image = create_vhd(
            files.create("0.vhd"),
            size=3 * MIB,
            disk_id=UUID(int=77),
            new_id=counting_ids(),
            options=CreateOptions(format=VHD, fixed=kind == "fixed"),
            parent=link_to(5) if kind == "differencing" else None,
            now=1_000_000_000.0,
        )
        image.close()
        contents.append(file_bytes(files, "0.vhd"))
    assert contents[0] == contents[1]
    assert vhd_footer.parse(contents[0][-512:], 0).footer.timestamp == 1_000_000_000 - 946_684_800


def test_a_fixed_image_is_its_disk_and_a_footer() -> None:
    files = MemoryFileSystem()
    make(files, 0, 3 * MIB + 512, options=CreateOptions(format=VHD, fixed=True)).close()
    data = file_bytes(files, "0.vhd")
    assert len(data) == 3 * MIB + 1024
    footer = vhd_footer.parse(data[-512:], 0).footer
    assert (footer.disk_type, footer.data_offset) == (2, (1 << 64) - 1)
    assert info_of(files, "0.vhd").block_size is None
    assert files.stat("0.vhd").allocated >= 3 * MIB


def test_an_image_for_azure_has_whole_mib() -> None:
    files = MemoryFileSystem()
    for number, (size, whole) in enumerate({25 * MIB - 512: 25 * MIB, 512: 20 * MIB, 20 * MIB: 20 * MIB}.items()):
        make(files, number, size, options=CreateOptions(format=VHD, azure=True)).close()
        assert len(file_bytes(files, f"{number}.vhd")) == whole + 512
        info = info_of(files, f"{number}.vhd")
        assert (info.type, info.virtual_size) == (DiskType.FIXED, whole)


def test_a_disk_that_only_azure_takes(tmp_path: Path) -> None:
    """Up to 32 TiB, whose sizes the footer holds and whose geometry is the largest there is; read, checked, resized."""
    files, size = LocalFileSystem(tmp_path), 3 << 40
    azure = CreateOptions(format=VHD, azure=True)
    refuse_shape("a", 32 << 40, azure, has_parent=False)
    for refused, options in (((32 << 40) + MIB, azure), (size, replace(azure, azure=False, fixed=True))):
        with pytest.raises(Error, match="larger than"):
            refuse_shape("a", refused, options, has_parent=False)
    footer = vhd_footer.new_footer(VhdType.FIXED, size, UUID(int=1), data_offset=vhd_footer.NO_OFFSET, stamp=0)
    assert footer.geometry == LARGEST
    with (tmp_path / "a.vhd").open("wb") as file:
        file.seek(size)
        file.write(vhd_footer.build(footer))
    with vhdx.open(tmp_path / "a.vhd", writable=True) as disk:
        disk.write(size - 512, b"\7" * 512)
        assert disk.size == size
        assert disk.read(size - 1024, 1024) == bytes(512) + b"\7" * 512
    engine = vhdx.NativeEngine()
    assert [one.code for one in engine.check(files, "a.vhd")] == ["vhd-disk-too-large"]
    engine.resize(files, "a.vhd", size - (1 << 40), shrink=vhdx.Shrink.FORCE)
    assert engine.info(files, "a.vhd").virtual_size == size - (1 << 40)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (0, CreateOptions()),
        (513, CreateOptions()),
        (2040 * GIB + 512, CreateOptions()),
        (2040 * GIB + 512, CreateOptions(fixed=True)),
        (MIB, CreateOptions(block_size=3 * MIB)),
        (MIB, CreateOptions(block_size=2048)),
        (MIB, CreateOptions(block_size=512 * MIB)),
        (2040 * GIB, CreateOptions(block_size=4096)),
        (MIB, CreateOptions(logical_sector_size=4096)),
    ],
)
def test_shapes_that_a_vhd_cannot_have(size: int, options: CreateOptions) -> None:
    with pytest.raises(Error, match=r"0\.vhd"):
        make(MemoryFileSystem(), 0, size, options=options)


def test_a_fixed_image_has_no_parent() -> None:
    with pytest.raises(Error, match="parent"):
        make(MemoryFileSystem(), 1, MIB, options=CreateOptions(fixed=True), parent=link_to(0))


@pytest.mark.parametrize("fixed", [False, True])
def test_filling_an_image_that_is_being_built(fixed: bool) -> None:
    files = MemoryFileSystem()
    image = make(files, 0, 40 * MIB, options=CreateOptions(format=VHD, fixed=fixed))
    chain = Chain([Layer("0.vhd", image)])
    expected = bytearray(40 * MIB)
    for number in range(30):
        offset = (number * 7919 * 4096) % (38 * MIB)
        chain.write(offset, pattern(number, MIB))
        expected[offset : offset + MIB] = pattern(number, MIB)
        if number % 10 == 5:
            chain.flush()
    image.resize(44 * MIB)
    chain.write(43 * MIB, pattern(99, MIB))
    expected[40 * MIB :] = bytes(3 * MIB) + pattern(99, MIB)
    chain.close()
    with chain_of(files, ["0.vhd"]) as chain:
        assert chain.read(0, chain.size) == expected
        assert chain.leaf.info.warnings == ()


def test_a_large_disk_costs_its_table_only() -> None:
    files = MemoryFileSystem()
    make(files, 0, 2040 * GIB).close()
    assert len(file_bytes(files, "0.vhd")) < 5 * MIB
    image = make(files, 1, 2040 * GIB, options=CreateOptions(block_size=256 * MIB))
    assert [extent.presence for extent in image.extents(0, 2040 * GIB)] == [Presence.NOT_PRESENT]
    image.close()
