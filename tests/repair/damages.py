"""Images with something wrong that can be put right, each with what a repair calls it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tests.check import vhd_images
from tests.format.raw import MIB
from tests.image.forge import HEADERS, REGION_TABLES, Forge, engine
from tests.support.disks import Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access

SIZE = 6 * MIB


@dataclass(frozen=True)
class Damage:
    """*make* gives a disk whose leaf is damaged; *codes* are the fixes in their order, *text* is in one of them."""

    make: Callable[[], Disk]
    codes: tuple[str, ...]
    text: str
    format: ImageFormat | None = None


def files_of(disk: Disk) -> MemoryFileSystem:
    assert isinstance(disk.files, MemoryFileSystem)
    return disk.files


def leaf(disk: Disk) -> Forge:
    disk.close()
    return Forge(disk.files, disk.paths[0])


def dynamic() -> Disk:
    """Blocks 0, 2 and 5 in the file, block 1 zero, a gap of 1 MiB where block 1 was."""
    disk = Disk.create(MemoryFileSystem(), SIZE)
    disk.write(0, pattern(1, 2 * MIB + 5000))
    disk.write(5 * MIB, pattern(2, MIB))
    disk.close()
    return disk


def differencing() -> Disk:
    disk = dynamic()
    disk.snapshot()
    disk.write(512, pattern(3, 3000))
    disk.write(4 * MIB + 512, pattern(4, 512))
    disk.zero(2 * MIB, 2 * MIB)
    disk.close()
    return disk


def dirty() -> Disk:
    """The last changes are in the log alone."""
    disk = differencing()
    for number in range(3):
        disk.write(number * MIB + 8192, pattern(number + 9, 4096))
        disk.open.flush()
    image = disk.open.leaf
    image.abandon()  # type: ignore[attr-defined]
    for layer in disk.open.layers[1:]:
        layer.image.close()
    disk.chain = None
    assert leaf(disk).spoil_logged_pages()
    return disk


def _header(slot: int, place: int) -> Callable[[], Disk]:
    def make() -> Disk:
        disk = differencing()
        leaf(disk).write(HEADERS[slot] + place, b"\xee\xee\xee\xee")
        return disk

    return make


def _dirty_header(slot: int) -> Callable[[], Disk]:
    def make() -> Disk:
        disk = dirty()
        leaf(disk).write(HEADERS[slot] + 9, b"\xee\xee\xee\xee")
        return disk

    return make


def _region_table(number: int, place: int) -> Callable[[], Disk]:
    def make() -> Disk:
        disk = dynamic()
        leaf(disk).write(REGION_TABLES[number] + place, b"\xee\xee\xee\xee")
        return disk

    return make


def _entry(index: int, raw: int, start: Callable[[], Disk] = dynamic) -> Callable[[], Disk]:
    def make() -> Disk:
        disk = start()
        made = leaf(disk)
        made.set_entry(index, made.entry(index) | raw)
        return disk

    return make


def zeroed() -> Disk:
    """Block 1 reads as zeros, and nothing refers to the place that it had."""
    disk = dynamic()
    disk.zero(MIB, MIB)
    disk.close()
    return disk


def bitmap_without_parent() -> Disk:
    """An empty sector bitmap behind everything else, for a disk of two chunks; its model would not fit into memory."""
    disk = Disk(MemoryFileSystem(), engine(), ["0.vhdx"], [bytearray()])
    disk.engine.create(disk.files, "0.vhdx", 4098 * MIB, CreateOptions(block_size=MIB))
    disk.open.write(4097 * MIB, pattern(1, MIB))
    made = leaf(disk)
    size = made.size
    made.write(size, bytes(MIB))
    made.set_entry(4096, size | 6)
    return disk


def two_chunks() -> Disk:
    """A child of two chunks with blocks of 2 MiB."""
    disk = differencing()
    disk.engine.resize(disk.files, disk.paths[0], 4098 * MIB)
    disk.contents[0] = bytearray()
    return disk


def tail() -> Disk:
    disk = dynamic()
    made = leaf(disk)
    made.write(made.size + 3 * MIB - 700, b"left over" * 100)
    return disk


def moved_parent() -> Disk:
    disk = differencing()
    _record(disk, ".\\gone\\0.vhdx")
    return disk


def _record(disk: Disk, path: str) -> None:
    with closing(open_image(disk.files.open(disk.paths[0], Access.WRITE), new_id=counting_ids(70))) as image:
        parent = image.info.parent
        assert parent is not None
        image.set_parent(ParentLink(parent.linkage, parent.linkage2, {"relative_path": path}))


def everything() -> Disk:
    disk = dirty()
    made = leaf(disk)
    made.write(HEADERS[0] + 16, b"\xee")
    made.write(REGION_TABLES[1] + 5000, b"\xee")
    made.write(made.size + MIB - 5, b"rest")
    return disk


def vhd(*, fixed: bool = False) -> Disk:
    options = CreateOptions(format=ImageFormat.VHD, fixed=fixed, block_size=None if fixed else 2 * MIB)
    disk = Disk.shaped(MemoryFileSystem(), SIZE, options)
    disk.write(0, pattern(1, 100_000))
    disk.write(4 * MIB + 512, pattern(2, MIB))
    disk.close()
    return disk


def vhd_child() -> Disk:
    disk = vhd()
    disk.snapshot()
    disk.write(3 * MIB, pattern(3, 5000))
    disk.close()
    return disk


def _vhd(start: Callable[[], Disk], *changes: Callable[[Forge], None]) -> Callable[[], Disk]:
    def make() -> Disk:
        disk = start()
        for change in changes:
            change(leaf(disk))
        return disk

    return make


def _end_zeroed(made: Forge) -> None:
    made.write(made.size - 512, bytes(512))


def _end_broken(made: Forge) -> None:
    made.write(made.size - 512 + 30, b"\xee")


def _end_cut(made: Forge) -> None:
    made.truncate(made.size - 512)


def _copy_zeroed(made: Forge) -> None:
    made.write(0, bytes(512))


def _copy_broken(made: Forge) -> None:
    made.write(30, b"\xee")


def _copy_old(made: Forge) -> None:
    """As a crash leaves it between the two."""
    made.write(0, vhd_images.sealed(_changed(made.read(0, 512), 24, b"time"), 64))


def _checksums(made: Forge) -> None:
    for offset in {0, made.size - 512}:
        if made.read(offset, 8) == b"conectix":
            made.write(offset + 64, b"\xee\xee\xee\xee")


def _header_checksum(made: Forge) -> None:
    made.write(512 + 36, b"\xee\xee\xee\xee")


def _changed(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _grown(made: Forge) -> None:
    made.truncate(made.size + 3 * MIB)


def vhd_moved_parent() -> Disk:
    disk = vhd_child()
    _record(disk, ".\\gone\\0.vhd")
    return disk


DAMAGES = {
    "header 1, checksum": Damage(_header(0, 16), ("header-checksum",), "copy 1 is not valid"),
    "header 2, checksum": Damage(_header(1, 2000), ("header-checksum",), "rewritten from copy 1"),
    "header 2, signature": Damage(_header(1, 0), ("header-signature",), "copy 2 is not valid"),
    "log": Damage(dirty, ("log-dirty",), "are replayed"),
    "log and header 1": Damage(_dirty_header(0), ("header-checksum", "log-dirty"), "from copy 2"),
    "log and header 2": Damage(_dirty_header(1), ("header-checksum", "log-dirty"), "from copy 1"),
    "region table 1": Damage(_region_table(0, 40), ("region-table-checksum",), "rewritten from copy 2"),
    "region table 2": Damage(_region_table(1, 0), ("region-table-signature",), "rewritten from copy 1"),
    "zero block with place": Damage(_entry(3, 4 * MIB | 2), ("bat-zero-with-place",), "1 entry, first entry 3"),
    "absent block with place": Damage(_entry(4, 900 * MIB), ("bat-absent-with-place",), "first entry 4"),
    "absent bitmap with place": Damage(
        _entry(4097, 8 * MIB, two_chunks), ("bat-absent-with-place",), "first entry 4097"
    ),
    "padding": Damage(_entry(6, 3), ("bat-padding",), "they belong to no block of the disk"),
    "padding far away": Damage(_entry(100_000, 999 * MIB | 6), ("bat-padding",), "first entry 100000"),
    "bitmap without parent": Damage(
        bitmap_without_parent, ("bat-bitmap-without-parent", "space-unused"), "of a disk without a parent"
    ),
    "gap": Damage(zeroed, ("space-unused",), "punched out as holes"),
    "tail": Damage(tail, ("space-unused",), "unreferenced bytes at the end are truncated"),
    "moved parent": Damage(moved_parent, ("chain-stale-path",), "does not lead to the parent"),
    "everything": Damage(
        everything, ("header-checksum", "log-dirty", "region-table-checksum", "space-unused"), "copy 1"
    ),
    "vhd, end zeroed": Damage(_vhd(vhd, _end_zeroed), ("vhd-footer-end-missing",), "its copy at 0 is appended"),
    "vhd, end broken": Damage(_vhd(vhd, _end_broken), ("vhd-footer-other-checksum",), "is not valid"),
    "vhd, end cut": Damage(_vhd(vhd, _end_cut), ("vhd-footer-end-missing",), "is missing"),
    "vhd child, end cut": Damage(_vhd(vhd_child, _end_cut), ("vhd-footer-end-missing",), "is missing"),
    "vhd, copy zeroed": Damage(_vhd(vhd, _copy_zeroed), ("vhd-footer-copy-missing",), "is missing"),
    "vhd, copy broken": Damage(_vhd(vhd, _copy_broken), ("vhd-footer-other-checksum",), "is not valid"),
    "vhd, copy old": Damage(_vhd(vhd, _copy_old), ("vhd-footers-differ",), "older than the footer at the end"),
    "vhd, checksums": Damage(
        _vhd(vhd, _checksums), ("vhd-footer-checksum", "vhd-footer-other-checksum"), "it is recomputed"
    ),
    "vhd, header checksum": Damage(_vhd(vhd, _header_checksum), ("vhd-header-checksum",), "it is recomputed"),
    "vhd, all checksums": Damage(
        _vhd(vhd_child, _checksums, _header_checksum),
        ("vhd-footer-checksum", "vhd-header-checksum", "vhd-footer-other-checksum"),
        "it is recomputed",
    ),
    "vhd, header checksum and end": Damage(
        _vhd(vhd, _header_checksum, _end_cut), ("vhd-header-checksum", "vhd-footer-end-missing"), "is missing"
    ),
    "vhd, moved parent": Damage(vhd_moved_parent, ("chain-stale-path",), "does not lead to the parent"),
    "fixed vhd, checksum": Damage(
        _vhd(lambda: vhd(fixed=True), _checksums), ("vhd-footer-checksum",), "it is recomputed"
    ),
    "fixed vhd, growing stopped": Damage(
        _vhd(lambda: vhd(fixed=True), _grown),
        ("vhd-footer-none",),
        "growing the fixed disk was interrupted",
        ImageFormat.VHD,
    ),
}

