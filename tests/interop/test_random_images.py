"""Random images of every kind: the model, qemu and libvhdi agree on each byte of what is written here, and this package
reads each byte of what qemu writes.

libvhdi is asked only what it answers right: no zeroed blocks over a parent, a bitmap in every chunk, VHD block by block
with no bitmap byte shared by child and parent. qemu knows no differencing images and checks only VHDX.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.interop.tools import check_clean, needs_qemu, qemu_img, qemu_io, same_as_raw
from tests.support.choice import few
from tests.support.disks import MIB, pattern
from tests.support.kinds import COUNT, KINDS, Habits, random_disk
from vhdx.image.base import ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

BATCH = 10
WRITTEN_BY_QEMU = 4 * COUNT
QEMU_NAMES = {ImageFormat.VHDX: "vhdx", ImageFormat.VHD: "vpc"}
FLAT = [name for name, kind in KINDS.items() if not kind.differencing]
SEEDS = range(0, COUNT, BATCH)


def batch(first: int, count: int) -> range:
    return range(first, min(first + BATCH, count))


@pytest.mark.parametrize("first", few(SEEDS, 1))
@pytest.mark.parametrize("name", KINDS)
def test_the_model_agrees(name: str, first: int, tmp_path: Path) -> None:
    for seed in batch(first, COUNT):
        directory = tmp_path / str(seed)
        directory.mkdir()
        random_disk(LocalFileSystem(directory), KINDS[name], seed).check()
        shutil.rmtree(directory)


@needs_qemu
@pytest.mark.parametrize("first", few(SEEDS, 1))
@pytest.mark.parametrize("name", FLAT)
def test_qemu_agrees(name: str, first: int, tmp_path: Path) -> None:
    kind = KINDS[name]
    for seed in batch(first, COUNT):
        directory = tmp_path / str(seed)
        directory.mkdir()
        # qemu 7 reads VHDX with sectors of 512 bytes only.
        disk = random_disk(LocalFileSystem(directory), kind, seed, Habits(sector_sizes=(512,)))
        path = directory / disk.paths[0]
        if kind.format is ImageFormat.VHDX:
            check_clean(path)
        same_as_raw(path, bytes(disk.contents[0]), format=QEMU_NAMES[kind.format])
        shutil.rmtree(directory)


@pytest.mark.parametrize("first", few(SEEDS, 1))
@pytest.mark.parametrize("name", KINDS)
def test_libvhdi_agrees(name: str, first: int, tmp_path: Path) -> None:
    pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")
    from tests.interop.test_pyvhdi import TheirChain

    kind = KINDS[name]
    habits = Habits(
        grain=4096 if kind.format is ImageFormat.VHD else 1, zeroing=not kind.differencing, bitmap_in_every_chunk=True
    )
    for seed in batch(first, COUNT):
        directory = tmp_path / str(seed)
        directory.mkdir()
        disk = random_disk(LocalFileSystem(directory), kind, seed, habits)
        theirs = TheirChain([directory / path for path in disk.paths])
        assert theirs.size == disk.size
        assert theirs.read(0, disk.size) == bytes(disk.contents[0]), f"seed {seed}"
        theirs.close()
        shutil.rmtree(directory)


QEMU_SHAPES = {
    "vhdx-dynamic": ("vhdx", "subformat=dynamic,block_size={block}"),
    "vhdx-fixed": ("vhdx", "subformat=fixed,block_size={block}"),
    "vhd-dynamic": ("vpc", "subformat=dynamic,force_size=on"),
    "vhd-fixed": ("vpc", "subformat=fixed,force_size=on"),
}


@needs_qemu
@pytest.mark.parametrize("first", few(range(0, WRITTEN_BY_QEMU // len(QEMU_SHAPES), BATCH), 1))
@pytest.mark.parametrize("name", QEMU_SHAPES)
def test_what_qemu_writes(name: str, first: int, tmp_path: Path) -> None:
    for seed in batch(first, WRITTEN_BY_QEMU // len(QEMU_SHAPES)):
        chance = random.Random(f"{name}{seed}")
        expected = bytearray(chance.randrange(1, 6 * MIB // 512) * 512)
        format, options = QEMU_SHAPES[name]
        path = tmp_path / f"{seed}.image"
        options = options.format(block=chance.choice([MIB, 2 * MIB, 8 * MIB]))
        qemu_img("create", "-f", format, "-o", options, path, str(len(expected)))
        commands = []
        for number in range(1, chance.randrange(2, 9)):
            length = min(chance.randrange(1, 3 * MIB // 512) * 512, len(expected))
            offset = chance.randrange((len(expected) - length) // 512 + 1) * 512
            value = number if chance.random() < 0.8 else 0
            commands.append(f"write -P {value} {offset} {length}" if value else f"write -z {offset} {length}")
            expected[offset : offset + length] = bytes([value]) * length
        qemu_io(path, *commands, format=format)
        with NativeEngine().open_chain(LocalFileSystem(tmp_path), path.name) as chain:
            assert chain.size == len(expected)
            assert chain.read(0, chain.size) == expected, f"seed {seed}"
        path.unlink()


@needs_qemu
@pytest.mark.parametrize("seed", range(2))
def test_what_qemu_converts(seed: int, tmp_path: Path) -> None:
    """Content without a pattern, so that a byte in a wrong place cannot go unnoticed."""
    content = random.Random(seed).randbytes(5 * MIB) + bytes(3 * MIB) + pattern(seed, MIB) + os.urandom(512)
    (tmp_path / "disk.raw").write_bytes(content)
    for format, options in QEMU_SHAPES.values():
        shape = ("-O", format, "-o", options.format(block=MIB))
        qemu_img("convert", "-f", "raw", *shape, tmp_path / "disk.raw", tmp_path / "out")
        with NativeEngine().open_chain(LocalFileSystem(tmp_path), "out") as chain:
            assert chain.read(0, chain.size) == content
