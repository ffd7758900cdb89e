"""Merges that are stopped, raced, or surrounded by files that cannot be looked into: nothing that is needed is lost."""

import errno

import pytest

from tests.image.forge import Forge
from tests.support.choice import Points, points
from tests.support.disks import MIB, Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.chain.family import Family
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.watched import Operation
from vhdx.verbs import engine, merging
from vhdx.verbs.engine import Direction, MergePlan, NativeEngine

FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]


def family(files: MemoryFileSystem, format: ImageFormat, leaves: int) -> Disk:
    """Three layers, and so many children of the uppermost."""
    disk = Disk.shaped(files, 4 * MIB, CreateOptions(format=format, block_size=MIB))
    disk.write(0, pattern(1, 4 * MIB))
    disk.snapshot()
    disk.write(0, pattern(2, 2 * MIB))
    disk.snapshot()
    disk.write(MIB, pattern(3, 2 * MIB))
    disk.close()
    for number in range(leaves):
        disk.engine.create_child(files, f"leaf{number}.{format}", disk.paths[0])
    return disk


def content(files: MemoryFileSystem, path: str) -> bytes:
    with NativeEngine(counting_ids(5000)).open_chain(files, path) as chain:
        return chain.read(0, chain.size)


@pytest.mark.parametrize("which", points(8))
@pytest.mark.parametrize("leaves", [0, 1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_the_same_call_finishes_or_has_nothing_left_to_do(format: ImageFormat, leaves: int, which: Points) -> None:
    before = MemoryFileSystem()
    disk = family(before, format, leaves)
    top, middle, base = disk.paths
    expected = bytes(disk.contents[0])
    for limit in which:
        files = MemoryFileSystem(before.snapshot())
        fault = Fault(limit, OSError(errno.EIO, "stopped"))
        try:
            disk.engine.merge(WatchedFileSystem(files, fault), top, base, remove=True)
        except (OSError, Error):
            pass
        else:
            if not fault.fired:
                break
        kept = [f"leaf{number}.{format}" for number in range(leaves)]
        for leaf in kept:
            assert content(files, leaf) == expected
        if top in files.list(""):
            assert content(files, top) == expected
            through_middle = middle in disk.engine.layers(files, top)
            disk.engine.merge(files, top, base, remove=True)
            assert top not in files.list("")
            # Once the top has let go of it, no call knows any more that it was part of the run.
            assert middle not in files.list("") or not through_middle
        assert content(files, base) == expected
        for leaf in kept:
            assert content(files, leaf) == expected
            assert disk.engine.layers(files, leaf) == [leaf, base]
    assert limit > 10


@pytest.mark.parametrize("kind", ["denied", "in use", "damaged"])
def test_a_merged_file_stays_while_something_beside_cannot_be_looked_into(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = MemoryFileSystem()
    disk = family(files, ImageFormat.VHDX, 0)
    disk.engine.create_child(files, "other.vhdx", disk.paths[1])
    before = content(files, "other.vhdx")
    made = Forge(files, "other.vhdx")
    tables = made.read(192 << 10, 128 << 10)
    watched = files
    if kind == "damaged":
        made.write(192 << 10, bytes(128 << 10))
    else:

        def refuse(operation: Operation) -> None:
            if operation.kind == "open" and operation.name == "other.vhdx":
                raise PermissionError("no") if kind == "denied" else InUse("no")

        watched = WatchedFileSystem(files, refuse)
    disk.engine.merge(watched, disk.paths[0], disk.paths[2], remove=True)
    assert disk.paths[1] in files.list(""), "it may be needed"
    if kind == "damaged":
        made.write(192 << 10, tables)
    with NativeEngine().open_chain(files, disk.paths[1]) as chain:
        assert chain.size == 4 * MIB
    assert len(before) == 4 * MIB


@pytest.mark.parametrize("direction", [Direction.DOWN, Direction.UP])
def test_nobody_comes_between_the_look_and_the_merge(direction: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a merge rests on stays as it was seen, since the files are claimed before they are looked at."""
    files = MemoryFileSystem()
    disk = family(files, ImageFormat.VHD, 0)
    top, middle, base = disk.paths
    other = NativeEngine(counting_ids(900))
    refused = []
    plan = merging.plan_merge

    def slow(family: Family, target: str, way: Direction) -> MergePlan:
        found = plan(family, target, way)
        for intrude in (
            lambda: other.merge(files, middle, base, remove=True),
            lambda: other.create_child(files, "new.vhd", top),
            lambda: other.resize(files, top, 8 * MIB, any_size=True),
        ):
            with pytest.raises(InUse):
                intrude()
            refused.append(intrude)
        return found

    monkeypatch.setattr(engine, "plan_merge", slow)
    disk.engine.merge(files, top, base, direction=direction)
    assert len(refused) == 3
    assert content(files, top) == bytes(disk.contents[0])


def test_what_changes_before_the_claim_is_what_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way is chosen by a look without a claim; the plan that is carried out is made under it."""
    files = MemoryFileSystem()
    disk = family(files, ImageFormat.VHDX, 0)
    disk.snapshot()
    disk.close()
    top, second, third, base = disk.paths
    plan_merge = NativeEngine.plan_merge

    def slow(self: NativeEngine, *arguments: object, **options: object) -> object:
        plan = plan_merge(self, *arguments, **options)  # type: ignore[arg-type]
        monkeypatch.undo()
        NativeEngine(counting_ids(900)).merge(files, second, third, remove=True)
        return plan

    monkeypatch.setattr(NativeEngine, "plan_merge", slow)
    disk.engine.merge(files, top, third, direction=Direction.CHEAPER)
    assert content(files, top) == bytes(disk.contents[0])
    assert content(files, base) == bytes(disk.contents[3])


@pytest.mark.parametrize("format", FORMATS)
def test_a_child_never_takes_the_place_of_what_it_or_another_needs(format: ImageFormat) -> None:
    files = MemoryFileSystem()
    disk = family(files, format, 1)
    top, middle, base = disk.paths
    for path, parent in ((base, top), (middle, base), (top, base)):
        with pytest.raises(Error, match=r"is a layer of the disk|is the parent of"):
            disk.engine.create_child(files, path, parent, replace=True)
    disk.check()
    disk.engine.create_child(files, f"leaf0.{format}", middle, replace=True)
    assert content(files, f"leaf0.{format}") == bytes(disk.contents[1])


def test_upward_over_blocks_that_are_called_partial_and_are_not() -> None:
    """Half of a block is written, then the disk is cut to end there: all that is left of the block is here."""
    files = MemoryFileSystem()
    disk = Disk.create(files, 4 * MIB, block_size=2 * MIB)
    disk.write(0, pattern(1, 4 * MIB))
    disk.snapshot()
    disk.write(2 * MIB, pattern(2, MIB))
    disk.resize(3 * MIB)
    top = bytes(disk.contents[0])
    disk.engine.merge(files, disk.paths[0], disk.paths[1], direction=Direction.UP)
    assert content(files, disk.paths[0]) == top
    assert disk.engine.info(files, disk.paths[0]).parent is None


@pytest.mark.parametrize("format", FORMATS)
def test_relinking_to_what_is_recorded_writes_nothing(format: ImageFormat) -> None:
    files = MemoryFileSystem()
    disk = family(files, format, 0)
    written = []

    def watch(operation: Operation) -> None:
        if operation.kind in ("write", "zero", "truncate"):
            written.append(operation)

    disk.engine.relink(WatchedFileSystem(files, watch), disk.paths[0], disk.paths[1])
    assert written == []


def test_a_target_that_goes_on_changing_gets_another_id_each_time() -> None:
    files = MemoryFileSystem()
    disk = family(files, ImageFormat.VHDX, 0)
    top, middle, _ = disk.paths
    disk.engine.merge(files, top, middle)
    disk.engine.create_child(files, "child.vhdx", middle)
    with disk.engine.open_chain(files, top, writable=1) as chain:
        chain.write(0, b"later")
    with pytest.raises(Error, match=r"child\.vhdx"):
        disk.engine.merge(files, top, middle)
    disk.engine.merge(files, top, middle, orphan=True)
    with pytest.raises(Error, match="no longer"):
        content(files, "child.vhdx")


@pytest.mark.parametrize("kind", ["list", "remove"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_merged_file_keeps_its_name_where_nobody_can_tell_who_needs_it(format: ImageFormat, kind: str) -> None:
    files = MemoryFileSystem()
    disk = family(files, format, 0)
    top, middle, base = disk.paths

    def watch(operation: Operation) -> None:
        if operation.kind == kind:
            raise OSError(errno.EIO, "stopped")

    disk.engine.merge(files, top, base)
    with pytest.raises(OSError, match="stopped"):
        disk.engine.merge(WatchedFileSystem(files, watch), top, base, remove=True)
    assert sorted(files.list("")) == sorted([base, middle, top])
    assert content(files, top) == bytes(disk.contents[0])
