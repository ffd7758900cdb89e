"""A chain over images of others goes through every verb, and after each the others read it as it should be.

Bases are made by qemu, laid out as blktap lays files out, or made here. libvhdi reads the chains as long as it can: it
tells the first size of a VHD that was resized, and reads bitmaps of a VHD in whole bytes, so writes are of 4 KiB. qemu
reads what stands alone.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.tap_forge import broken_rules, made_by_blktap
from tests.interop.test_vhd_others import their_content
from tests.interop.tools import needs_qemu, qemu_img, qemu_io, same_as_raw
from tests.support.disks import MIB, Disk, counting_ids, pattern
from vhdx.check import Severity
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import Direction, NativeEngine

SIZE = 12 * MIB
BLOCK = 2 * MIB
pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")


def qemus(directory: Path, format: ImageFormat) -> bytes:
    name, options = ("vpc", "force_size=on") if format is ImageFormat.VHD else ("vhdx", f"block_size={BLOCK}")
    base = directory / f"0.{format}"
    qemu_img("create", "-q", "-f", name, "-o", options, base, f"{SIZE}")
    qemu_io(base, "write -P 7 0 3M", "write -P 9 7M 1M", format=name)
    return bytes([7]) * 3 * MIB + bytes(4 * MIB) + bytes([9]) * MIB + bytes(4 * MIB)


def ours(directory: Path, format: ImageFormat) -> bytes:
    disk = Disk.shaped(LocalFileSystem(directory), SIZE, CreateOptions(format=format, block_size=BLOCK))
    disk.write(4096, pattern(1, 5 * MIB))
    disk.close()
    return bytes(disk.contents[0])


def blktaps(directory: Path, format: ImageFormat) -> bytes:
    content = ours(directory, format)
    made_by_blktap(LocalFileSystem(directory), f"0.{format}")
    return content


BASES = [
    pytest.param(qemus, ImageFormat.VHDX, id="qemu-vhdx", marks=needs_qemu),
    pytest.param(qemus, ImageFormat.VHD, id="qemu-vhd", marks=needs_qemu),
    pytest.param(blktaps, ImageFormat.VHD, id="blktap-vhd"),
    pytest.param(ours, ImageFormat.VHDX, id="ours-vhdx", marks=pytest.mark.more),
    pytest.param(ours, ImageFormat.VHD, id="ours-vhd", marks=pytest.mark.more),
]


class Readers:
    """This package, libvhdi and qemu, held against the model after every step."""

    def __init__(self, directory: Path, disk: Disk, *, blktap: bool) -> None:
        self.directory, self.disk, self.blktap = directory, disk, blktap

    def agree(self, *, resized: bool = False) -> None:
        self.disk.check()
        paths = [self.directory / path for path in self.disk.paths]
        for number, content in enumerate(self.disk.contents):
            if not (resized and self.disk.format is ImageFormat.VHD):
                assert their_content(paths[number:], BLOCK) == bytes(content), paths[number]
            found = self.disk.engine.check(self.disk.files, self.disk.paths[number], deep=True)
            assert not [str(one) for one in found if one.severity is Severity.ERROR]
        base = paths[-1]
        if self.blktap:
            assert broken_rules(base.read_bytes()) == []
        name = "vpc" if self.disk.format is ImageFormat.VHD else "vhdx"
        same_as_raw(base, bytes(self.disk.contents[-1]), format=name)


@needs_qemu
@pytest.mark.parametrize(("make", "format"), BASES)
def test_every_verb(make: Callable[[Path, ImageFormat], bytes], format: ImageFormat, tmp_path: Path) -> None:
    files, engine = LocalFileSystem(tmp_path), NativeEngine(new_id=counting_ids(70))
    content = make(tmp_path, format)
    disk = Disk(files, engine, [f"0.{format}"], [bytearray(content)], 1, None, format)
    readers = Readers(tmp_path, disk, blktap=make is blktaps)
    readers.agree()
    for layer in range(3):
        disk.snapshot()
        disk.write(4096 * (layer + 1), pattern(layer + 5, 4096))
        disk.write((2 * layer + 1) * MIB, pattern(layer + 9, MIB + 8192))
        disk.close()
        readers.agree()
    top, base = disk.paths[0], disk.paths[-1]
    assert engine.layers(files, top) == disk.paths
    assert engine.children(files, base) == [disk.paths[-2]]
    for path in disk.paths:
        engine.compact(files, path)
        assert engine.plan_repair(files, path) == []
        engine.replay(files, path)
    readers.agree()
    files.rename(base, f"elsewhere.{format}", replace=False)
    disk.paths[-1] = f"elsewhere.{format}"
    engine.relink(files, disk.paths[-2], disk.paths[-1])
    readers.agree()
    disk.merge(0, 1)
    readers.agree()
    disk.pull(0, 1)
    readers.agree()
    for options in (CreateOptions(), CreateOptions(format=ImageFormat.VHD), CreateOptions(format=ImageFormat.RAW)):
        flat = tmp_path / f"flat.{options.format}.img"
        engine.convert(files, disk.paths[0], files, flat.name, options=options)
        name = {ImageFormat.VHD: "vpc"}.get(options.format, options.format.value)
        same_as_raw(flat, bytes(disk.contents[0]), format=name)
        flat.unlink()
    assert engine.salvage(files, disk.paths[0], files, "saved.vhdx").complete
    same_as_raw(tmp_path / "saved.vhdx", bytes(disk.contents[0]))
    assert engine.plan_merge(files, disk.paths[0], disk.paths[1], direction=Direction.DOWN).orphaned == ()
    disk.merge(0, 1)
    readers.agree()
    disk.resize(SIZE + 5 * MIB)
    readers.agree(resized=True)
    disk.resize(SIZE - 3 * MIB)
    readers.agree(resized=True)
