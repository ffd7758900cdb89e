"""Giving back what nothing refers to changes no byte that anything refers to."""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.format.raw import MIB
from tests.image.forge import Forge
from tests.repair.cases import back, do, errors, plan
from tests.repair.damages import bitmap_without_parent, dynamic, files_of, leaf, tail, zeroed
from tests.support.disks import Disk, counting_ids
from tests.support.kinds import KINDS, random_disk
from tests.support.memory import MemoryFileSystem
from vhdx.format.header import AREA
from vhdx.image.base import CreateOptions
from vhdx.image.vhdx.file import survey
from vhdx.image.vhdx.open import open_vhdx
from vhdx.repair.verb import plan_repair, repair
from vhdx.storage.base import Access

RECLAIMED = ("vhdx-dynamic", "vhdx-differencing")


def taken(files: MemoryFileSystem, path: str) -> list[int]:
    """The MiB behind the first that something refers to, by the survey that every writer begins with."""
    with closing(open_vhdx(files.open(path, Access.READ), new_id=counting_ids(5))) as image:
        space = survey(image._blocks._file)
    free = set()
    while not (place := space.allocate(MIB)).fresh:
        free.add(place.offset)
    size = files.stat(path).size
    return [offset for offset in range(AREA, size, MIB) if offset not in free]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", RECLAIMED)
def test_images_of_any_history(kind: str, seed: int) -> None:
    disk = random_disk(MemoryFileSystem(), KINDS[kind], seed)
    files, path = files_of(disk), disk.paths[0]
    before, made = files.fingerprint(path), Forge(files, path)
    if seed % 2:
        made.write(made.size + MIB, b"\xee" * (seed * 1000))
        before = files.fingerprint(path)
    places = taken(files, path)
    held = {offset: made.read(offset, MIB) for offset in places}
    fixes = do(files, path)
    assert {fix.code for fix in fixes} <= {"space-unused"}
    assert bool(fixes) >= bool(seed % 2)
    assert taken(files, path) == places
    assert {offset: made.read(offset, MIB) for offset in places} == held
    for offset in range(AREA, made.size, MIB):
        assert offset in held or not made.read(offset, MIB).strip(b"\0")
    disk.check()
    assert not errors(files, path)
    if fixes:
        back(files, path)
    assert files.fingerprint(path) == before
    disk.check()


def test_a_fixed_disk_keeps_its_room() -> None:
    disk = Disk.shaped(MemoryFileSystem(), 4 * MIB, CreateOptions(fixed=True, block_size=MIB))
    made = leaf(disk)
    for index in range(4):
        made.set_entry(index, 0)
    assert plan(files_of(disk), disk.paths[0]) == []


@pytest.mark.parametrize("make", [zeroed, tail])
def test_only_when_it_is_wanted(make: Callable[[], Disk]) -> None:
    disk = make()
    files, path = files_of(disk), disk.paths[0]
    disk.close()
    before = files.fingerprint(path)
    assert plan_repair(files, path, new_id=counting_ids(), reclaim=False) == []
    assert repair(files, path, undo="undo", new_id=counting_ids(), reclaim=False) == []
    assert files.fingerprint(path) == before


def test_what_entries_behind_the_disk_name_is_kept() -> None:
    """The disk may have been larger: its size has no checksum."""
    disk = dynamic()
    made = leaf(disk)
    place = made.size
    made.write(place, b"\xee" * MIB)
    made.set_entry(6, place | 6)
    assert plan(files_of(disk), disk.paths[0]) == []


def test_bitmaps_are_kept_where_a_parent_is_recorded() -> None:
    disk = dynamic()
    disk.snapshot()
    disk.write(512, b"partial")
    made = leaf(disk)
    flags = made.metadata + 65536 + 4
    made.write(flags, bytes(4))
    held = made.entry(0)
    made.set_entry(0, held & ~7 | 6)
    assert all(fix.code != "bat-bitmap-without-parent" for fix in plan(files_of(disk), disk.paths[0]))
    assert plan(files_of(bitmap_without_parent()), "0.vhdx")[0].code == "bat-bitmap-without-parent"
