"""Every step of an image's life, the legal ones and the others, for every format."""

import itertools
from collections.abc import Callable

import pytest

from tests.support.disks import counting_ids
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, Tally, WatchedFileSystem
from vhdx.errors import Error, ParentMismatch, Poisoned, ReadOnly
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, Image, ImageFormat
from vhdx.image.lifecycle import FOLLOWING, LifeCycle, State
from vhdx.image.open import open_image
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20
BLOCK = 2 * MIB
SHAPES = {
    "vhdx": CreateOptions(),
    "vhd": CreateOptions(format=ImageFormat.VHD),
    "fixed vhd": CreateOptions(format=ImageFormat.VHD, fixed=True),
    "raw": CreateOptions(format=ImageFormat.RAW),
}


def made(shape: str) -> MemoryFileSystem:
    files = MemoryFileSystem()
    NativeEngine(counting_ids(1)).create(files, "disk", 4 * MIB, SHAPES[shape])
    return files


def opened(files: object, shape: str, access: Access) -> Image:
    storage = files.open("disk", access)  # type: ignore[attr-defined]
    return open_image(storage, new_id=counting_ids(9), format=SHAPES[shape].format)


def write(image: Image) -> None:
    with image.allocate([Range(0, 4096)]) as places:
        assert places[0].file_offset is not None
        image.storage.write([(places[0].file_offset, b"x" * 4096)])


@pytest.mark.parametrize("before", State)
def test_a_failure_poisons_what_could_have_been_changed(before: State) -> None:
    life = LifeCycle(MemoryFileSystem().create("file"))
    life.state = before
    life.fail(OSError(5, "gone"))
    assert life.state is (before if before in (State.READING, State.CLOSED) else State.POISONED)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_what_the_table_says_follows(before: State, after: State) -> None:
    life = LifeCycle(MemoryFileSystem().create("file"))
    life.state = before
    if after is before or after in FOLLOWING[before]:
        life.enter(after)
        assert life.state is after
    else:
        with pytest.raises(ValueError, match="cannot follow"):
            life.enter(after)
        assert life.state is before


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_opened_for_reading_refuses_changes(shape: str) -> None:
    image = opened(made(shape), shape, Access.READ)
    for change in (lambda: image.zero(0, 4096), image.begin, lambda: write(image)):
        with pytest.raises(ReadOnly):
            change()
    image.flush()
    image.checkpoint()
    image.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["close", "settle", "abandon"])
def test_what_is_over_refuses_changes(shape: str, end: str) -> None:
    files = made(shape)
    image = opened(files, shape, Access.WRITE)
    write(image)
    image.flush()
    storage = image.storage
    getattr(image, end)()
    getattr(image, end)()
    for change in (lambda: image.zero(0, 4096), image.begin, lambda: write(image)):
        with pytest.raises(Error, match="closed"):
            change()
    if end == "settle":
        assert storage.size()
        storage.close()
    with NativeEngine().open_chain(files, "disk", format=SHAPES[shape].format) as chain:
        assert chain.read(0, 4096) == b"x" * 4096


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["close", "settle"])
def test_after_a_failed_flush_nothing_more_is_written(shape: str, end: str) -> None:
    inner = made(shape)
    fault = Fault(1 << 30, OSError(5, "the medium failed"), lasting=True)
    image = opened(WatchedFileSystem(inner, fault), shape, Access.WRITE)
    write(image)
    fault.at = fault.seen
    with pytest.raises(OSError, match="failed"):
        image.flush()
    before = inner.fingerprint("disk")
    fault.at = 1 << 30
    fault.lasting = False
    for change in (lambda: image.zero(0, 4096), image.begin, image.flush, image.checkpoint):
        with pytest.raises(Poisoned, match="failed"):
            change()
    getattr(image, end)()
    image.storage.close()
    assert inner.fingerprint("disk") == before


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_goes_on_after_a_checkpoint(shape: str) -> None:
    files = made(shape)
    image = opened(files, shape, Access.WRITE)
    for _ in range(3):
        write(image)
        image.checkpoint()
        left = MemoryFileSystem(files.snapshot())
        with NativeEngine().open_chain(left, "disk", format=SHAPES[shape].format) as chain:
            assert chain.leaf.info.log_entries == 0
            assert chain.read(0, 4096) == b"x" * 4096
    image.close()


CHANGES: dict[str, Callable[[Image], None]] = {
    "write": write,
    "overwrite": lambda image: None if image.overwrite(0, b"y" * 4096) else write(image),
    "zero": lambda image: image.zero(0, 4096),
    "discard": lambda image: image.discard(0, BLOCK),
    "grow": lambda image: image.resize(16 * MIB),
    "shrink": lambda image: image.resize(4 * MIB),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_after_a_checkpoint_is_told(change: Callable[[Image], None]) -> None:
    """Whoever took the image for a parent between two checkpoints must see that it has changed since."""
    files = MemoryFileSystem()
    NativeEngine(counting_ids(1)).create(files, "disk", 8 * MIB, CreateOptions(block_size=BLOCK))
    image = opened(files, "vhdx", Access.WRITE)
    seen = [image.info.linkage]
    for work in (write, change):
        work(image)
        image.checkpoint()
        seen.append(image.info.linkage)
        assert image.info.linkage == NativeEngine().info(MemoryFileSystem(files.snapshot()), "disk").linkage
    assert len(set(seen)) == 3
    image.begin(data_write_guid=image.info.linkage)
    image.drop_zeros([Range(4 * MIB - BLOCK, BLOCK)], masked=False)
    image.pack(lambda done, total: None)
    image.checkpoint()
    image.close()
    assert NativeEngine().info(files, "disk").linkage == seen[-1]


def test_a_child_of_a_disk_that_is_open_sees_it_change() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(counting_ids(1))
    engine.create(files, "disk", 8 * MIB)
    with engine.open_family(files, "disk", claim=lambda paths: Access.WRITE) as disk:
        write(disk.chain.leaf)
        engine.create_child(files, "child", "disk", disk=disk)
        assert disk.chain.leaf.info.linkage == engine.info(files, "child").parent.linkage  # type: ignore[union-attr]
        write(disk.chain.leaf)
    with pytest.raises(ParentMismatch):
        engine.layers(files, "child")


@pytest.mark.parametrize("shape", ["vhdx", "vhd"])
def test_one_look_at_the_table_tells_whether_it_may_be_read_and_changed(shape: str) -> None:
    files, tally = made(shape), Tally()
    image = opened(WatchedFileSystem(files, tally), shape, Access.WRITE)
    write(image)
    image.close()
    image = opened(WatchedFileSystem(files, tally), shape, Access.WRITE)
    assert image.shared() is None
    tally.clear()
    image.verify()
    assert image.shared() is None
    assert not tally.pieces["read"]
    image.close()
    image = opened(WatchedFileSystem(files, tally), shape, Access.READ)
    image.verify()
    tally.clear()
    assert image.shared() is None
    assert not tally.pieces["read"]
    image.close()
