"""A differencing VHD of another size than its parent's is made only when that is said, by every verb that can make one.

It is read, merged and converted as it is, and `check` tells of it.
"""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import vhdx
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.errors import UnequalSizes
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

VHD, VHDX = ImageFormat.VHD, ImageFormat.VHDX
SIZE = 4 * MIB
OTHERS = [SIZE - 512, SIZE + MIB]


def family(format: ImageFormat) -> tuple[MemoryFileSystem, NativeEngine]:
    """base, child."""
    files, engine = MemoryFileSystem(), NativeEngine(counting_ids())
    engine.create(files, "base", SIZE, CreateOptions(format=format))
    with engine.open_chain(files, "base", writable=1) as chain:
        chain.write(0, pattern(1, SIZE))
    engine.create_child(files, "child", "base")
    return files, engine


Make = Callable[[MemoryFileSystem, NativeEngine, int, bool], None]


def create(files: MemoryFileSystem, engine: NativeEngine, size: int, any_size: bool) -> None:
    engine.create_child(files, "child", "base", size=size, any_size=any_size, replace=True)


def resize(files: MemoryFileSystem, engine: NativeEngine, size: int, any_size: bool) -> None:
    engine.resize(files, "child", size, shrink=Shrink.FORCE, any_size=any_size)


@pytest.mark.parametrize("size", OTHERS)
@pytest.mark.parametrize("make", [create, resize])
def test_a_vhd_has_to_be_asked_for(make: Make, size: int) -> None:
    files, engine = family(VHD)
    before = {path: pages.fingerprint() for path, pages in files.snapshot().items()}
    with pytest.raises(UnequalSizes, match=rf"child.*{size}.*{SIZE}.*0xC03A0017"):
        make(files, engine, size, False)
    assert {path: pages.fingerprint() for path, pages in files.snapshot().items()} == before
    make(files, engine, size, True)
    with engine.open_chain(files, "child") as chain:
        assert chain.read(0, size) == pattern(1, SIZE)[:size].ljust(size, b"\0")
    assert [finding.code for finding in engine.check(files, "child")] == ["chain-link", "chain-vhd-size"]
    resize(files, engine, SIZE, False)
    assert engine.info(files, "child").virtual_size == SIZE, "the way back to the parent's size needs no leave"
    engine.resize(files, "child", SIZE)


@pytest.mark.parametrize("size", OTHERS)
@pytest.mark.parametrize("make", [create, resize])
def test_a_vhdx_may_have_any_size(make: Make, size: int) -> None:
    files, engine = family(VHDX)
    make(files, engine, size, False)
    assert engine.info(files, "child").virtual_size == size
    assert "chain-vhd-size" not in [finding.code for finding in engine.check(files, "child")]


def unequal(files: MemoryFileSystem, engine: NativeEngine, paths: list[str]) -> int:
    sizes = [engine.info(files, path).virtual_size for path in paths]
    return sum(above != below for above, below in pairwise(sizes))


@pytest.mark.parametrize("direction", [Direction.DOWN, Direction.UP])
@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1)])
def test_a_merge_makes_none_where_there_was_none(sizes: tuple[int, ...], direction: Direction) -> None:
    """The middle two of four layers; whatever their sizes, the disk reads as before."""
    files, engine = family(VHD)
    files.remove("child")
    paths = ["base"]
    for number, larger in enumerate(sizes):
        name = f"{number}"
        engine.create_child(files, name, paths[0], size=SIZE + larger * MIB, any_size=True)
        with engine.open_chain(files, name, writable=1) as chain:
            chain.write(number * 512, pattern(number + 2, 3000))
        paths.insert(0, name)
    before = unequal(files, engine, paths)
    with engine.open_chain(files, paths[0]) as chain:
        content = chain.read(0, chain.size)
    engine.merge(files, "1", "0", direction=direction, remove=True, shrink=Shrink.FORCE)
    left = engine.layers(files, paths[0])
    assert len(left) == 3
    assert unequal(files, engine, left) <= before
    with engine.open_chain(files, paths[0]) as chain:
        assert chain.read(0, chain.size) == content
    engine.convert(files, paths[0], files, "copy", options=CreateOptions(format=VHD))
    with engine.open_chain(files, "copy") as chain:
        assert chain.read(0, chain.size) == content


def test_by_location(tmp_path: Path) -> None:
    base, child = tmp_path / "base.vhd", tmp_path / "child.vhd"
    vhdx.create(base, SIZE, options=CreateOptions(format=VHD))
    with pytest.raises(UnequalSizes, match="0xC03A0017"):
        vhdx.create(child, 2 * SIZE, parent=base)
    assert not child.exists()
    vhdx.create(child, 2 * SIZE, parent=base, any_size=True)
    with vhdx.open(child) as disk, io.BufferedReader(disk.file()) as file:
        assert len(file.read()) == 2 * SIZE
