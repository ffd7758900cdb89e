"""The short way of a read says what the long way says, before and after changes."""

import random
from pathlib import Path

import pytest

from tests.support.disks import MIB, Disk, pattern
from vhdx.errors import Error
from vhdx.extents import Presence
from vhdx.image.base import CreateOptions, Image, ImageFormat
from vhdx.storage.local import LocalFileSystem

SECTOR = 512


def agree(image: Image, offset: int, length: int) -> None:
    """`locate` names what `extents` names, or nothing where that is more than one piece."""
    start, end = offset // SECTOR * SECTOR, -(-(offset + length) // SECTOR) * SECTOR
    if end > image.virtual_size:
        assert image.locate(offset, length) is None
        return
    found, extents = image.locate(offset, length), list(image.extents(start, end - start))
    if found is None:
        assert len(extents) > 1 or start // MIB != (end - 1) // MIB
    elif isinstance(found, Presence):
        assert [extent.presence for extent in extents] == [found]
    else:
        (extent,) = extents
        assert extent.file_offset == found - (offset - start)


def look(disk: Disk, chance: random.Random) -> None:
    for _ in range(80):
        length = chance.choice([0, 1, 511, 512, 513, 4096, 65536, MIB])
        grain = chance.choice([1, SECTOR])
        offset = chance.randrange((disk.size - length) // grain + 1) * grain
        expected = bytes(disk.contents[0][offset : offset + length])
        assert disk.open.read(offset, length) == expected
        buffer = bytearray(b"\xee" * length)
        disk.open.readinto(offset, memoryview(buffer))
        assert buffer == expected
        if length:
            for layer in disk.open.layers:
                agree(layer.image, offset, length)


@pytest.mark.parametrize("format", [ImageFormat.VHDX, ImageFormat.VHD])
@pytest.mark.parametrize("seed", range(4))
def test_after_every_change(tmp_path: Path, seed: int, format: ImageFormat) -> None:
    chance = random.Random(seed)
    options = CreateOptions(format=format, block_size=MIB)
    disk = Disk.shaped(LocalFileSystem(tmp_path), 9 * MIB + SECTOR, options)
    for number in range(20):
        length = chance.choice([512, 4096, 65536, MIB, 2 * MIB])
        offset = chance.randrange((disk.size - length) // SECTOR + 1) * SECTOR
        match chance.choice(["write", "write", "write", "zero", "discard", "snapshot"]):
            case "write":
                disk.write(offset, pattern(number + 1, length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "snapshot" if len(disk.paths) < 4:
                disk.snapshot()
        look(disk, chance)
    for outside in ((disk.size, 1), (-512, 512), (0, disk.size + 1)):
        with pytest.raises(Error, match="not inside the disk"):
            disk.open.read(*outside)
    assert disk.open.read(disk.size, 0) == b""
    disk.close()
