"""What blktap promises of its files holds whatever is done to them: a map of full blocks, metadata before blocks."""

import random
import struct

import pytest

from tests.check.vhd_images import sealed
from tests.image.tap_forge import UNUSED, Parsed, broken_rules, called_full, made_by_blktap
from tests.image.vhd_forge import SECTOR, VhdDisk, file_bytes, opened, patch
from tests.support.disks import counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

BLOCK = 16 << 10
STEPS = [*["write"] * 3, "zero", "discard", "compact", *["resize"] * 2, "relink", "merge", "detach"]
KINDS = ["dynamic", "differencing"]


def tap_disk(kind: str = "dynamic", blocks: int = 12, *, entries: int = 0) -> VhdDisk:
    """Blocks 0 to 3 are full, 4 in part (over a parent), 6 to 8 full."""
    disk = VhdDisk.create(MemoryFileSystem(), blocks * BLOCK + 3 * SECTOR, kind=kind, block_size=BLOCK)
    disk.write(0, pattern(1, 4 * BLOCK + 5 * SECTOR))
    disk.write(6 * BLOCK, pattern(2, 3 * BLOCK))
    disk.close()
    for path in disk.paths:
        made_by_blktap(disk.files, path, entries=entries)
    return disk


def settled(disk: VhdDisk) -> bytes:
    """Everything is as it should be; returns the file of the leaf."""
    disk.check()
    for path in disk.paths:
        assert broken_rules(file_bytes(disk.files, path)) == [], path
    return file_bytes(disk.files, disk.paths[0])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_forged_is_sound(kind: str) -> None:
    assert called_full(settled(tap_disk(kind))) >= 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entries", [0, 100, 300])
@pytest.mark.parametrize("blocks", [13, 128, 129, 2100])
def test_growing(kind: str, blocks: int, entries: int) -> None:
    """In its own room, or with the table and the blocks behind it moved; what was called full still is."""
    disk = tap_disk(kind, entries=entries)
    before = called_full(settled(disk))
    disk.resize(blocks * BLOCK - SECTOR)
    disk.write(11 * BLOCK, pattern(3, 2 * BLOCK - SECTOR))
    assert called_full(settled(disk)) >= before - 1
    disk.resize(2 * blocks * BLOCK)
    disk.write((2 * blocks - 1) * BLOCK, pattern(4, BLOCK))
    assert called_full(settled(disk)) >= before - 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_full_any_more_is_not_called_so(kind: str) -> None:
    disk = tap_disk(kind)
    before = called_full(settled(disk))
    disk.resize(7 * BLOCK + SECTOR)
    after = called_full(settled(disk))
    assert after < before
    disk.resize(12 * BLOCK)
    disk.write(8 * BLOCK + SECTOR, pattern(5, SECTOR))
    assert called_full(settled(disk)) == after, "growing has nothing more to clear"
    if kind == "dynamic":
        disk.discard(BLOCK, 2 * BLOCK)
        assert called_full(settled(disk)) == after - 2
        disk.zero(0, BLOCK)
        disk.close()
        disk.write(BLOCK + SECTOR, pattern(6, SECTOR))
        assert called_full(settled(disk)) == after - 3


def test_a_block_of_zeros_that_compacting_drops() -> None:
    """Over a parent that ends before: what is written there later is not the whole block."""
    disk = VhdDisk.create(MemoryFileSystem(), 4 * BLOCK, block_size=BLOCK)
    disk.snapshot(8 * BLOCK)
    disk.write(5 * BLOCK, bytes(BLOCK))
    disk.close()
    made_by_blktap(disk.files, disk.paths[0])
    assert called_full(settled(disk)) == 1
    disk.compact()
    assert called_full(settled(disk)) == 0
    disk.write(5 * BLOCK + SECTOR, pattern(1, SECTOR))
    settled(disk)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lie_told_before_is_taken_back_when_the_block_comes(kind: str) -> None:
    """The map calls a block full that has no place, as others have left it."""
    disk = tap_disk(kind)
    data = file_bytes(disk.files, disk.paths[0])
    at = Parsed(data).batmap
    checksum = int.from_bytes(data[at + 24 : at + 28], "big") - 0x10
    patch(disk.files, disk.paths[0], at + SECTOR + 1, bytes([data[at + SECTOR + 1] | 0x10]))
    patch(disk.files, disk.paths[0], at + 24, checksum.to_bytes(4, "big"))
    assert broken_rules(file_bytes(disk.files, disk.paths[0])) == ["unallocated block 11 is called full"]
    disk.write(11 * BLOCK + SECTOR, pattern(7, SECTOR))
    settled(disk)


@pytest.mark.parametrize("kind", KINDS)
def test_a_promise_that_was_broken_is_kept_again(kind: str) -> None:
    """Where the map is gone, the first growth that moves the table makes one."""
    disk = tap_disk(kind)
    patch(disk.files, disk.paths[0], Parsed(file_bytes(disk.files, disk.paths[0])).batmap, bytes(8))
    disk.resize(2000 * BLOCK)
    disk.close()
    found = broken_rules(file_bytes(disk.files, disk.paths[0]))
    assert found == ["the rest of the batmap header is lost"]
    disk.check()


@pytest.mark.parametrize("version", [0x00000001, 0x00010000, 0x00010001])
def test_nothing_is_promised_by_older_versions(version: int) -> None:
    disk = tap_disk()
    made_by_blktap(disk.files, disk.paths[0], version=version)
    patch(disk.files, disk.paths[0], Parsed(file_bytes(disk.files, disk.paths[0])).batmap, bytes(8))
    disk.resize(2000 * BLOCK)
    disk.check()
    assert broken_rules(file_bytes(disk.files, disk.paths[0]))[0].startswith("no batmap")


def test_the_first_version_is_read_where_its_bitmaps_hide_nothing() -> None:
    """They count their bits in another order."""
    disk = tap_disk("differencing")
    for path in disk.paths:
        made_by_blktap(disk.files, path, version=1)
    opened(disk.files, disk.paths[1]).close()
    with pytest.raises(UnsupportedFeature, match=r"1\.vhd.*tapdisk 0\.1"):
        opened(disk.files, disk.paths[0])


def test_while_a_block_in_the_way_is_read() -> None:
    """It stays where it is until the reader is done, and so does what would take its place."""
    disk = tap_disk()
    image = disk.open.leaf
    with image.pinned():
        before = list(image.extents(0, 9 * BLOCK))
        disk.resize(2000 * BLOCK)
        for extent in before:
            if extent.file_offset is not None:
                read = bytearray(extent.length)
                image.storage.read([(extent.file_offset, memoryview(read))])
                assert read == disk.contents[0][extent.offset : extent.end]
        assert broken_rules(file_bytes(disk.files, disk.paths[0]), at_rest=False) == []
    settled(disk)


@pytest.mark.parametrize("seed", range(20))
def test_any_history(seed: int) -> None:
    """Whatever is done, in whatever order, by sessions long and short."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    disk = tap_disk(kind, entries=chance.choice([0, 0, 200]))
    for number in range(14):
        length = chance.choice([SECTOR, 7 * SECTOR, BLOCK, 2 * BLOCK])
        offset = chance.randrange(0, max((disk.size - length) // SECTOR, 0) + 1) * SECTOR
        if chance.random() < 0.5:
            offset = offset // BLOCK * BLOCK
        length = min(length, disk.size - offset)
        match chance.choice(STEPS):
            case "write":
                disk.write(offset, pattern(number + 1, length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "compact":
                disk.compact()
            case "resize":
                disk.resize(chance.choice([2, 5, 9, 20, 127, 300]) * BLOCK + chance.choice([0, SECTOR]))
            case "relink" if len(disk.paths) > 1:
                disk.relink()
            case "merge" if len(disk.paths) > 1:
                disk.merge_down()
            case "detach" if len(disk.paths) > 1 and chance.random() < 0.5:
                disk.detach()
        if chance.random() < 0.7:
            settled(disk)
    settled(disk)


@pytest.mark.parametrize("kind", KINDS)
def test_the_verbs_by_path(kind: str) -> None:
    """Repaired, resized, compacted, merged; the files are told apart by their names alone."""
    disk, engine = tap_disk(kind), NativeEngine(counting_ids(700))
    files, path = disk.files, disk.paths[0]
    storage = files.open(path, Access.WRITE)
    storage.truncate(storage.size() - SECTOR)
    storage.close()
    assert engine.repair(files, path, undo="undo")
    settled(disk)
    engine.resize(files, path, 40 * BLOCK, any_size=True)
    engine.compact(files, path)
    disk.contents[0] = disk.contents[0].ljust(40 * BLOCK, b"\0")
    settled(disk)
    if kind == "differencing":
        engine.merge(files, path, disk.paths[1], remove=True)
        del disk.paths[0], disk.contents[1]
        settled(disk)
    found = [finding.code for finding in engine.check(files, disk.paths[0], deep=True)]
    assert not [code for code in found if "batmap" in code or "overlap" in code]


def test_bits_that_others_put_elsewhere_come_home_only_where_nothing_is() -> None:
    """They lie at the end of the file, and the first block where they would belong."""
    disk = tap_disk()
    data = file_bytes(disk.files, disk.paths[0])
    found = Parsed(data)
    block, place = min(
        ((block, raw) for block, raw in enumerate(found.bat) if raw != UNUSED), key=lambda one: one[1]
    )
    home, span = found.batmap + SECTOR, found.bitmap + BLOCK
    changed = bytearray(data[:-SECTOR])
    changed[home : home + span] = data[place * SECTOR : place * SECTOR + span]
    struct.pack_into(">I", changed, found.table + 4 * block, home // SECTOR)
    struct.pack_into(">Q", changed, found.batmap + 8, len(changed))
    storage = disk.files.open(disk.paths[0], Access.WRITE)
    storage.write([(0, bytes(changed) + data[home : home + SECTOR] + data[-SECTOR:])])
    storage.close()
    assert broken_rules(file_bytes(disk.files, disk.paths[0]), at_rest=False) == []
    disk.check()
    disk.resize(7 * BLOCK + SECTOR)
    disk.check()
    assert broken_rules(file_bytes(disk.files, disk.paths[0]), at_rest=False) == []
    disk.write(9 * SECTOR, pattern(8, 3 * BLOCK))
    disk.check()


@pytest.mark.parametrize("lie", ["footer", "header", "table"])
def test_bits_on_another_structure_are_a_refusal(lie: str) -> None:
    """To write to one would change the other, and to give one up the space of the other."""
    disk = tap_disk()
    before = file_bytes(disk.files, disk.paths[0])
    found = Parsed(before)
    at = {"footer": 0, "header": found.header_at, "table": found.table}[lie]
    head = struct.pack(">QIII", at, 1, 0x00010002, ~sum(before[at : at + SECTOR]) & 0xFFFFFFFF)
    patch(disk.files, disk.paths[0], found.batmap + 8, head)
    before = file_bytes(disk.files, disk.paths[0])
    with pytest.raises(FormatError, match="belongs to something else"):
        disk.write(0, bytes(SECTOR))
    disk.open.leaf.abandon()
    assert file_bytes(disk.files, disk.paths[0]) == before


@pytest.mark.parametrize("lie", ["footer", "header", "table"])
def test_a_locator_without_a_byte_gives_up_nothing(lie: str) -> None:
    disk = tap_disk("differencing")
    found = Parsed(file_bytes(disk.files, disk.paths[0]))
    at = {"footer": 0, "header": found.header_at, "table": found.table}[lie]
    entry = struct.pack(">4sIIIQ", b"MacX", SECTOR, 0, 0, at)
    header = bytearray(found.header)
    header[576 + 7 * 24 : 576 + 8 * 24] = entry
    patch(disk.files, disk.paths[0], found.header_at, sealed(bytes(header), 36))
    leaf = disk.open.leaf
    link = leaf.info.parent
    for _ in range(3):
        leaf.set_parent(link)
    disk.write(11 * BLOCK + SECTOR, pattern(20, SECTOR))
    assert file_bytes(disk.files, disk.paths[0])[:SECTOR] == found.footer
    settled(disk)


def test_looking_changes_nothing() -> None:
    disk = tap_disk()
    before = file_bytes(disk.files, "0.vhd")
    opened(disk.files, "0.vhd", writable=True).close()
    assert file_bytes(disk.files, "0.vhd") == before
