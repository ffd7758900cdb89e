"""Converting: any kind to any kind keeps every byte."""

import random
from contextlib import closing

import pytest

from tests.support.disks import MIB, Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error, FormatError
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.storage.base import Access
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import NativeEngine

SHAPES = {
    "raw": CreateOptions(format=ImageFormat.RAW),
    "raw-fixed": CreateOptions(format=ImageFormat.RAW, fixed=True),
    "vhdx": CreateOptions(block_size=MIB),
    "vhdx-large-blocks": CreateOptions(block_size=8 * MIB),
    "vhdx-fixed": CreateOptions(fixed=True, block_size=2 * MIB),
    "vhd": CreateOptions(format=ImageFormat.VHD),
    "vhd-fixed": CreateOptions(format=ImageFormat.VHD, fixed=True),
    "azure": CreateOptions(format=ImageFormat.VHD, azure=True),
}


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def engine() -> NativeEngine:
    return NativeEngine(counting_ids(900))


def some_disk(files: MemoryFileSystem, seed: int) -> Disk:
    """A chain of three with holes, zeros and data."""
    chance = random.Random(seed)
    disk = Disk.create(files, 9 * MIB + 1024)
    for number in range(12):
        length = chance.choice([512, 4096, MIB, 2 * MIB])
        offset = chance.randrange((disk.size - length) // 512) * 512
        chance.choice([disk.write, disk.write, lambda at, data: disk.zero(at, len(data))])(
            offset, pattern(number + 1, length)
        )
        if number in (4, 8):
            disk.snapshot()
    disk.close()
    return disk


def content(engine: NativeEngine, files: MemoryFileSystem, path: str, format: ImageFormat | None) -> bytes:
    with engine.open_chain(files, path, format=format) as chain:
        return chain.read(0, chain.size)


@pytest.mark.parametrize("last", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
def test_through_two_shapes(files: MemoryFileSystem, engine: NativeEngine, first: str, last: str) -> None:
    disk = some_disk(files, len(first) + len(last))
    expected = bytes(disk.contents[0])
    if "azure" in (first, last):
        expected = expected.ljust(max(-(-len(expected) // MIB), 20) * MIB, b"\0")
    formats = SHAPES[first].format, SHAPES[last].format
    engine.convert(files, disk.paths[0], files, "one", options=SHAPES[first])
    engine.convert(files, "one", files, "two", source_format=formats[0], options=SHAPES[last])
    size = engine.info(files, "one", format=formats[0]).virtual_size
    assert content(engine, files, "one", formats[0]) == expected[:size]
    assert content(engine, files, "two", formats[1]) == expected
    kind = engine.info(files, "two", format=formats[1])
    assert kind.parent is None
    assert (kind.type is DiskType.FIXED) == (SHAPES[last].fixed or SHAPES[last].azure or formats[1] is ImageFormat.RAW)
    disk.check()


def test_raw_is_never_guessed(files: MemoryFileSystem, engine: NativeEngine) -> None:
    with closing(files.create("disk.raw")) as storage:
        storage.write([(0, pattern(1, MIB))])
    with pytest.raises(FormatError, match="raw"):
        engine.convert(files, "disk.raw", files, "disk.vhdx")
    assert files.list("") == ["disk.raw"]


def test_a_raw_disk_that_looks_like_something_else_is_what_the_caller_says(
    files: MemoryFileSystem, engine: NativeEngine
) -> None:
    disk = Disk.create(files, 2 * MIB)
    disk.write(0, pattern(1, MIB))
    disk.close()
    size = files.stat("0.vhdx").size
    engine.convert(files, "0.vhdx", files, "inside.vhdx", source_format=ImageFormat.RAW)
    assert engine.info(files, "inside.vhdx").virtual_size == size
    storage = files.open("0.vhdx", Access.READ)
    assert content(engine, files, "inside.vhdx", None) == pread(storage, 0, size)


def test_a_raw_source_that_ends_within_a_sector_loses_nothing(files: MemoryFileSystem, engine: NativeEngine) -> None:
    with closing(files.create("odd.raw")) as storage:
        storage.write([(0, pattern(3, MIB) + b"tail")])
    engine.convert(files, "odd.raw", files, "even.vhdx", source_format=ImageFormat.RAW)
    assert content(engine, files, "even.vhdx", None) == (pattern(3, MIB) + b"tail").ljust(MIB + 512, b"\0")
    large = CreateOptions(logical_sector_size=4096)
    engine.convert(files, "odd.raw", files, "large.vhdx", source_format=ImageFormat.RAW, options=large)
    assert content(engine, files, "large.vhdx", None) == (pattern(3, MIB) + b"tail").ljust(MIB + 4096, b"\0")


def test_sectors_of_another_size_are_refused(files: MemoryFileSystem, engine: NativeEngine) -> None:
    Disk.create(files, MIB, sector_size=4096).close()
    with pytest.raises(Error, match="sectors of 4096 bytes"):
        engine.convert(files, "0.vhdx", files, "b.vhdx", options=CreateOptions(logical_sector_size=512))
    engine.convert(files, "0.vhdx", files, "c.vhdx", options=CreateOptions(fixed=True))
    assert engine.info(files, "c.vhdx").logical_sector_size == 4096


def test_over_itself_is_refused(files: MemoryFileSystem, engine: NativeEngine) -> None:
    disk = some_disk(files, 1)
    with pytest.raises(FileExistsError):
        engine.convert(files, disk.paths[0], files, disk.paths[0])
    disk.check()
