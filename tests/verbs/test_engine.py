"""The verbs by path: what they refuse, what they tell on the way, and what a stop leaves."""

from collections.abc import Callable

import pytest

from tests.support.disks import MIB, Disk, counting_ids, holds, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.chain.parents import ParentPolicy
from vhdx.errors import Cancelled, Error, FormatError, InUse, OutOfSpace
from vhdx.image.base import CreateOptions, DiskType, LogState
from vhdx.storage.base import Access
from vhdx.storage.building import temporary_name
from vhdx.verbs.engine import NativeEngine


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def engine() -> NativeEngine:
    return NativeEngine(counting_ids())


def layered(files: MemoryFileSystem, unit: int) -> Disk:
    """Three layers of 20 units."""
    made = Disk.create(files, 20 * unit, block_size=2 * MIB)
    made.write(0, pattern(1, unit))
    made.snapshot()
    made.write(unit // 2, pattern(2, 9 * unit))
    made.snapshot()
    made.write(10 * unit + 512, pattern(3, 8 * unit))
    made.close()
    return made


@pytest.fixture
def disk(files: MemoryFileSystem) -> Disk:
    """Three layers of 20 MiB."""
    return layered(files, MIB)


@pytest.fixture
def large(files: MemoryFileSystem) -> Disk:
    """Three layers of 80 MiB, with more in the upper two than one batch of a merge takes; only the top has a model."""
    engine, content = NativeEngine(counting_ids()), bytearray(80 * MIB)
    engine.create(files, "0.vhdx", len(content), CreateOptions(block_size=2 * MIB))
    for layer, (start, length) in enumerate(((0, 4 * MIB), (2 * MIB, 36 * MIB), (40 * MIB + 512, 32 * MIB))):
        if layer:
            engine.create_child(files, f"{layer}.vhdx", f"{layer - 1}.vhdx")
        data = pattern(layer + 1, length)
        with engine.open_chain(files, f"{layer}.vhdx", writable=1) as chain:
            chain.write(start, data)
        content[start : start + length] = data
    return Disk(files, engine, ["2.vhdx", "1.vhdx", "0.vhdx"], [content], 3)


def test_what_an_image_says_of_itself(files: MemoryFileSystem, engine: NativeEngine) -> None:
    engine.create(files, "a.vhdx", 6 * MIB, CreateOptions(block_size=MIB, creator="somebody"))
    engine.create_child(files, "b.vhdx", "a.vhdx", size=9 * MIB)
    base, child = engine.info(files, "a.vhdx"), engine.info(files, "b.vhdx")
    assert (base.type, base.virtual_size, base.block_size, base.creator) == (DiskType.DYNAMIC, 6 * MIB, MIB, "somebody")
    assert (child.type, child.virtual_size, child.block_size) == (DiskType.DIFFERENCING, 9 * MIB, 2 * MIB)
    assert base.parent is None
    assert child.parent is not None
    assert child.parent.linkage == base.linkage
    assert child.parent.paths == {"relative_path": ".\\a.vhdx"}
    assert child.disk_id == base.disk_id, "layers are one disk"
    assert base.log is child.log is LogState.CLEAN


def test_images_made_with_the_same_ids_are_equal_byte_for_byte() -> None:
    made = []
    for _ in range(2):
        files, engine = MemoryFileSystem(), NativeEngine(counting_ids())
        engine.create(files, "a.vhdx", 6 * MIB)
        with engine.open_chain(files, "a.vhdx", writable=1) as chain:
            chain.write(12345, b"the same")
        made.append({path: pages.fingerprint() for path, pages in files.snapshot().items()})
    assert made[0] == made[1]


@pytest.mark.parametrize("size", [0, -512, 513, (64 << 40) + 512])
def test_a_size_that_cannot_be(files: MemoryFileSystem, engine: NativeEngine, size: int) -> None:
    with pytest.raises(Error, match=r"a\.vhdx"):
        engine.create(files, "a.vhdx", size)
    assert files.list("") == []


@pytest.mark.parametrize(
    "options",
    [
        CreateOptions(block_size=3 * MIB),
        CreateOptions(block_size=512 * MIB),
        CreateOptions(logical_sector_size=1024),
        CreateOptions(log_length=MIB + 1),
        CreateOptions(log_length=0),
    ],
)
def test_a_shape_that_cannot_be(files: MemoryFileSystem, engine: NativeEngine, options: CreateOptions) -> None:
    with pytest.raises(Error):
        engine.create(files, "a.vhdx", MIB, options)
    assert files.list("") == []


def test_nothing_is_overwritten_unless_asked(files: MemoryFileSystem, engine: NativeEngine) -> None:
    engine.create(files, "a.vhdx", MIB)
    engine.create(files, "b.vhdx", MIB)
    before = files.snapshot()["b.vhdx"].fingerprint()
    for attempt in (
        lambda: engine.create(files, "b.vhdx", MIB),
        lambda: engine.create_child(files, "b.vhdx", "a.vhdx"),
        lambda: engine.convert(files, "a.vhdx", files, "b.vhdx"),
    ):
        with pytest.raises(FileExistsError):
            attempt()
    assert files.snapshot()["b.vhdx"].fingerprint() == before
    engine.create_child(files, "b.vhdx", "a.vhdx", replace=True)
    assert engine.layers(files, "b.vhdx") == ["b.vhdx", "a.vhdx"]
    assert files.list("") == ["a.vhdx", "b.vhdx"]


def test_a_creation_that_fails_leaves_nothing(files: MemoryFileSystem, engine: NativeEngine) -> None:
    engine.create(files, "a.vhdx", MIB)
    verbs: list[Callable[[WatchedFileSystem], None]] = [
        lambda there: engine.create(there, "new.vhdx", MIB),
        lambda there: engine.create_child(there, "new.vhdx", "a.vhdx"),
        lambda there: engine.convert(there, "a.vhdx", there, "new.vhdx"),
    ]
    for verb in verbs:
        for at in range(100):
            watch = Fault(at, OutOfSpace("full"), kinds=frozenset({"create", "write", "truncate", "reserve", "flush"}))
            try:
                verb(WatchedFileSystem(files, watch))
                files.remove("new.vhdx")
            except OutOfSpace:
                assert watch.fired
            assert files.list("") == ["a.vhdx"]
            if not watch.fired:
                break
        else:
            pytest.fail("it never ended")


def test_a_child_lies_beside_its_parent(files: MemoryFileSystem, engine: NativeEngine) -> None:
    engine.create(files, "bases/a.vhdx", MIB)
    with pytest.raises(Error, match="one directory"):
        engine.create_child(files, "b.vhdx", "bases/a.vhdx")


@pytest.mark.parametrize(("child", "recorded"), [("b.vhdx", ".\\bases\\a.vhdx"), ("vm/b.vhdx", "..\\bases\\a.vhdx")])
def test_a_parent_elsewhere_is_recorded_where_the_policy_allows_it(
    files: MemoryFileSystem, child: str, recorded: str
) -> None:
    engine = NativeEngine(new_id=counting_ids(), policy=ParentPolicy(directories=("bases",)))
    engine.create(files, "bases/a.vhdx", MIB)
    engine.create_child(files, child, "bases/a.vhdx")
    info = engine.info(files, child)
    assert info.parent is not None
    assert info.parent.paths == {"relative_path": recorded}
    assert engine.layers(files, child) == [child, "bases/a.vhdx"]
    engine.relink(files, child, "bases/a.vhdx")
    assert engine.layers(files, child) == [child, "bases/a.vhdx"]


def test_a_merge_tells_how_far_it_is(large: Disk) -> None:
    told: list[tuple[int, int]] = []
    large.engine.merge(large.files, large.paths[0], large.paths[2], on_progress=lambda *said: told.append(said))
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (80 * MIB, 80 * MIB)


def test_a_cancelled_merge_changes_no_disk_and_is_finished_later(large: Disk) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled(f"{done} of {total}")

    with pytest.raises(Cancelled):
        large.engine.merge(large.files, large.paths[0], large.paths[2], on_progress=stop)
    with large.engine.open_chain(large.files, large.paths[0]) as chain:
        assert holds(chain, large.contents[0])
    large.engine.merge(large.files, large.paths[0], large.paths[2])
    with large.engine.open_chain(large.files, large.paths[2]) as chain:
        assert holds(chain, large.contents[0])


def test_a_cancelled_clone_leaves_nothing(large: Disk) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled(f"{done} of {total}")

    before = large.files.list("")
    with pytest.raises(Cancelled):
        large.engine.convert(large.files, large.paths[0], large.files, "new.vhdx", on_progress=stop)
    assert large.files.list("") == before


def test_a_merge_goes_down_its_own_chain_only(disk: Disk) -> None:
    disk.engine.create(disk.files, "stranger.vhdx", 4 * MIB)
    leaf, _, base = disk.paths
    for top, target in ((base, leaf), (leaf, "stranger.vhdx"), (leaf, leaf)):
        with pytest.raises(Error, match="not under"):
            disk.engine.merge(disk.files, top, target)
    disk.check()


def test_a_merge_waits_for_nobody(disk: Disk) -> None:
    for path in disk.paths[:2]:
        held = disk.files.open(path, Access.READ)
        with pytest.raises(InUse, match=path):
            disk.engine.merge(disk.files, disk.paths[0], disk.paths[1])
        held.close()
    disk.check()


def test_a_clone_may_be_larger_but_not_smaller(disk: Disk) -> None:
    with pytest.raises(Error, match="cannot hold"):
        disk.engine.convert(disk.files, disk.paths[0], disk.files, "new.vhdx", size=10 * MIB)
    disk.engine.convert(disk.files, disk.paths[0], disk.files, "new.vhdx", size=30 * MIB)
    assert disk.engine.info(disk.files, "new.vhdx").disk_id != disk.engine.info(disk.files, disk.paths[0]).disk_id
    with disk.engine.open_chain(disk.files, "new.vhdx") as chain:
        assert chain.read(0, chain.size) == bytes(disk.contents[0]) + bytes(10 * MIB)


def test_nobody_becomes_their_own_ancestor(disk: Disk) -> None:
    with pytest.raises(Error, match="its own ancestor"):
        disk.engine.relink(disk.files, disk.paths[1], disk.paths[0])
    disk.check()


def test_relinking_to_what_it_is_changes_nothing(disk: Disk) -> None:
    assert isinstance(disk.files, MemoryFileSystem)
    before = disk.files.snapshot()[disk.paths[0]].fingerprint()
    disk.engine.relink(disk.files, disk.paths[0], disk.paths[1])
    assert disk.files.snapshot()[disk.paths[0]].fingerprint() == before


def test_relinking_keeps_the_childs_own_identity(disk: Disk) -> None:
    before = disk.engine.info(disk.files, disk.paths[0]).linkage
    disk.merge(1, 2)
    assert disk.engine.info(disk.files, disk.paths[0]).linkage == before


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", FormatError),
        (b"#!/bin/sh\n", FormatError),
        (bytes(2 * MIB), FormatError),
        (b"vhdxfile", FormatError),
        (b"vhdxfile".ljust(2 * MIB, b"\0"), FormatError),
        (bytes(4096) + b"conectix".ljust(512, b"\0"), FormatError),
        (b"conectix".ljust(8192, b"\0"), FormatError),
    ],
)
def test_what_is_no_vhdx_is_refused_by_name(
    files: MemoryFileSystem, engine: NativeEngine, content: bytes, kind: type[Error]
) -> None:
    stranger = files.create("stranger.vhdx")
    if content:
        stranger.write([(0, content)])
    stranger.close()
    with pytest.raises(kind, match=r"stranger\.vhdx"):
        engine.info(files, "stranger.vhdx")
    files.open("stranger.vhdx", Access.WRITE).close()


def test_temporaries_are_told_by_their_name() -> None:
    assert temporary_name("dir/a.vhdx", "0123abcd") == "dir/a.vhdx.0123abcd.tmp"
