"""Files of other kinds are named, and doing what is said makes an image of them."""

import bz2
import gzip
import io
import lzma
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import Programs
from tests.interop.tools import needs_qemu, qemu_img
from tests.support.disks import MIB, pattern
from vhdx.errors import AnotherFormat
from vhdx.image.foreign import foreign
from vhdx.image.open import recognise
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem


def advised(programs: Programs, name: str) -> str:
    """What every command says is to be done with a file: the same, and nothing of raw disks."""
    said = [programs.inspect(command, name, code=2).err for command in ("info", "map", "hash")]
    said += [programs.refused("resize", name, "+1M", code=2), programs.refused("convert", name, "new.vhd", code=2)]
    found = {re.findall(r"neither a VHDX nor a VHD: it is (.*) \(MS-VHDX", one)[0] for one in said}
    assert len(found) == 1
    assert not any("-f raw" in one for one in said)
    assert found.copy().pop() in programs.inspect("check", name, code=2).out
    return found.pop()


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "qcow2 -o compat=0.10", "vmdk", "vmdk -o subformat=monolithicFlat", "vdi",
                                  "qed", "parallels"])  # fmt: skip
def test_images_of_other_programs(kind: str, programs: Programs) -> None:
    (programs.here / "source").write_bytes(pattern(1, 4 * MIB))
    qemu_img("convert", "-f", "raw", "-O", *kind.split(), programs.here / "source", programs.here / "other")
    said = advised(programs, "other")
    assert kind.split(maxsplit=1)[0] in said.lower()
    command = re.findall(r"qemu-img (convert .*) makes a VHDX", said)[0]
    words = command.replace("FILE", "other").replace("NEW", "new").split()
    subprocess.run(["qemu-img", *words], cwd=programs.here, check=True, capture_output=True)
    programs.inspect("compare", "source", "new.vhdx", "-f", "raw")


def _zip(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("image.vhdx", data)
    return made.getvalue()


def _tar(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("image.vhdx")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def _by(program: str) -> Callable[[bytes], bytes]:
    def packed(data: bytes) -> bytes:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        return subprocess.run([program, "-c"], input=data, check=True, capture_output=True).stdout

    return packed


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": _by("zstd"),
    "lz4": _by("lz4"),
    "zip": _zip,
    "tar": _tar,
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_files(kind: str, programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    (programs.here / "packed").write_bytes(PACKED[kind]((programs.here / "a.vhdx").read_bytes()))
    said = advised(programs, "packed")
    assert kind in said
    command = re.findall(r"; (.*) unpacks it", said)[0]
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    line = command.replace("FILE", "packed").replace("IMAGE", "image.vhdx")
    subprocess.run(["sh", "-c", line], cwd=programs.here, check=True, capture_output=True)
    programs.inspect("compare", "a.vhdx", "image.vhdx")


def test_a_disc_and_nothing(programs: Programs) -> None:
    (programs.here / "a.iso").write_bytes(bytes(32769) + b"CD001" + bytes(MIB))
    assert "ISO 9660" in advised(programs, "a.iso")
    programs.inspect("hash", "a.iso", "-f", "raw")
    (programs.here / "empty.vhdx").touch()
    assert "it is empty" in programs.inspect("info", "empty.vhdx", code=2).err
    programs.img("create", "empty.vhdx", "8M", "--force")
    programs.inspect("info", "empty.vhdx")


def test_what_says_nothing_is_still_unknown(tmp_path: Path) -> None:
    """Each mark alone, cut short by a byte, or a byte further on, is none."""
    (tmp_path / "a").write_bytes(b"QFI\xfb")
    files = LocalFileSystem(tmp_path)
    storage = files.open("a", Access.READ)
    assert foreign(storage)
    with pytest.raises(AnotherFormat):
        recognise(storage)
    storage.close()
    for data in (b"QFI", b"\0QFI\xfb", b"\x1f", bytes(512)):
        (tmp_path / "a").write_bytes(data)
        storage = files.open("a", Access.READ)
        assert foreign(storage) is None
        storage.close()
