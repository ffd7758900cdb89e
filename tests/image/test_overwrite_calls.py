"""Writing over what is there: little work for each write, and nothing of what a first write does left out."""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from uuid import UUID

import pytest

import vhdx
from tests.image.forge import Forge
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, Tally, WatchedFileSystem
from vhdx.chain.chain import Chain
from vhdx.errors import Error, OutOfSpace, Poisoned, ReadOnly
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import NativeEngine

VHDX, VHD, RAW = ImageFormat
SIZE, BLOCK, SECTOR = 8 * MIB, 2 * MIB, 512
MOST_OF_A_WRITE, MOST_OF_A_READ = 30, 24


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of image: its format, whether all of it is allocated, whether it lies over a parent."""

    format: ImageFormat
    fixed: bool = False
    over_parent: bool = False

    @property
    def options(self) -> CreateOptions:
        plain = self.fixed or self.format is RAW
        return CreateOptions(format=self.format, fixed=self.fixed, block_size=None if plain else BLOCK)


SHAPES = {
    "vhdx-dynamic": Shape(VHDX),
    "vhdx-fixed": Shape(VHDX, fixed=True),
    "vhdx-differencing": Shape(VHDX, over_parent=True),
    "vhd-dynamic": Shape(VHD),
    "vhd-fixed": Shape(VHD, fixed=True),
    "vhd-differencing": Shape(VHD, over_parent=True),
    "raw": Shape(RAW),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def calls_of(work: Callable[[], object]) -> int:
    """How often a Python function is entered, or gone on with, in *work*."""
    count = 0

    def told(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is not work.__code__  # type: ignore[attr-defined]

    sys.setprofile(told)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@every_shape
def test_a_write_over_what_is_there_is_few_calls(shape: Shape, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    vhdx.create(path, SIZE, options=shape.options)
    if shape.over_parent:
        path = tmp_path / "child"
        vhdx.create(path, parent=tmp_path / "disk", parent_format=shape.format)
    data = pattern(1, 4096)
    with vhdx.open(path, writable=True, format=shape.format) as disk:
        disk.write(0, pattern(2, MIB))
        disk.write(8192, data)
        assert calls_of(lambda: disk.write(8192, data)) <= MOST_OF_A_WRITE
        disk.read(8192, 4096)
        assert calls_of(lambda: disk.read(8192, 4096)) <= MOST_OF_A_READ
        assert disk.read(8192, 4096) == data


def engine(start: int = 1) -> NativeEngine:
    return NativeEngine(new_id=counting_ids(start))


def made(shape: Shape, files: FileSystem) -> str:
    """A disk of *shape*, of which the first block is there but for its end."""
    engine().create(files, "disk", SIZE, shape.options)
    path = "disk"
    if shape.over_parent:
        with engine(200).open_chain(files, path, writable=1, format=shape.format) as chain:
            chain.write(0, pattern(50, SIZE))
        path = "child"
        engine(300).create_child(files, path, "disk", parent_format=shape.format)
    with engine(400).open_chain(files, path, writable=1, format=shape.format) as chain:
        chain.write(0, pattern(1, MIB))
    return path


def opened(shape: Shape, files: FileSystem, path: str, *, writable: int = 1) -> Chain:
    return engine(500).open_chain(files, path, writable=writable, format=shape.format)


@every_shape
def test_any_history_reads_back(shape: Shape) -> None:
    """Writes of every size and place, over what is there, partly there and not there, between all else."""
    files = MemoryFileSystem()
    path = made(shape, files)
    with opened(shape, files, path, writable=0) as chain:
        content = bytearray(chain.read(0, SIZE))
    chance = random.Random(f"{shape}")
    disk = opened(shape, files, path)
    for number in range(250):
        length = chance.choice([1, 511, 512, 700, 1024, 4096, 4096, 4096, 8192, 70_000, MIB, BLOCK + 512])
        grain = chance.choice([1, 512, 512, 4096, MIB])
        offset = chance.randrange((SIZE - length) // grain + 1) * grain
        match chance.choice(["write"] * 12 + ["zero", "discard", "flush", "reopen"]):
            case "write":
                data = pattern(number, length + 7)[7:]
                disk.write(offset, data)
                content[offset : offset + length] = data
            case "zero":
                disk.zero(offset, length)
                content[offset : offset + length] = bytes(length)
            case "discard" if shape.format is VHDX and not shape.fixed:
                start = offset // BLOCK * BLOCK
                disk.discard(start, BLOCK)
                content[start : start + BLOCK] = bytes(BLOCK)
            case "flush":
                disk.flush()
            case "reopen":
                disk.close()
                disk = opened(shape, files, path)
        assert disk.read(offset, length) == content[offset : offset + length]
    assert disk.read(0, SIZE) == content
    disk.close()
    with opened(shape, files, path, writable=0) as chain:
        assert chain.read(0, SIZE) == content


@every_shape
def test_only_payload_is_written(shape: Shape) -> None:
    files, tally = MemoryFileSystem(), Tally()
    path = made(shape, files)
    with opened(shape, WatchedFileSystem(files, tally), path) as chain:
        chain.write(0, pattern(2, 4096))
        chain.flush()
        chain.write(0, pattern(2, 4096))
        tally.clear()
        chain.write(4096, pattern(3, 4096))
        assert (tally.calls, tally.bytes["write"]) == ({"write": 1}, 4096)
        chain.write(4000, b"not whole sectors")
        assert tally.bytes["write"] == 4096 + SECTOR


@pytest.mark.parametrize("shape", [SHAPES["vhdx-dynamic"], SHAPES["vhdx-differencing"]], ids=["dynamic", "over parent"])
def test_the_first_write_of_a_session_still_tells_of_a_change(shape: Shape) -> None:
    files = MemoryFileSystem()
    path = made(shape, files)
    seen: list[UUID] = []
    for session in range(3):
        with engine(1000 * session + 600).open_chain(files, path, writable=1) as chain:
            for _ in range(3):
                chain.write(0, pattern(2, 4096))
                seen.append(Forge(files, path).data_write_guid)
    assert [seen.count(guid) for guid in dict.fromkeys(seen)] == [3, 3, 3]


def broken(shape: Shape, error: Exception) -> Iterator[tuple[Chain, Fault]]:
    """A disk whose next writes over what is there fail, once."""
    files = MemoryFileSystem()
    path = made(shape, files)
    fault = Fault(1 << 30, error, kinds=frozenset({"write"}))
    chain = opened(shape, WatchedFileSystem(files, fault), path)
    chain.write(0, pattern(2, 4096))
    chain.write(0, pattern(2, 4096))
    fault.at = fault.seen
    yield chain, fault
    chain.close()


@every_shape
def test_a_write_that_failed_poisons(shape: Shape) -> None:
    for chain, fault in broken(shape, OSError("broken")):
        with pytest.raises(OSError, match="broken"):
            chain.write(0, pattern(3, 4096))
        assert fault.fired
        with pytest.raises(Poisoned):
            chain.write(0, pattern(3, 4096))
        with pytest.raises(Poisoned):
            chain.flush()


@every_shape
def test_a_full_disk_does_not(shape: Shape) -> None:
    for chain, fault in broken(shape, OutOfSpace("full")):
        with pytest.raises(OutOfSpace, match="full"):
            chain.write(0, pattern(3, 4096))
        assert fault.fired
        chain.write(0, pattern(4, 4096))
        assert chain.read(0, 4096) == pattern(4, 4096)


@every_shape
def test_who_may_not_write_does_not(shape: Shape) -> None:
    files = MemoryFileSystem()
    path = made(shape, files)
    with opened(shape, files, path, writable=0) as chain, pytest.raises(ReadOnly):
        chain.write(0, bytes(4096))
    chain = opened(shape, files, path)
    chain.write(0, pattern(2, 4096))
    for offset in (-4096, SIZE - 512, SIZE, 1 << 70):
        with pytest.raises(Error, match="not inside the disk"):
            chain.write(offset, bytes(4096))
    chain.close()
    with pytest.raises(Error, match="closed"):
        chain.write(0, bytes(4096))
    for leave in ("close", "settle", "abandon"):
        chain = opened(shape, files, path)
        chain.write(0, pattern(2, 4096))
        getattr(chain.leaf, leave)()
        assert not chain.leaf.overwrite(0, bytes(4096))
        chain.leaf.storage.close()
        chain.close()


@pytest.mark.parametrize("shape", [SHAPES["vhdx-differencing"], SHAPES["vhd-differencing"]], ids=["vhdx", "vhd"])
@pytest.mark.parametrize("there", [range(7), range(1, 8), range(0, 8, 2), range(0)], ids=str)
def test_sectors_of_the_parent_are_not_taken_for_written(shape: Shape, there: range) -> None:
    """Some of eight sectors are in the block, and all of them are written at once."""
    files = MemoryFileSystem()
    path = made(shape, files)
    start = BLOCK + MIB
    with opened(shape, files, path) as chain:
        chain.write(BLOCK, pattern(4, SECTOR))
        for number in there:
            chain.write(start + number * SECTOR, pattern(5, SECTOR))
        chain.write(start, pattern(6, 8 * SECTOR))
        assert chain.read(start, 8 * SECTOR) == pattern(6, 8 * SECTOR)
    with opened(shape, files, path, writable=0) as chain:
        assert chain.read(start, 9 * SECTOR)[: 8 * SECTOR] == pattern(6, 8 * SECTOR)
        assert chain.read(start + 8 * SECTOR, SECTOR) == pattern(50, SIZE)[start + 8 * SECTOR :][:SECTOR]
