"""qemu reads what is written here, and what qemu writes reads here."""

import random
from pathlib import Path
from uuid import UUID

import pytest

from tests.image import forge
from tests.image.forge import Forge, disk, writer
from tests.interop.tools import check_clean, needs_qemu, qemu_img, qemu_io, same_as_raw
from tests.support.disks import Disk, pattern
from vhdx.extents import Range
from vhdx.image.base import CreateOptions
from vhdx.image.blocks import BlockImage
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20
GIB = 1 << 30
pytestmark = needs_qemu


@pytest.mark.parametrize("seed", range(5))
def test_a_random_history(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    size = chance.randrange(1, 12 * MIB // 512) * 512
    model = Disk.create(LocalFileSystem(tmp_path), size, block_size=chance.choice([1, 2, 4]) * MIB)
    for number in range(20):
        length = min(chance.choice([512, 700, 4096, MIB, 2 * MIB, 3 * MIB + 512]), model.size)
        offset = chance.randrange(model.size - length + 1)
        match chance.choice(["write", "write", "write", "zero", "discard", "flush", "resize", "reopen"]):
            case "write":
                model.write(offset, pattern(number, length))
            case "zero":
                model.zero(offset, length)
            case "discard":
                model.discard(offset, length)
            case "flush":
                model.open.flush()
            case "resize":
                model.resize(chance.randrange(1, 12 * MIB // 512) * 512)
            case "reopen":
                model.close()
    model.check()
    path = tmp_path / model.paths[0]
    check_clean(path)
    same_as_raw(path, bytes(model.contents[0]))
    merge_and_clone(model, tmp_path)


def merge_and_clone(model: Disk, directory: Path) -> None:
    model.snapshot()
    model.write(0, pattern(99, 700))
    model.zero(model.size // 2, model.size // 4)
    model.close()
    model.engine.convert(model.files, model.paths[0], model.files, "clone.vhdx")
    model.merge(0, 1)
    for name in ("clone.vhdx", model.paths[0]):
        check_clean(directory / name)
        same_as_raw(directory / name, bytes(model.contents[0]))


@pytest.mark.parametrize(("block_mib", "size"), [(1, 10 * GIB), (32, 100 * GIB), (256, 2 << 40)])
def test_large_disks_of_many_chunks(block_mib: int, size: int, tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    NativeEngine().create(files, "disk.vhdx", size, CreateOptions(block_size=block_mib * MIB))
    border = (512 << 23) - 512
    places = [0, border, 2 * border + 512, size - 4096]
    with disk(files, writable=1) as chain:
        for number, place in enumerate(places):
            chain.write(place, bytes([number + 1]) * 1024)
    check_clean(tmp_path / "disk.vhdx")
    qemu_io(
        tmp_path / "disk.vhdx",
        *(f"read -v -P {number + 1} {place} 1024" for number, place in enumerate(places)),
        f"read -P 0 {places[1] - 4096} 4096",
    )


def test_a_moved_table(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    NativeEngine().create(files, "disk.vhdx", 8 * MIB, CreateOptions(block_size=MIB))
    with disk(files, writable=1) as chain:
        chain.write(0, b"\x0a" * 8 * MIB)
    NativeEngine().resize(files, "disk.vhdx", 200 * GIB)
    with disk(files, writable=1) as chain:
        chain.write(199 * GIB, b"\x0b" * 4096)
    check_clean(tmp_path / "disk.vhdx")
    qemu_io(tmp_path / "disk.vhdx", "read -P 10 0 8M", "read -P 11 199G 4096", "read -P 0 8M 1M")


@pytest.mark.parametrize("options", ["block_size=1M", "block_size=2M,log_size=2M", "subformat=fixed,block_size=1M"])
def test_what_qemu_writes(options: str, tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    qemu_img("create", "-f", "vhdx", "-o", options, path, "12M")
    qemu_io(path, "write -P 1 0 512", "write -P 2 3M 2M", "write -P 3 11M 1M", "write -P 4 4095k 2k", "write -z 4M 64k")
    expected = bytearray(12 * MIB)
    expected[:512] = b"\1" * 512
    expected[3 * MIB : 5 * MIB] = b"\2" * 2 * MIB
    expected[11 * MIB :] = b"\3" * MIB
    expected[4095 << 10 : 4097 << 10] = b"\4" * 2048
    expected[4 * MIB : 4 * MIB + 65536] = bytes(65536)
    files = LocalFileSystem(tmp_path)
    with disk(files) as chain:
        assert chain.read(0, chain.size) == expected
    with disk(files, writable=1) as chain:
        chain.write(6 * MIB - 100, pattern(5, 5000))
        expected[6 * MIB - 100 : 6 * MIB + 4900] = pattern(5, 5000)
    check_clean(path)
    qemu_io(path, "write -P 7 8M 700k")
    expected[8 * MIB : 8 * MIB + (700 << 10)] = b"\7" * (700 << 10)
    with disk(files) as chain:
        assert chain.read(0, chain.size) == expected
    same_as_raw(path, bytes(expected))


def test_qemu_and_this_package_take_turns(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    path = tmp_path / "disk.vhdx"
    NativeEngine().create(files, "disk.vhdx", 20 * MIB, CreateOptions(block_size=MIB))
    expected = bytearray(20 * MIB)
    for turn in range(6):
        offset, length = (turn * 7 % 19) * MIB + turn * 512, MIB + 512
        length = min(length, 20 * MIB - offset)
        expected[offset : offset + length] = bytes([turn + 1]) * length
        if turn % 2:
            qemu_io(path, f"write -P {turn + 1} {offset} {length}")
        else:
            with disk(files, writable=1) as chain:
                chain.write(offset, bytes([turn + 1]) * length)
    with disk(files) as chain:
        assert chain.read(0, chain.size) == expected
    check_clean(path)
    same_as_raw(path, bytes(expected))


@pytest.mark.parametrize("commits", [1, 5, 40])
def test_qemu_replays_a_log_written_here(commits: int, tmp_path: Path) -> None:
    """The last commit is in the log alone: its pages are spoilt in place."""
    files = LocalFileSystem(tmp_path)
    made = forge.create(files, 48 * MIB)
    expected = bytearray(48 * MIB)
    image = writer(files)
    for number in range(commits):
        offset = number * MIB + number * 512
        data = pattern(number, 4096)
        put(image, offset, data)
        expected[offset : offset + 4096] = data
        image.flush()
    image.abandon()
    assert made.spoil_logged_pages()
    output = qemu_img("check", "-r", "all", "-f", "vhdx", tmp_path / "disk.vhdx")
    assert "were found" in output or "repaired" in output
    assert Forge(files).log_guid == UUID(int=0)
    same_as_raw(tmp_path / "disk.vhdx", bytes(expected))
    with disk(files) as chain:
        assert chain.read(0, chain.size) == expected


def put(image: BlockImage, offset: int, data: bytes) -> None:
    with image.allocate([Range(offset, len(data))]) as places:
        for place in places:
            assert place.file_offset is not None
            image.storage.write([(place.file_offset, data[place.offset - offset :][: place.length])])
