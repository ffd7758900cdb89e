"""Zeros that a source stores: left out of a copy that passes through memory, kept by who copies elsewhere."""

import random
from pathlib import Path

import pytest

from tests.cli.running import Programs
from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

ENGINE = NativeEngine()
KIB = 1 << 10
SHAPES = [
    CreateOptions(block_size=MIB),
    CreateOptions(format=ImageFormat.VHD, block_size=512 * KIB),
    CreateOptions(format=ImageFormat.RAW),
]
FIXED = [CreateOptions(fixed=True, block_size=MIB), CreateOptions(format=ImageFormat.VHD, fixed=True)]


def source(files: FileSystem, content: bytes, path: str = "source.vhdx") -> None:
    """A fixed image: everything is stored."""
    ENGINE.create(files, path, len(content), CreateOptions(fixed=True, block_size=MIB))
    with ENGINE.open_chain(files, path, writable=1) as chain:
        chain.write(0, content)


def copy(files: FileSystem, to: FileSystem, options: CreateOptions, *, scan: bool = False) -> tuple[bytes, int]:
    """The copy's content, and how many bytes its tables name."""
    ENGINE.convert(files, "source.vhdx", to, "copy", options=options, scan_zeros=scan)
    with ENGINE.open_chain(to, "copy", format=options.format) as chain:
        extents = [extent for _, extent in chain.extents(0, chain.size)]
        held = sum(extent.length for extent in extents if extent.file_offset is not None)
        return chain.read(0, chain.size), held


def spotted(seed: int) -> bytes:
    """Mostly zeros, with data of any length at any place."""
    chance = random.Random(seed)
    content = bytearray(chance.randrange(1, 5) * MIB + 512 * chance.randrange(100))
    for _ in range(chance.randrange(12)):
        length = chance.choice([1, 512, 4096, 64 * KIB, MIB + 1])
        start = chance.randrange(len(content))
        content[start : start + length] = pattern(chance.randrange(99), min(length, len(content) - start))
    return bytes(content)


@pytest.mark.parametrize("scan", [False, True], ids=["as it comes", "scan"])
@pytest.mark.parametrize("options", [*SHAPES, *FIXED], ids=lambda one: f"{one.format}{' fixed' * one.fixed}")
def test_a_copy_is_the_source_whichever_way_it_comes(options: CreateOptions, scan: bool) -> None:
    for seed in range(6):
        content = spotted(seed)
        for here, there in ((True, True), (True, False), (False, False)):
            files, to = MemoryFileSystem(optional=here), MemoryFileSystem(optional=there)
            source(files, content)
            assert copy(files, to, options, scan=scan)[0] == content


@pytest.mark.parametrize("options", SHAPES, ids=lambda one: str(one.format))
def test_zeros_that_pass_through_memory_stay_out(tmp_path: Path, options: CreateOptions) -> None:
    content = bytes(12 * MIB) + pattern(1, 512) + bytes(8 * MIB - 512)
    files = MemoryFileSystem()
    source(files, content)
    assert copy(files, LocalFileSystem(tmp_path), options) == (content, copy_of_data(options))


def copy_of_data(options: CreateOptions) -> int:
    """What a table names for one sector of data."""
    return {ImageFormat.VHDX: MIB, ImageFormat.VHD: 512 * KIB, ImageFormat.RAW: 64 * KIB}[options.format]


def test_what_is_copied_elsewhere_is_kept_unless_it_is_to_be_scanned() -> None:
    files = MemoryFileSystem()
    source(files, bytes(20 * MIB))
    assert copy(files, files, SHAPES[0])[1] == 20 * MIB
    files.remove("copy")
    assert copy(files, files, SHAPES[0], scan=True)[1] == 0


@pytest.mark.parametrize("options", FIXED, ids=lambda one: str(one.format))
def test_a_fixed_copy_has_all_of_its_space(tmp_path: Path, options: CreateOptions) -> None:
    files = MemoryFileSystem(optional=False)
    source(files, bytes(8 * MIB))
    copy(files, LocalFileSystem(tmp_path), options, scan=True)
    assert LocalFileSystem(tmp_path).stat("copy").allocated >= 8 * MIB


def test_an_image_goes_to_a_share_without_its_zeros(smb_files: FileSystem, tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    source(files, bytes(40 * MIB) + pattern(1, MIB))
    assert copy(files, smb_files, SHAPES[0]) == (bytes(40 * MIB) + pattern(1, MIB), MIB)


def test_the_command_leaves_them_out_when_it_is_told(tmp_path: Path) -> None:
    files, programs = LocalFileSystem(tmp_path), Programs(tmp_path)
    (tmp_path / "disk.raw").write_bytes(bytes(40 * MIB) + pattern(1, 512))
    programs.img("convert", "-f", "raw", "disk.raw", "disk.vhdx", "--scan-zeros")
    assert files.stat("disk.vhdx").size < 40 * MIB
    programs.inspect("compare", "-f", "raw", "disk.raw", "disk.vhdx")
