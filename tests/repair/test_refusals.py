"""What would be a guess is refused with a word on what was found, and no byte changes."""

import struct
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.check import vhd_images
from tests.format.raw import BAT_REGION, MIB
from tests.image.forge import Forge
from tests.repair.cases import back, do, plan
from tests.repair.damages import differencing, dirty, dynamic, files_of, leaf, vhd, vhd_child
from tests.support.disks import Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.errors import Error, InUse
from vhdx.image.base import ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access


def refused(files: MemoryFileSystem, path: str, words: str, format: ImageFormat | None = None) -> None:
    before = files.snapshot()
    for verb in (plan, do):
        with pytest.raises(Error, match=words):
            verb(files, path, format)
    assert {name: pages.fingerprint() for name, pages in files.snapshot().items()} == {
        name: pages.fingerprint() for name, pages in before.items()
    }


def _same_sequence(made: Forge) -> None:
    made.change_header(8, struct.pack("<Q", 77))
    made.change_header(16, b"different", slots=(0,))


def _no_header(made: Forge) -> None:
    made.write(64 << 10, bytes(8))
    made.write(128 << 10, bytes(8))


def _tables_differ(made: Forge) -> None:
    made.change_sealed(256 << 10, 64 << 10, 16 + 16, struct.pack("<Q", 9 * MIB))


def _no_table(made: Forge) -> None:
    made.write(192 << 10, bytes(8))
    made.write(256 << 10, bytes(8))


def _overlap(made: Forge) -> None:
    made.set_entry(1, made.entry(0))


def _bad_state(made: Forge) -> None:
    made.set_entry(1, 5)


def _reserved_bits(made: Forge) -> None:
    made.set_entry(1, 8)


def _cut_off(made: Forge) -> None:
    made.truncate(made.size - MIB)


def _no_metadata(made: Forge) -> None:
    made.write(made.metadata, bytes(64 << 10))


def _table_elsewhere(made: Forge) -> None:
    offset, length = made.region(BAT_REGION)
    made.set_regions((BAT_REGION, offset, length, 1))


def _last_sequence(made: Forge) -> None:
    made.change_header(8, struct.pack("<Q", (1 << 64) - 1), slots=(0,))
    made.write((128 << 10) + 20, b"\xee")


VHDX: dict[str, tuple[Callable[[], Disk], Callable[[Forge], None]]] = {
    "same sequence number and different contents": (dynamic, _same_sequence),
    "no copy is valid": (dynamic, _no_header),
    "both copies are valid but differ": (dynamic, _tables_differ),
    "region table at offset 196608: no copy is valid": (dynamic, _no_table),
    "overlaps block 0": (dynamic, _overlap),
    "state 5 is undefined": (dynamic, _bad_state),
    "reserved bits are set": (dynamic, _reserved_bits),
    "extends beyond end of file": (dynamic, _cut_off),
    "metadata table": (differencing, _no_metadata),
    "0 entries for the metadata region": (dynamic, _table_elsewhere),
    "largest possible": (dynamic, _last_sequence),
    "no valid sequence": (dirty, lambda made: made.write(MIB, bytes(MIB))),
}


@pytest.mark.parametrize("words", VHDX)
def test_a_vhdx(words: str) -> None:
    make, damage = VHDX[words]
    disk = make()
    damage(leaf(disk))
    refused(files_of(disk), disk.paths[0], words)


def test_nothing_is_repaired_where_something_cannot_be() -> None:
    disk = dynamic()
    made = leaf(disk)
    made.write(64 << 10, b"\xee")
    made.set_entry(1, made.entry(0))
    refused(files_of(disk), disk.paths[0], "cannot be repaired without guessing, so nothing is repaired")


def _footers(place: int, data: bytes) -> Callable[[Forge], None]:
    return lambda made: vhd_images.change_footers(made, place, data)


def _poison(made: Forge) -> None:
    made.write(0, b"v_poison")


def _both_wrong(made: Forge) -> None:
    made.write(64, b"\xee\xee\xee\xee")
    made.write(made.size - 512 + 64, b"\xee\xee\xee\xee")
    made.write(made.size - 512 + 24, b"time")


def _two_disks(made: Forge) -> None:
    other = made.read(0, 512)
    made.write(0, vhd_images.sealed(other[:68] + b"another disk's i" + other[84:], 64))


def _no_footers(made: Forge) -> None:
    made.write(0, bytes(512))
    made.write(made.size - 512, bytes(512))


def _block_behind_end(made: Forge) -> None:
    made.write(vhd_images.TABLE, struct.pack(">I", 1 << 20))
    made.write(made.size - 512, bytes(512))


def _header_nonsense(made: Forge) -> None:
    made.write(512 + 24, b"\xee")


VHD: dict[str, tuple[Callable[[], Disk], Callable[[Forge], None]]] = {
    "a virtual machine was suspended": (vhd, _footers(84, b"\1")),
    "marked the file unsafe": (vhd, _poison),
    "other fields differ too": (vhd, _both_wrong),
    "both valid, but of different disks": (vhd, _two_disks),
    "neither a VHDX nor a VHD": (vhd, _no_footers),
    "extends beyond end of file": (vhd, _block_behind_end),
    "the checksum is wrong and the version is": (vhd_child, _header_nonsense),
    "a virtual machine was suspended with": (lambda: vhd(fixed=True), _footers(84, b"\1")),
}


@pytest.mark.parametrize("words", VHD)
def test_a_vhd(words: str) -> None:
    make, damage = VHD[words]
    disk = make()
    damage(leaf(disk))
    refused(files_of(disk), disk.paths[0], words)


def test_a_footer_in_a_disk_is_believed_only_when_the_caller_says_so() -> None:
    disk = vhd(fixed=True)
    made = leaf(disk)
    made.truncate(made.size + MIB)
    refused(files_of(disk), disk.paths[0], "if so, give the format: vhd")
    made.write(0, b"conectix")
    refused(files_of(disk), disk.paths[0], "if so, give the format: vhd")
    assert [fix.code for fix in plan(files_of(disk), disk.paths[0], ImageFormat.VHD)] == ["vhd-footer-none"]


def test_a_disk_inside_a_fixed_disk_does_not_count() -> None:
    """The footer at the end is wrong in more than its sum, and the guest keeps a VHD at the start of its disk."""
    inner, disk = vhd(), vhd(fixed=True)
    made = leaf(disk)
    made.write(0, leaf(inner).read(0, 2 * MIB))
    made.write(made.size - 512 + 24, b"time")
    made.write(made.size - 512 + 90, b"\xee")
    refused(files_of(disk), disk.paths[0], "of a fixed disk, .*; the footer at 0 belongs to")


def test_what_lies_behind_a_lost_footer_is_kept() -> None:
    disk = vhd(fixed=True)
    made = leaf(disk)
    made.write(made.size + MIB, b"something")
    refused(files_of(disk), disk.paths[0], "no footer is there|no footer at the end of a smaller", ImageFormat.VHD)


def test_raw_bytes() -> None:
    files = MemoryFileSystem({"disk": Pages(pattern(1, MIB))})
    refused(files, "disk", "neither a VHDX nor a VHD")
    refused(files, "disk", "every byte of a raw file is guest data", ImageFormat.RAW)


def test_two_files_that_may_be_the_parent() -> None:
    pages = files_of(differencing()).snapshot()
    twins = MemoryFileSystem({"a.vhdx": pages["0.vhdx"], "b.vhdx": pages["0.vhdx"].copy(), "1.vhdx": pages["1.vhdx"]})
    with closing(open_image(twins.open("1.vhdx", Access.WRITE), new_id=counting_ids(5))) as image:
        parent = image.info.parent
        assert parent is not None
        paths = {"relative_path": ".\\x\\a.vhdx", "absolute_win32_path": "\\\\?\\C:\\b.vhdx"}
        image.set_parent(ParentLink(parent.linkage, None, paths))
    refused(twins, "1.vhdx", "memory:/a.vhdx, memory:/b.vhdx all match as its parent")


def test_a_parent_that_is_not_there_is_nothing_to_repair() -> None:
    disk = differencing()
    files_of(disk).remove(disk.paths[1])
    assert plan(files_of(disk), disk.paths[0]) == []


def test_a_sound_image() -> None:
    for disk in (dynamic(), differencing(), vhd(), vhd_child(), vhd(fixed=True)):
        assert do(files_of(disk), disk.paths[0]) == []
        assert "undo" not in files_of(disk).paths()


def test_an_undo_file_is_never_overwritten() -> None:
    disk = dynamic()
    made = leaf(disk)
    made.write(64 << 10, b"\xee")
    files = files_of(disk)
    before = files.fingerprint(disk.paths[0])
    for name in ("undo", disk.paths[0]):
        if name == "undo":
            files.create("undo").close()
        with pytest.raises(FileExistsError):
            do(files, disk.paths[0], undo=name)
    assert files.fingerprint(disk.paths[0]) == before


def test_an_image_in_use() -> None:
    disk = dynamic()
    files = files_of(disk)
    holder = files.open(disk.paths[0], Access.WRITE)
    for verb in (plan, do):
        with pytest.raises(InUse):
            verb(files, disk.paths[0])
    holder.close()


def test_an_image_that_was_used_after_the_repair_is_not_taken_back() -> None:
    disk = dynamic()
    made = leaf(disk)
    made.set_entry(3, 900 * MIB)
    files = files_of(disk)
    do(files, disk.paths[0])
    disk.write(100, b"new")
    disk.close()
    used = files.fingerprint(disk.paths[0])
    with pytest.raises(Error, match="was modified since"):
        back(files, disk.paths[0])
    assert files.fingerprint(disk.paths[0]) == used
    disk.check()
