"""qemu and libvhdi read the VHDs that are written here, and what qemu writes reads here.

qemu-img has no check for VHD. libvhdi is wrong where one read of a differencing VHD spans blocks, so it gets a block at
a time; and where a run of sectors ends within a byte of the bitmap, so there whole bytes are written.
"""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.image.vhd_forge import VhdDisk, chain_of, file_bytes, info_of, make
from tests.interop.tools import QEMU_IO, needs_qemu, qemu_img, run
from tests.support.disks import pattern
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem

MIB = 1 << 20
GIB = 1 << 30
KINDS = ("dynamic", "fixed")


def qemu_io(path: Path, *commands: str) -> str:
    """Run commands of qemu-io on a VHD."""
    assert QEMU_IO is not None
    return run([QEMU_IO, "-f", "vpc", *(part for command in commands for part in ("-c", command)), str(path)])


def same_as_raw(path: Path, content: bytes) -> None:
    """qemu-img reads *content* from the VHD at *path*."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(content)
    assert f'"virtual-size": {len(content)}' in qemu_img("info", "-f", "vpc", "--output=json", path)
    assert "identical" in qemu_img("compare", "-f", "vpc", "-F", "raw", path, raw)
    raw.unlink()


def random_changes(disk: VhdDisk, chance: random.Random, count: int) -> None:
    for number in range(count):
        length = min(chance.choice([512, 700, 4096, MIB, 2 * MIB, 3 * MIB + 512]), disk.size)
        offset = chance.randrange(disk.size - length + 1)
        match chance.choice(["write", "write", "write", "zero", "discard", "flush", "resize", "reopen", "compact"]):
            case "write":
                disk.write(offset, pattern(number, length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "flush":
                disk.open.flush()
            case "resize":
                disk.resize(chance.randrange(1, 12 * MIB // 512) * 512)
            case "reopen":
                disk.close()
            case "compact":
                disk.compact()


@needs_qemu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_qemu_reads_a_random_history(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    size = chance.randrange(1, 12 * MIB // 512) * 512
    disk = VhdDisk.create(LocalFileSystem(tmp_path), size, kind=kind, block_size=chance.choice([1, 2, 4]) * MIB // 2)
    random_changes(disk, chance, 25)
    disk.check()
    same_as_raw(tmp_path / disk.paths[0], bytes(disk.contents[0]))


@needs_qemu
@pytest.mark.parametrize("size", [2 * MIB, 40 * GIB, 127 * GIB + 512, 2040 * GIB])
def test_qemu_takes_the_exact_size(size: int, tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    make(files, 0, size).close()
    with chain_of(files, ["0.vhd"], writable=1) as chain:
        chain.write(size - 4096, b"\x07" * 4096)
        chain.write(size // 3 // 512 * 512, b"\x08" * 512)
    assert f'"virtual-size": {size}' in qemu_img("info", "-f", "vpc", "--output=json", tmp_path / "0.vhd")
    qemu_io(
        tmp_path / "0.vhd",
        f"read -P 7 {size - 4096} 4096",
        f"read -P 8 {size // 3 // 512 * 512} 512",
        f"read -P 0 {size // 2 // 512 * 512} 4096",
    )


@needs_qemu
@pytest.mark.parametrize("options", ["force_size=on", "subformat=fixed,force_size=on", "", "subformat=fixed"])
def test_what_qemu_writes(options: str, tmp_path: Path) -> None:
    path = tmp_path / "0.vhd"
    qemu_img("create", "-f", "vpc", *(("-o", options) if options else ()), path, "12M")
    files = LocalFileSystem(tmp_path)
    size = info_of(files, "0.vhd").virtual_size
    assert size == 12 * MIB or "force" not in options
    qemu_io(path, "write -P 1 0 512", "write -P 2 3M 2M", "write -P 3 10M 1M", "write -P 4 4095k 2k")
    expected = bytearray(size)
    expected[:512] = b"\1" * 512
    expected[3 * MIB : 5 * MIB] = b"\2" * 2 * MIB
    expected[10 * MIB : 11 * MIB] = b"\3" * MIB
    expected[4095 << 10 : 4097 << 10] = b"\4" * 2048
    with chain_of(files, ["0.vhd"]) as chain:
        assert chain.read(0, chain.size) == expected
    for turn in range(3):
        with chain_of(files, ["0.vhd"], writable=1) as chain:
            offset = 6 * MIB - 100 + turn * 50_000
            chain.write(offset, pattern(turn, 5000))
            expected[offset : offset + 5000] = pattern(turn, 5000)
        offset = (8 << 20) + turn * 4096
        qemu_io(path, f"write -P {turn + 9} {offset} 4096")
        expected[offset : offset + 4096] = bytes([turn + 9]) * 4096
    with chain_of(files, ["0.vhd"]) as chain:
        assert chain.read(0, chain.size) == expected
    same_as_raw(path, bytes(expected))


@needs_qemu
def test_qemu_reads_a_moved_table(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    disk = VhdDisk.create(files, 8 * MIB)
    disk.write(0, b"\x0a" * 8 * MIB)
    disk.open.leaf.resize(200 * GIB)
    disk.open.write(199 * GIB, b"\x0b" * 4096)
    disk.close()
    qemu_io(tmp_path / "0.vhd", "read -P 10 0 8M", "read -P 11 199G 4096", "read -P 0 8M 1M")


@needs_qemu
def test_an_image_for_azure(tmp_path: Path) -> None:
    """Fixed, whole MiB, one footer behind the disk; Azure looks at size, host and checksum."""
    files = LocalFileSystem(tmp_path)
    options = CreateOptions(format=ImageFormat.VHD, azure=True)
    make(files, 0, 25 * MIB + 512, options=options).close()
    data = file_bytes(files, "0.vhd")
    assert len(data) == 26 * MIB + 512
    assert data[-512 + 36 : -512 + 40] == b"Wi2k"
    same_as_raw(tmp_path / "0.vhd", bytes(26 * MIB))


def their_content(paths: list[Path], block_size: int) -> bytes:
    """A chain as libvhdi reads it; paths leaf first."""
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")
    opened: list[Any] = []
    for path in paths:
        file = pyvhdi.file()
        file.open(str(path))
        opened.append(file)
    for child, parent in pairwise(opened):
        child.set_parent(parent)
    size = int(opened[0].get_media_size())
    parts = [
        opened[0].read_buffer_at_offset(min(block_size, size - offset), offset) for offset in range(0, size, block_size)
    ]
    for file in opened:
        file.close()
    return b"".join(parts)


@pytest.mark.parametrize("kind", [*KINDS, "differencing"])
@pytest.mark.parametrize("seed", range(4))
def test_libvhdi_reads_a_random_history(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    disk = VhdDisk.create(LocalFileSystem(tmp_path), 9 * MIB + 512, kind=kind, block_size=2 * MIB)
    for number in range(12):
        length = chance.choice([512, 1000, 4096, 5 * 512, MIB, 2 * MIB + 1536])
        offset = chance.randrange(disk.size - length - 4096)
        if kind == "differencing":
            length, offset = -(-length // 4096) * 4096, offset // 4096 * 4096
        disk.write(offset, pattern(number, length))
        if chance.random() < 0.3:
            disk.close()
    disk.check()
    paths = [tmp_path / path for path in disk.paths]
    assert their_content(paths, disk.block_size) == bytes(disk.contents[0])


def test_libvhdi_finds_the_parent_recorded(tmp_path: Path) -> None:
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")
    disk = VhdDisk.create(LocalFileSystem(tmp_path), 4 * MIB, kind="differencing")
    disk.relink()
    disk.close()
    child, parent = pyvhdi.file(), pyvhdi.file()
    child.open(str(tmp_path / disk.paths[0]))
    parent.open(str(tmp_path / disk.paths[1]))
    assert child.get_parent_identifier() == parent.get_identifier()
    assert child.get_parent_filename() == "0.vhd"
