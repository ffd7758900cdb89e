"""Whose the start of a VHD is: a guest may keep a whole VHD there, and damage at the end must not bring that forth."""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.check import check_storage
from vhdx.errors import Error, FormatError
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.storage.base import Access
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import NativeEngine

VHD, SIZE, FOOTER = ImageFormat.VHD, 8 * MIB, 512
ENGINE = NativeEngine(counting_ids())
Damage = Callable[[bytearray], None]


def whole(*, fixed: bool, inside: bytes = b"") -> tuple[bytes, bytes]:
    """A VHD with *inside* at the start of its disk: the file, and the disk."""
    files = MemoryFileSystem()
    ENGINE.create(files, "a.vhd", SIZE if fixed else MIB, CreateOptions(format=VHD, fixed=fixed))
    with ENGINE.open_chain(files, "a.vhd", writable=1) as chain:
        chain.write(chain.size - 4096, pattern(len(inside), 4096))
        if inside:
            chain.write(0, inside)
        disk = chain.read(0, chain.size)
    with closing(files.open("a.vhd", Access.READ)) as storage:
        return pread(storage, 0, storage.size()), disk


INNER, _ = whole(fixed=False)
FILE, DISK = whole(fixed=True, inside=INNER)
DYNAMIC, DYNAMIC_DISK = whole(fixed=False)


def damaged(file: bytes, damage: Damage) -> MemoryFileSystem:
    data = bytearray(file)
    damage(data)
    files = MemoryFileSystem()
    with closing(files.create("a.vhd")) as storage:
        storage.write([(0, bytes(data))])
    return files


def flipped(at: int) -> Damage:
    def damage(data: bytearray) -> None:
        data[at - FOOTER] ^= 1 << at % 8

    return damage


def blanked(at: int, length: int) -> Damage:
    def damage(data: bytearray) -> None:
        data[len(data) - FOOTER + at : len(data) - FOOTER + at + length] = bytes(length)

    return damage


def grown(data: bytearray) -> None:
    data += bytes(4 * MIB)


FIXED = {
    **{f"bit of byte {at}": flipped(at) for at in range(0, FOOTER, 5)},
    **{f"byte {at}": flipped(at) for at in (0, 7, 8, 15, 16, 23, 48, 55, 60, 61, 62, 63, 64, 67, 84)},
    **{f"16 bytes at {at}": blanked(at, 16) for at in range(0, FOOTER, 16)},
    "the growth was cut short": grown,
}


def test_a_disk_inside_a_fixed_one_never_takes_its_place() -> None:
    for name, damage in FIXED.items():
        files = damaged(FILE, damage)
        for step in ("damaged", "repaired"):
            try:
                with ENGINE.open_chain(files, "a.vhd", format=VHD) as chain:
                    assert chain.leaf.info.type is DiskType.FIXED, (name, step)
                    assert chain.read(0, chain.size) == DISK, (name, step)
            except FormatError:
                with closing(files.open("a.vhd", Access.READ)) as storage:
                    found = [one.severity.value for one in check_storage(storage, format=VHD)]
                assert "error" in found, (name, step)
            if step == "damaged":
                try:
                    ENGINE.repair(files, "a.vhd", undo="undo", format=VHD)
                except Error:
                    with closing(files.open("a.vhd", Access.READ)) as storage:
                        data = bytearray(FILE)
                        damage(data)
                        assert pread(storage, 0, storage.size()) == data, "nothing was changed"


@pytest.mark.parametrize("marks", [b"conectix", b"v_poison", INNER])
def test_what_is_at_the_start_of_a_fixed_disk_is_no_finding(marks: bytes) -> None:
    file, _ = whole(fixed=True, inside=marks)
    files = damaged(file, lambda data: None)
    assert [str(one) for one in ENGINE.check(files, "a.vhd", format=VHD) if one.severity.value != "info"] == []
    # A wrong checksum is put right, whatever stands at the start.
    with closing(files.open("a.vhd", Access.WRITE)) as storage:
        storage.write([(len(file) - FOOTER + 64, b"\xee")])
    assert [fix.code for fix in ENGINE.repair(files, "a.vhd", undo="undo", format=VHD)] == ["vhd-footer-checksum"]
    with closing(files.open("a.vhd", Access.READ)) as storage:
        assert pread(storage, 0, storage.size()) == file


def test_the_copy_still_serves_a_disk_with_blocks() -> None:
    for name, damage in FIXED.items():
        files = damaged(DYNAMIC, damage)
        with ENGINE.open_chain(files, "a.vhd", format=VHD) as chain:
            assert chain.read(0, chain.size) == DYNAMIC_DISK, name
