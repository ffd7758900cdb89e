"""What changing a VHD does to its file: which space is used again and when, what stays, what is refused."""

from contextlib import suppress

import pytest

from tests.image.vhd_forge import SECTOR, VhdDisk, chain_of, file_bytes, info_of, link_to, opened, vhd_id
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem, MemoryStorage
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.errors import Error, FormatError, OutOfSpace, Poisoned
from vhdx.extents import Presence, Range
from vhdx.format import vhd_header
from vhdx.image.base import DiskType, Image, ParentLink
from vhdx.image.vhd.open import open_vhd
from vhdx.storage.base import Access, Buffer

BLOCK = 64 << 10


def places(image: Image) -> dict[int, int]:
    """Where each block with data lies."""
    found = {}
    for extent in image.extents(0, image.virtual_size):
        if extent.presence is Presence.DATA:
            assert extent.file_offset is not None
            for at in range(-(-extent.offset // BLOCK) * BLOCK, extent.end, BLOCK):
                found[at // BLOCK] = extent.file_offset + at - extent.offset
    return found


def full_disk(blocks: int = 8, kind: str = "dynamic") -> tuple[MemoryFileSystem, VhdDisk]:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, blocks * BLOCK, kind=kind, block_size=BLOCK)
    disk.write(0, pattern(1, blocks * BLOCK))
    return files, disk


def test_space_is_used_again_after_a_flush_lowest_first() -> None:
    _, disk = full_disk()
    image = disk.open.leaf
    before = places(image)
    disk.open.flush()
    disk.discard(2 * BLOCK, 3 * BLOCK)
    disk.write(3 * BLOCK, pattern(2, 512))
    assert places(image)[3] > max(before.values()), "what was freed may still come back in a crash"
    disk.open.flush()
    disk.write(4 * BLOCK, pattern(3, 512))
    disk.write(2 * BLOCK, pattern(4, 512))
    assert [places(image)[block] for block in (4, 2)] == [before[2], before[3]]
    disk.check()


def test_space_waits_for_readers() -> None:
    _, disk = full_disk()
    image = disk.open.leaf
    disk.open.flush()
    old = places(image)[2]
    with image.pinned():
        disk.discard(2 * BLOCK, BLOCK)
        disk.open.flush()
        disk.write(2 * BLOCK, pattern(3, BLOCK))
        assert places(image)[2] != old
        disk.open.flush()
    disk.discard(5 * BLOCK, BLOCK)
    disk.open.flush()
    disk.write(5 * BLOCK, pattern(4, BLOCK))
    assert places(image)[5] == old
    disk.check()


def test_a_recycled_block_shows_nothing_old() -> None:
    _, disk = full_disk()
    disk.zero(2 * BLOCK, BLOCK)
    disk.open.flush()
    disk.write(2 * BLOCK + 1024, pattern(5, 512))
    disk.check()


def test_zeroing_an_absent_block_needs_nothing() -> None:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, 8 * BLOCK, block_size=BLOCK)
    disk.zero(100 * 512, 5 * BLOCK)
    disk.close()
    assert len(file_bytes(files, "0.vhd")) == 4096


def test_a_child_zeroes_by_writing_and_keeps_what_is_discarded() -> None:
    _, disk = full_disk(kind="differencing")
    leaf = disk.open.leaf
    leaf_blocks = places(leaf)
    disk.discard(0, 8 * BLOCK)
    assert places(leaf) == leaf_blocks
    disk.zero(0, 3 * BLOCK)
    assert places(leaf) == leaf_blocks
    disk.check()
    disk.snapshot()
    disk.zero(BLOCK + 512, BLOCK)
    found = [(extent.offset, extent.presence) for extent in disk.open.leaf.extents(0, 4 * BLOCK)]
    assert found[0] == (0, Presence.NOT_PRESENT)
    assert found[1] == (BLOCK + 512, Presence.DATA)
    assert found[-1] == (2 * BLOCK + 512, Presence.NOT_PRESENT)
    disk.check()


def test_dropping_zeros() -> None:
    _, disk = full_disk(kind="differencing")
    leaf = disk.open.leaf
    disk.zero(0, 8 * BLOCK)
    leaf.drop_zeros([Range(0, 8 * BLOCK)], masked=True)
    assert len(places(leaf)) == 8, "the parent would show"
    disk.check()
    base = opened(disk.files, "0.vhd", writable=True)
    base.zero(0, 8 * BLOCK)
    base.close()
    disk.contents[1][:] = bytes(8 * BLOCK)
    disk.open.leaf.drop_zeros([Range(512, 3 * BLOCK)], masked=False)
    assert set(places(disk.open.leaf)) == {0, 3, 4, 5, 6, 7}
    disk.check()


def test_packing_and_closing_make_the_file_short() -> None:
    files, disk = full_disk(40)
    disk.close()
    whole = len(file_bytes(files, "0.vhd"))
    disk.discard(3 * BLOCK, 20 * BLOCK)
    disk.close()
    assert len(file_bytes(files, "0.vhd")) == whole
    calls: list[tuple[int, int]] = []
    disk.open.leaf.pack(lambda done, total: calls.append((done, total)))
    disk.close()
    assert len(file_bytes(files, "0.vhd")) <= 4096 + 20 * (BLOCK + 4096) + 4096
    assert calls[-1][0] == calls[-1][1]
    disk.check()


def test_a_fixed_image_is_not_packed() -> None:
    files = MemoryFileSystem()
    disk = VhdDisk.create(files, MIB, kind="fixed")
    with pytest.raises(Error, match="fixed"):
        disk.open.leaf.pack(lambda done, total: None)
    with pytest.raises(Error, match="parent"):
        disk.open.leaf.set_parent(link_to(0))
    disk.open.leaf.set_parent(None)


def test_the_slack_of_growing_is_cut_off_when_closing() -> None:
    files, disk = full_disk(3)
    disk.close()
    disk.resize(10 * BLOCK)
    disk.write(9 * BLOCK, b"x")
    assert files.stat("0.vhd").size > 16 * MIB, "it grows ahead"
    disk.close()
    assert files.stat("0.vhd").size < 5 * (BLOCK + 4096) + 8192
    disk.check()


def test_a_file_that_grows_often_shows_no_footer_of_its_own() -> None:
    """Each growing leaves a footer where a block will be."""
    disk = VhdDisk.create(MemoryFileSystem(), 64 * MIB)
    for block in range(64):
        disk.write(block * MIB, b"x" * 512)
    disk.check()


def test_packing_leaves_readers_what_they_were_told() -> None:
    _, disk = full_disk(40)
    disk.open.flush()
    image = disk.open.leaf
    with image.pinned():
        told = {block: place for block, place in places(image).items() if block > 20}
        disk.discard(BLOCK, 15 * BLOCK)
        disk.open.flush()
    with image.pinned():
        image.pack(lambda done, total: None)
        moved = [block for block, place in told.items() if places(image)[block] != place]
        assert moved
        disk.write(BLOCK, pattern(50, 15 * BLOCK))
        disk.open.flush()
        for block in moved:
            content = bytearray(BLOCK)
            image.storage.read([(told[block], memoryview(content))])
            assert content == disk.contents[0][block * BLOCK : (block + 1) * BLOCK]
    disk.check()


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_a_table_that_grows_in_place_and_one_that_moves(kind: str) -> None:
    files, block = MemoryFileSystem(), 8 << 10
    disk = VhdDisk.create(files, 3 * block + 512, kind=kind, block_size=block)
    disk.close()

    def table() -> int:
        return vhd_header.parse(file_bytes(files, disk.paths[0])[512:1536], 512).header.table_offset

    first = table()
    disk.resize(100 * block)
    disk.check()
    assert table() == first, "in the padding"
    disk.resize(1000 * block)
    disk.check()
    assert table() == first, "nothing lies behind it"
    disk.write(50 * block, pattern(1, 3 * block))
    disk.resize(3000 * block)
    disk.write(2900 * block, pattern(2, block))
    disk.check()
    assert table() != first
    disk.resize(4 * block)
    disk.resize(3000 * block)
    disk.check()
    data = file_bytes(files, disk.paths[0])
    header = vhd_header.parse(data[512:1536], 512).header
    assert header.max_entries == 3000
    assert data[header.table_offset + 12_000 : header.table_offset + 12_288] == b"\xff" * 288


def test_sizes_that_a_vhd_cannot_have() -> None:
    for kind in ("dynamic", "fixed"):
        disk = VhdDisk.create(MemoryFileSystem(), 3 * BLOCK, kind=kind, block_size=BLOCK)
        for size in (0, -512, 513, 2041 << 30):
            with pytest.raises(Error, match="disk of"):
                disk.open.leaf.resize(size)
        disk.check()


def test_growing_over_a_larger_parent_shows_zeros() -> None:
    disk = VhdDisk.create(MemoryFileSystem(), 10 * BLOCK, block_size=BLOCK)
    disk.write(0, pattern(1, 10 * BLOCK))
    disk.snapshot(3 * BLOCK + 512)
    disk.write(3 * BLOCK, pattern(2, 512))
    disk.resize(12 * BLOCK)
    disk.check()


def test_a_parent_can_be_replaced_only_where_there_is_one() -> None:
    _, disk = full_disk()
    with pytest.raises(Error, match="not a differencing image"):
        disk.open.leaf.set_parent(link_to(3))
    disk.open.leaf.set_parent(None)
    disk.check()


def test_relinking_again_and_again_does_not_grow_the_file() -> None:
    files, disk = full_disk(kind="differencing")
    sizes = []
    for _ in range(8):
        disk.relink()
        disk.close()
        sizes.append(files.stat(disk.paths[0]).size)
        disk.check()
    assert sizes[-1] == sizes[-3] <= sizes[0] + 8192
    short = ParentLink(vhd_id(0), None, {"relative_path": ".\\0.vhd"})
    disk.open.leaf.set_parent(short)
    entries = vhd_header.parse(file_bytes(files, disk.paths[0])[512:1536], 512).header.entries
    assert [entry.data_offset for entry in entries] == [1536], "the lowest gap"
    with pytest.raises(FormatError):
        disk.open.leaf.set_parent(ParentLink(vhd_id(3), None, {"relative_path": "x" * 40_000}))
    disk.check()


def test_a_disk_without_its_parent() -> None:
    files, disk = full_disk(kind="differencing")
    disk.snapshot()
    disk.write(BLOCK + 512, pattern(7, 512))
    disk.open.leaf.set_parent(None)
    disk.close()
    info = info_of(files, disk.paths[0])
    assert (info.type, info.parent) == (DiskType.DYNAMIC, None)
    with chain_of(files, disk.paths[:1], writable=1) as chain:
        assert chain.read(BLOCK, 2048) == bytes(512) + pattern(7, 512) + bytes(1024)
        chain.write(BLOCK + 1024, b"y" * 512)
        place = next(iter(chain.leaf.extents(BLOCK, 512))).file_offset
    assert place is not None
    assert file_bytes(files, disk.paths[0])[place - 512 : place] == b"\xff" * 512


class FailingStorage(MemoryStorage):
    """Refuses to write from a moment on."""

    error: Exception | None = None

    def write(self, pieces: list[tuple[int, Buffer]]) -> None:  # type: ignore[override]
        if self.error is not None and pieces:
            raise self.error
        super().write(pieces)


def failing(files: MemoryFileSystem, path: str) -> FailingStorage:
    file = files._find(path)
    return FailingStorage(file, path, Access.WRITE)


def test_after_a_failure_nothing_more_is_written() -> None:
    files, disk = full_disk()
    disk.close()
    content = file_bytes(files, "0.vhd")
    storage = failing(files, "0.vhd")
    image = open_vhd(storage, new_id=counting_ids())
    image.discard(0, BLOCK)
    storage.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        image.flush()
    storage.error = None
    with pytest.raises(Poisoned):
        image.discard(BLOCK, BLOCK)
    image.close()
    assert file_bytes(files, "0.vhd") == content


def test_a_full_file_system_while_growing() -> None:
    files, disk = full_disk()
    disk.resize(10 * BLOCK)
    disk.close()
    content = file_bytes(files, "0.vhd")
    storage = failing(files, "0.vhd")
    image = open_vhd(storage, new_id=counting_ids())
    storage.error = OutOfSpace("full")
    with pytest.raises(OutOfSpace), image.allocate([Range(9 * BLOCK, 512)]):
        pass
    assert file_bytes(files, "0.vhd") == content
    storage.error = None
    with image.allocate([Range(9 * BLOCK, 512)]) as found:
        assert found[0].file_offset is not None
        image.storage.write([(found[0].file_offset, b"z" * 512)])
    image.close()
    disk.contents[0][9 * BLOCK : 9 * BLOCK + 512] = b"z" * 512
    disk.check()


def test_space_comes_back_when_the_payload_does_not_come() -> None:
    files, disk = full_disk(3)
    disk.resize(20 * BLOCK)
    leaf = disk.open.leaf
    before = places(leaf)
    for _ in range(3):
        with pytest.raises(ValueError, match="no payload"), leaf.allocate([Range(10 * BLOCK, 5 * BLOCK)]):
            raise ValueError("no payload")
    assert places(leaf) == before
    disk.write(15 * BLOCK, b"x")
    disk.close()
    assert files.stat("0.vhd").size < 6 * (BLOCK + 4096) + 4096
    disk.check()


def test_too_much_in_one_allocation() -> None:
    for kind in ("dynamic", "fixed"):
        disk = VhdDisk.create(MemoryFileSystem(), 80 * MIB, kind=kind)
        with pytest.raises(ValueError, match="allocation"):
            disk.open.leaf.allocate([Range(0, 65 * MIB)]).__enter__()


def test_many_small_blocks_are_committed_early() -> None:
    disk = VhdDisk.create(MemoryFileSystem(), 80 * MIB, kind="dynamic", block_size=4096)
    disk.snapshot()
    for at in range(0, 80 * MIB, 20 * MIB):
        disk.write(at, pattern(at, 20 * MIB - 512))
    disk.check()


@pytest.mark.parametrize("behind", [0, SECTOR, 4096])
def test_a_fixed_image_that_cannot_grow_keeps_its_size(behind: int) -> None:
    """Whichever write there is no space for, and where the new footer belongs on the place of the old one."""
    stopped = True
    at = 0
    while stopped:
        files = MemoryFileSystem()
        disk = VhdDisk.create(files, MIB, kind="fixed")
        disk.write(0, pattern(1, MIB))
        disk.close()
        footer = file_bytes(files, "0.vhd")[-SECTOR:]
        storage = files.open("0.vhd", Access.WRITE)
        storage.write([(MIB, b"\xee" * behind + footer)])
        storage.close()
        fault = Fault(at, OutOfSpace("full"), kinds=frozenset({"write", "reserve"}))
        image = opened(WatchedFileSystem(files, fault), "0.vhd", writable=True)
        with suppress(OutOfSpace):
            image.resize(MIB + 4096)
        stopped, size = fault.fired, image.virtual_size
        assert size == (MIB if stopped else MIB + 4096)
        image.close()
        with chain_of(files, ["0.vhd"]) as chain:
            assert chain.read(0, chain.size) == pattern(1, MIB).ljust(size, b"\0"), f"no space for write {at}"
        at += 1
    assert at > 3
