"""Every verb on a real share does what it does on local files."""

import random

import pytest

from tests.chain.test_model import some_step, take
from tests.support.disks import MIB, Disk, pattern
from vhdx.check import Severity
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.smb import SmbFileSystem
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

pytestmark = pytest.mark.smb
FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]


def errors(disk: Disk) -> list[str]:
    found = disk.engine.check(disk.files, disk.paths[0], deep=True)
    return [str(finding) for finding in found if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("format", FORMATS)
def test_a_history(smb_files: SmbFileSystem, format: ImageFormat, seed: int) -> None:
    chance = random.Random(seed)
    options = CreateOptions(format=format, block_size=chance.choice([1, 2]) * MIB)
    disk = Disk.shaped(smb_files, chance.randrange(1, 6 * MIB // 512) * 512, options)
    for number in range(20):
        take(disk, number, some_step(chance))
    disk.check()
    assert errors(disk) == []


@pytest.mark.parametrize("format", FORMATS)
def test_the_verbs_by_path(smb_files: SmbFileSystem, format: ImageFormat) -> None:
    disk = Disk.shaped(smb_files, 8 * MIB, CreateOptions(format=format, block_size=MIB))
    disk.write(0, pattern(1, 3 * MIB))
    for number in (2, 3):
        disk.snapshot()
        disk.write(number * MIB, pattern(number, MIB + 512))
    disk.close()
    engine, top, base = disk.engine, disk.paths[0], disk.paths[2]
    assert engine.children(smb_files, base) == [disk.paths[1]]
    assert engine.plan_merge(smb_files, top, base).result == base
    assert engine.merge(smb_files, top, disk.paths[1], direction=Direction.UP, remove=True) == top
    assert engine.merge(smb_files, top, base, remove=True) == base
    assert smb_files.list("") == [base]
    engine.resize(smb_files, base, 16 * MIB)
    engine.resize(smb_files, base, 8 * MIB, shrink=Shrink.UNUSED)
    engine.compact(smb_files, base)
    assert engine.plan_repair(smb_files, base) == []
    assert not [found for found in engine.check(smb_files, base, deep=True) if found.severity is Severity.ERROR]
    for number, shape in enumerate(
        (
            CreateOptions(format=ImageFormat.RAW),
            CreateOptions(fixed=True),
            CreateOptions(format=ImageFormat.VHD, azure=True),
            CreateOptions(format=ImageFormat.VHD),
            CreateOptions(block_size=2 * MIB),
        )
    ):
        path = f"copy{number}"
        engine.convert(smb_files, base, smb_files, path, options=shape)
        with NativeEngine().open_chain(smb_files, path, format=shape.format) as chain:
            size = 20 * MIB if shape.azure else 8 * MIB  # Azure takes no less
            assert chain.read(0, chain.size) == bytes(disk.contents[0]).ljust(size, b"\0")


@pytest.mark.parametrize("direction", [Direction.DOWN, Direction.UP])
@pytest.mark.parametrize("format", FORMATS)
def test_layers_in_other_capitals_are_removed_as_any_others(
    smb_files: SmbFileSystem, format: ImageFormat, direction: Direction
) -> None:
    """The records of children lead to them by names that the directory spells otherwise."""
    engine = NativeEngine()
    engine.create(smb_files, "base", 4 * MIB, CreateOptions(format=format))
    for child, parent in (("low", "base"), ("mid", "LOW"), ("top", "MID"), ("above", "TOP")):
        engine.create_child(smb_files, child, parent)
        with engine.open_chain(smb_files, child, writable=1) as chain:
            chain.write(0, pattern(len(child), 4096))
    assert engine.layers(smb_files, "top") == ["top", "MID", "LOW", "base"]
    engine.merge(smb_files, "TOP", "BASE", direction=direction, remove=True)
    assert smb_files.list("") == sorted(["above", "base" if direction is Direction.DOWN else "top"])
    assert len(engine.layers(smb_files, "above")) == 2
