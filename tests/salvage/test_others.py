"""Images of Windows, qemu and others: sound ones are copied as they are read, and nothing is said of them."""

import gzip
from pathlib import Path

import pytest

from tests.interop import golden, test_golden_vhd
from tests.interop.tools import needs_qemu, qemu_img
from tests.salvage.disks import engine
from tests.support.disks import MIB, pattern
from vhdx.errors import ParentNotFound
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.salvage.report import Salvaged
from vhdx.storage.local import LocalFileSystem

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NAMES = sorted(name for name in {**golden.manifest(), **test_golden_vhd.KNOWN} if not name.endswith(".bin"))
RAW = CreateOptions(format=ImageFormat.RAW)


def compared(files: LocalFileSystem, path: str) -> Salvaged:
    """The report; the copy is what a reader sees."""
    report = engine().salvage(files, path, files, "copy.vhdx")
    with engine().open_chain(files, path) as one, engine().open_chain(files, "copy.vhdx") as other:
        assert one.size == other.size
        assert golden.sparse_sha256(one) == golden.sparse_sha256(other)
    assert not report.lost
    return report


@pytest.mark.skipif(not NAMES, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.more
def test_golden_images(name: str, tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    path = golden.unpack(name, tmp_path)
    try:
        engine().layers(files, path)
    except ParentNotFound:
        with pytest.raises(ParentNotFound):
            engine().salvage(files, path, files, "copy.vhdx")
        return
    report = compared(files, path)
    # Their footers have wrong checksums indeed.
    assert report.complete is (name not in test_golden_vhd.WRONG_CHECKSUM), report.notes


def test_a_chain_with_a_log(tmp_path: Path) -> None:
    for packed in FIXTURES.glob("*.vhdx.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    for name in ("leaf-with-log.vhdx", "qemu-dynamic.vhdx", "qemu-fixed.vhdx"):
        assert compared(LocalFileSystem(tmp_path), name).complete
        (tmp_path / "copy.vhdx").unlink()


@needs_qemu
@pytest.mark.parametrize("format", ["vpc", "vhdx"])
def test_what_qemu_wrote_and_something_cut(format: str, tmp_path: Path) -> None:
    """Of a disk without holes what is in the file is there, and the rest is lost: no more and no less."""
    content = pattern(3, 6 * MIB)
    (tmp_path / "disk.raw").write_bytes(content)
    qemu_img("convert", "-f", "raw", "-O", format, tmp_path / "disk.raw", tmp_path / "a.img")
    files = LocalFileSystem(tmp_path)
    assert compared(files, "a.img").complete
    with (tmp_path / "a.img").open("r+b") as file:
        file.truncate(5 * MIB + 4096)
    report = engine().salvage(files, "a.img", files, "cut.raw", options=RAW)
    made = (tmp_path / "cut.raw").read_bytes()
    assert report.lost
    for lost in report.lost:
        assert not any(made[lost.offset : lost.end])
    kept = bytearray(content.ljust(len(made), b"\0"))
    for lost in report.lost:
        kept[lost.offset : lost.end] = bytes(lost.length)
    assert made == kept
