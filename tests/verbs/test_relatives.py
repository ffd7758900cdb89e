"""Nothing is done to an image that would take the parent away from another."""

import pytest

from tests.support.disks import MIB, Disk, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.parents import ParentPolicy
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.verbs.engine import Direction, NativeEngine, Shrink


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def family(files: MemoryFileSystem) -> Disk:
    """0.vhdx below 1.vhdx below 2.vhdx below 3.vhdx, and twin.vhdx, a second child of 1.vhdx."""
    disk = Disk.create(files, 8 * MIB)
    disk.write(0, pattern(1, 4 * MIB))
    for number in (2, 3, 4):
        disk.snapshot()
        disk.write(number * MIB, pattern(number, 2 * MIB + 512))
    disk.close()
    disk.engine.create_child(files, "twin.vhdx", "1.vhdx")
    return disk


def content(engine: NativeEngine, files: MemoryFileSystem, path: str) -> bytes:
    with engine.open_chain(files, path) as chain:
        return chain.read(0, chain.size)


def test_children_are_found(files: MemoryFileSystem, family: Disk) -> None:
    engine = family.engine
    assert engine.children(files, "0.vhdx") == ["1.vhdx"]
    assert engine.children(files, "1.vhdx") == ["2.vhdx", "twin.vhdx"]
    assert engine.children(files, "3.vhdx") == []


def test_a_child_that_was_renamed_is_found_and_one_of_an_earlier_state_is_not(
    files: MemoryFileSystem, family: Disk
) -> None:
    files.rename("1.vhdx", "renamed.vhdx", replace=False)
    assert family.engine.children(files, "renamed.vhdx") == ["2.vhdx", "twin.vhdx"], "by linkage alone"
    with family.engine.open_chain(files, "renamed.vhdx", writable=1, orphan=True) as chain:
        chain.write(0, b"changed")
    assert family.engine.children(files, "renamed.vhdx") == []


def test_writing_to_a_parent_is_refused(files: MemoryFileSystem, family: Disk) -> None:
    before = {path: pages.fingerprint() for path, pages in files.snapshot().items()}
    with pytest.raises(Error, match=r"parent of .*2\.vhdx, .*twin\.vhdx"):
        family.engine.open_chain(files, "1.vhdx", writable=1)
    with pytest.raises(Error, match=r"parent of .*2\.vhdx"):
        family.engine.resize(files, "1.vhdx", 16 * MIB)
    assert {path: pages.fingerprint() for path, pages in files.snapshot().items()} == before
    files.open("1.vhdx", Access.WRITE).close()


def test_merging_below_a_second_child_is_refused_unless_it_is_given_up(files: MemoryFileSystem, family: Disk) -> None:
    plan = family.engine.plan_merge(files, "2.vhdx", "1.vhdx")
    assert plan.orphaned == ("twin.vhdx",)
    with pytest.raises(Error, match=r"twin\.vhdx"):
        family.engine.merge(files, "2.vhdx", "1.vhdx")
    family.check()
    family.engine.merge(files, "2.vhdx", "1.vhdx", orphan=True, remove=True)
    assert sorted(files.list("")) == ["0.vhdx", "1.vhdx", "3.vhdx", "twin.vhdx"]
    assert content(family.engine, files, "3.vhdx") == family.contents[0]


def test_merging_a_run_whose_middle_has_a_second_child_is_refused(files: MemoryFileSystem, family: Disk) -> None:
    with pytest.raises(Error, match=r"twin\.vhdx"):
        family.engine.merge(files, "2.vhdx", "0.vhdx")
    family.check()


def test_what_names_the_merged_top_is_relinked_and_what_nothing_names_is_removed(
    files: MemoryFileSystem, family: Disk
) -> None:
    files.remove("twin.vhdx")
    plan = family.engine.plan_merge(files, "2.vhdx", "0.vhdx")
    assert (plan.result, plan.merged, plan.relinked) == ("0.vhdx", ("2.vhdx", "1.vhdx"), ("3.vhdx",))
    assert family.engine.merge(files, "2.vhdx", "0.vhdx", remove=True) == "0.vhdx"
    assert sorted(files.list("")) == ["0.vhdx", "3.vhdx"]
    assert family.engine.layers(files, "3.vhdx") == ["3.vhdx", "0.vhdx"]
    assert content(family.engine, files, "3.vhdx") == family.contents[0]


def test_a_directory_that_cannot_be_listed_keeps_the_merged_file(
    files: MemoryFileSystem, family: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: str, prefix: str = "", suffix: str = "") -> list[str]:
        raise PermissionError(directory)

    monkeypatch.setattr(files, "list", refuse)
    family.engine.merge(files, "3.vhdx", "2.vhdx", remove=True)
    files.stat("3.vhdx")


def test_unrelated_names_are_not_looked_into(files: MemoryFileSystem, family: Disk) -> None:
    policy = ParentPolicy(related=lambda path, name: name != "twin.vhdx")
    assert NativeEngine(policy=policy).children(files, "1.vhdx") == ["2.vhdx"]


def test_up_leaves_the_layers_below_to_their_other_children(files: MemoryFileSystem, family: Disk) -> None:
    twin = content(family.engine, files, "twin.vhdx")
    linkage = family.engine.info(files, "2.vhdx").linkage
    result = family.engine.merge(files, "2.vhdx", "0.vhdx", direction=Direction.UP, remove=True)
    assert result == "2.vhdx"
    assert sorted(files.list("")) == ["0.vhdx", "1.vhdx", "2.vhdx", "3.vhdx", "twin.vhdx"]
    info = family.engine.info(files, "2.vhdx")
    assert (info.parent, info.linkage) == (None, linkage)
    assert family.engine.layers(files, "3.vhdx") == ["3.vhdx", "2.vhdx"]
    assert content(family.engine, files, "3.vhdx") == family.contents[0]
    assert content(family.engine, files, "2.vhdx") == family.contents[1]
    assert content(family.engine, files, "twin.vhdx") == twin


def test_up_within_a_chain_takes_the_grandparent(files: MemoryFileSystem, family: Disk) -> None:
    files.remove("twin.vhdx")
    family.engine.merge(files, "2.vhdx", "1.vhdx", direction=Direction.UP, remove=True)
    assert family.engine.layers(files, "3.vhdx") == ["3.vhdx", "2.vhdx", "0.vhdx"]
    assert sorted(files.list("")) == ["0.vhdx", "2.vhdx", "3.vhdx"]
    assert content(family.engine, files, "3.vhdx") == family.contents[0]


@pytest.mark.parametrize("sizes", [(8, 4, 6), (4, 8, 6), (6, 6, 3), (3, 5, 7)])
@pytest.mark.parametrize("target", [1, 2])
def test_up_with_layers_of_different_sizes(files: MemoryFileSystem, sizes: tuple[int, ...], target: int) -> None:
    disk = Disk.create(files, sizes[0] * MIB + 512)
    for number, size in enumerate(sizes):
        if number:
            disk.snapshot(size * MIB + 512)
        disk.write(512, pattern(number, min(2, size) * MIB))
        disk.write(disk.size - 1536, pattern(number + 9, 1536))
    top = disk.contents[0]
    disk.close()
    disk.engine.merge(files, disk.paths[0], disk.paths[target], direction=Direction.UP)
    assert content(disk.engine, files, disk.paths[0]) == top


def test_the_cheaper_direction(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 16 * MIB)
    disk.write(0, pattern(1, MIB))
    disk.snapshot()
    disk.write(2 * MIB, pattern(2, 10 * MIB))
    disk.close()
    plan = disk.engine.plan_merge(files, "1.vhdx", "0.vhdx", direction=Direction.CHEAPER)
    assert (plan.direction, plan.moved, plan.result) == (Direction.UP, MIB, "1.vhdx")
    down = disk.engine.plan_merge(files, "1.vhdx", "0.vhdx")
    assert (down.direction, down.moved, down.needed) == (Direction.DOWN, 10 * MIB, 10 * MIB)
    assert disk.engine.merge(files, "1.vhdx", "0.vhdx", direction=Direction.CHEAPER, remove=True) == "1.vhdx"
    assert files.list("") == ["1.vhdx"]
    assert content(disk.engine, files, "1.vhdx") == disk.contents[0]


def test_the_parent_of_a_vhd_is_protected_too(files: MemoryFileSystem) -> None:
    """Its id does not change, so nothing else would tell."""
    disk = Disk.shaped(files, 6 * MIB, CreateOptions(format=ImageFormat.VHD, block_size=MIB))
    disk.write(0, pattern(1, 3 * MIB))
    for number in (2, 3):
        disk.snapshot()
        disk.write(number * MIB, pattern(number, MIB + 512))
    disk.close()
    engine = disk.engine
    engine.create_child(files, "twin.vhd", "0.vhd")
    with pytest.raises(Error, match=r"1\.vhd, .*twin\.vhd"):
        engine.open_chain(files, "0.vhd", writable=1)
    with pytest.raises(Error, match=r"twin\.vhd"):
        engine.merge(files, "1.vhd", "0.vhd")
    engine.merge(files, "1.vhd", "0.vhd", orphan=True, remove=True)
    assert files.list("") == ["0.vhd", "2.vhd", "twin.vhd"]
    assert content(engine, files, "2.vhd") == disk.contents[0]


def test_formats_do_not_mix_in_a_chain(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.create(files, "a.vhdx", MIB)
    engine.create(files, "b.vhd", MIB, CreateOptions(format=ImageFormat.VHD))
    engine.create_child(files, "c.vhd", "b.vhd")
    with pytest.raises(Error, match="cannot have a vhdx as its parent"):
        engine.relink(files, "c.vhd", "a.vhdx")
    engine.create(files, "d.raw", MIB, CreateOptions(format=ImageFormat.RAW))
    with pytest.raises(Error, match="raw"):
        engine.create_child(files, "e.vhdx", "d.raw")


def test_a_plan_changes_nothing(files: MemoryFileSystem, family: Disk) -> None:
    before = {path: pages.fingerprint() for path, pages in files.snapshot().items()}
    for direction in Direction:
        family.engine.plan_merge(files, "3.vhdx", "0.vhdx", direction=direction)
    assert {path: pages.fingerprint() for path, pages in files.snapshot().items()} == before


def test_shrinking_has_to_be_asked_for_and_never_cuts_data_unless_forced(files: MemoryFileSystem) -> None:
    disk = Disk.create(files, 8 * MIB)
    disk.write(0, pattern(1, 3 * MIB))
    disk.write(5 * MIB, bytes(MIB))
    disk.close()
    with pytest.raises(Error, match="asked for"):
        disk.engine.resize(files, "0.vhdx", 4 * MIB)
    with pytest.raises(Error, match="there is data between"):
        disk.engine.resize(files, "0.vhdx", 2 * MIB, shrink=Shrink.UNUSED)
    assert disk.engine.info(files, "0.vhdx").virtual_size == 8 * MIB
    disk.engine.resize(files, "0.vhdx", 3 * MIB, shrink=Shrink.UNUSED)
    assert content(disk.engine, files, "0.vhdx") == pattern(1, 3 * MIB)
    disk.engine.resize(files, "0.vhdx", MIB, shrink=Shrink.FORCE)
    assert content(disk.engine, files, "0.vhdx") == pattern(1, MIB)
