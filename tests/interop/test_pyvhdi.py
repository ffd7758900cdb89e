"""libvhdi reads the chains that are written here.

It is wrong about blocks that a child has as zeros, and about absent blocks of chunks without a bitmap; so every chunk
gets a partial block here and nothing is zeroed in a child.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.disks import Disk, pattern
from vhdx.storage.local import LocalFileSystem

MIB = 1 << 20
pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")


class TheirChain:
    """A chain opened with libvhdi; paths leaf first."""

    def __init__(self, paths: list[Path]) -> None:
        self._files: list[Any] = []
        for path in paths:
            file = pyvhdi.file()
            file.open(str(path))
            self._files.append(file)
        for child, parent in zip(self._files, self._files[1:], strict=False):
            child.set_parent(parent)

    @property
    def size(self) -> int:
        return int(self._files[0].get_media_size())

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length:
            part = self._files[0].read_buffer_at_offset(min(length, MIB - offset % MIB), offset)
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def close(self) -> None:
        for file in self._files:
            file.close()


def agree(model: Disk, directory: Path) -> None:
    """Every layer, read through those under it, is as the model says."""
    model.check()
    for number, content in enumerate(model.contents):
        theirs = TheirChain([directory / path for path in model.paths[number:]])
        assert theirs.size == len(content)
        assert theirs.read(0, len(content)) == bytes(content), model.paths[number]
        theirs.close()


def test_one_layer(tmp_path: Path) -> None:
    model = Disk.create(LocalFileSystem(tmp_path), 9 * MIB + 512, block_size=2 * MIB)
    model.write(0, pattern(1, 3 * MIB))
    model.write(9 * MIB - 100, pattern(2, 500))
    agree(model, tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_random_layers(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    model = Disk.create(LocalFileSystem(tmp_path), 10 * MIB, block_size=chance.choice([1, 2]) * MIB)
    model.write(0, pattern(1, 6 * MIB))
    for layer in range(chance.randrange(1, 5)):
        model.snapshot()
        # A sector of its own first: so the chunk has a bitmap.
        model.write(512 * (layer + 1), pattern(layer + 7, 512))
        for number in range(8):
            length = chance.choice([512, 1000, 4096, 5 * 512, MIB, 2 * MIB, 2 * MIB + 1536])
            aligned = chance.choice([1, 512, 4096])
            offset = chance.randrange(10 * MIB - length) // aligned * aligned
            model.write(offset, pattern(layer * 100 + number, length))
            if chance.random() < 0.3:
                model.close()
    agree(model, tmp_path)


def test_after_a_merge(tmp_path: Path) -> None:
    model = Disk.create(LocalFileSystem(tmp_path), 8 * MIB)
    model.write(0, pattern(1, 8 * MIB))
    for layer in range(3):
        model.snapshot()
        model.write(512 + layer * 1024, pattern(layer + 2, 512))
        model.write((layer + 1) * 2 * MIB - 4096 - 512, pattern(layer + 20, 8192))
    model.merge(1, 2)
    agree(model, tmp_path)
    model.merge(0, 2)
    agree(model, tmp_path)


def test_sectors_at_every_place_of_a_bitmap_byte(tmp_path: Path) -> None:
    model = Disk.create(LocalFileSystem(tmp_path), 2 * MIB, block_size=MIB)
    model.write(0, pattern(1, 2 * MIB))
    model.snapshot()
    for first in range(16):
        for count in range(1, 10):
            model.write((first * 16 + first) * 512 * 10 % (2 * MIB - 8192), pattern(first * 10 + count, count * 512))
    agree(model, tmp_path)
