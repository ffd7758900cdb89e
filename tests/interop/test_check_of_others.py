"""What other programs make, and have written to, is checked to be without a flaw: exit code 0 is for all of it.

Shapes of programs that are not here are forged by what is known of them.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.check import vhd_images
from tests.check.catalogue import check, codes, good, plain
from tests.image import forge
from tests.image.forge import Forge
from tests.interop import golden
from tests.interop.tools import needs_qemu, qemu_img, qemu_io
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.check import Finding, Severity, check_storage
from vhdx.image.base import CreateOptions
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

VPC = ["subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on", "subformat=fixed,force_size=on"]
VHDX = [
    *("subformat=dynamic", "subformat=fixed", "block_size=1M", "block_size=256M", "log_size=4M"),
    *("block_state_zero=off", "subformat=fixed,block_state_zero=off"),
]
KINDS = [("vpc", options) for options in VPC] + [("vhdx", options) for options in VHDX]


def flaws(directory: Path, name: str = "disk") -> list[str]:
    """What is more than information."""
    files = LocalFileSystem(directory)
    storage = files.open(name, Access.READ)
    found = [str(one) for one in check_storage(storage, deep=True) if one.severity is not Severity.INFO]
    storage.close()
    return found


@needs_qemu
@pytest.mark.parametrize(("format", "options"), KINDS)
def test_images_of_qemu(format: str, options: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    for size in ("1M", "33793K", *(["5G"] if "fixed" not in options else [])):
        qemu_img("create", "-q", "-f", format, "-o", options, disk, size)
        assert flaws(tmp_path) == []
        qemu_io(disk, "write -P 5 4k 3k", "write -P 1 600k 100k", "write -z 100k 20k", format=format)
        assert flaws(tmp_path) == []


@needs_qemu
@pytest.mark.parametrize("size", [1, 33])
def test_a_fixed_image_of_qemu_that_ends_with_its_disk_is_written_to(size: int, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "vhdx", "-o", "subformat=fixed,block_state_zero=off", disk, f"{size}M")
    files, engine = LocalFileSystem(tmp_path), NativeEngine(new_id=counting_ids())
    last = size * MIB - 4096
    with engine.open_chain(files, "disk", writable=1) as chain:
        chain.write(last, pattern(1, 4096))
    engine.resize(files, "disk", (size + 5) * MIB)
    with engine.open_chain(files, "disk") as chain:
        assert chain.read(last, 4096 + 5 * MIB) == pattern(1, 4096) + bytes(5 * MIB)
    assert flaws(tmp_path) == []
    qemu_img("check", "-f", "vhdx", disk)


def of_windows() -> list[str]:
    return sorted(golden.manifest())


@pytest.mark.skipif(not golden.manifest(), reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
@pytest.mark.parametrize("name", of_windows())
def test_images_of_windows(name: str, tmp_path: Path) -> None:
    assert flaws(tmp_path, golden.unpack(name, tmp_path)) == []


def not_info(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.severity is not Severity.INFO]


def padded_with_zeros(files: MemoryFileSystem) -> None:
    Forge(files).write(vhd_images.TABLE + 12, bytes(500))


def table_for_a_larger_disk(files: MemoryFileSystem) -> None:
    vhd_images.change_header(Forge(files), 28, struct.pack(">I", 128))


def table_for_a_larger_disk_of_zeros(files: MemoryFileSystem) -> None:
    table_for_a_larger_disk(files)
    padded_with_zeros(files)


def zeros_for_a_host(files: MemoryFileSystem) -> None:
    vhd_images.change_footers(Forge(files), 36, bytes(4))


def hidden(files: MemoryFileSystem) -> None:
    vhd_images.change_footers(Forge(files), 85, b"\1")


def bits_of_what_was_written_alone(files: MemoryFileSystem) -> None:
    image = Forge(files)
    first = image.number_be(vhd_images.TABLE) * 512
    image.write(first + 512 + 64 * 512, bytes(64 * 512))
    image.write(first + 8, bytes(8))
    image.write(2560, vhd_images.batmap(b"\x20")[512:1024])
    image.write(2048, vhd_images.batmap(b"\x20")[:512])


@pytest.mark.parametrize(
    "shape",
    [
        *(padded_with_zeros, table_for_a_larger_disk, table_for_a_larger_disk_of_zeros),
        *(zeros_for_a_host, hidden, bits_of_what_was_written_alone),
    ],
    ids=lambda shape: shape.__name__,
)
def test_shapes_of_blktap(shape: Callable[[MemoryFileSystem], None]) -> None:
    files = good(vhd_images.mapped)
    assert not_info(check(files, deep=True)) == []
    shape(files)
    assert not_info(check(files, deep=True)) == []


def fixed_over_nothing() -> MemoryFileSystem:
    """As openvmm makes a fixed image: the flag alone."""
    files = MemoryFileSystem()
    image = forge.create(files)
    image.write(image.metadata + 65536 + 4, b"\1\0\0\0")
    return files


def space_at_the_end() -> MemoryFileSystem:
    files = good(plain)
    Forge(files).truncate(Forge(files).size + 32 * MIB)
    return files


def one_header_refreshed() -> MemoryFileSystem:
    files = good(plain)
    image = Forge(files)
    old = 1 - int(image.current_header == forge.HEADERS[1])
    image.change_header(8, struct.pack("<Q", max(image.sequence_number(0), image.sequence_number(1)) + 1), slots=(old,))
    image.change_header(16, b"another write id", slots=(old,))
    return files


def anchors() -> MemoryFileSystem:
    files = good(plain)
    image = Forge(files)
    image.set_entry(1, image.entry(1) & ~7 | 3)
    image.set_entry(2, image.entry(2) & ~7 | 1)
    return files


SHAPES = (fixed_over_nothing, space_at_the_end, one_header_refreshed, anchors)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_shapes_of_openvmm(shape: Callable[[], MemoryFileSystem]) -> None:
    assert not_info(check(shape(), deep=True)) == []


def test_a_fixed_image_over_nothing_is_told_to_be_one() -> None:
    assert set(codes(check(fixed_over_nothing()))) == {"bat-fixed-unallocated", "fixed-file-short"}
    files = MemoryFileSystem()
    forge.engine().create(files, "disk.vhdx", 8 * MIB, CreateOptions(fixed=True, block_size=MIB))
    assert check(files) == []
