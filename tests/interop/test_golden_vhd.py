"""VHDs of other programs, Windows among them, read as other readers agree that they read."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.image.vhd_forge import chain_of, file_bytes, info_of, opened, patch
from tests.interop import golden
from tests.support.disks import counting_ids, pattern
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.errors import Error
from vhdx.extents import Presence
from vhdx.format import vhd_footer
from vhdx.image.base import DiskType, ImageFormat
from vhdx.image.vhd.open import open_vhd
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem

MIB = golden.MIB
FOOTER = "vhdattach-win61-fixed-3G.footer.bin"
WINDOWS_CHILD = "dfvfs-fat-differential.vhd.gz"
EMPTY = "qemu-hyperv2012r2-dynamic.vhd.bz2"
WRONG_CHECKSUM = ("dfvfs-image.vhd.gz", "dfvfs-image-differential.vhd.gz")


def known() -> dict[str, dict[str, Any]]:
    """What is known of each VHD, by file name; empty where there are none."""
    try:
        entries = json.loads((golden.DIRECTORY / "manifest.json").read_text())
    except FileNotFoundError:
        return {}
    return {entry["file"]: entry for entry in entries if entry["kind"].startswith("VHD ")}


KNOWN = known()
IMAGES = sorted(set(KNOWN) - {FOOTER})
pytestmark = pytest.mark.skipif(not KNOWN, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")


def unpacked(name: str, directory: Path) -> tuple[LocalFileSystem, str]:
    return LocalFileSystem(directory), golden.unpack(name, directory)


def own_content(files: LocalFileSystem, path: str) -> str:
    """The hash of what the file itself holds, all else as zeros."""
    with Chain([Layer(path, opened(files, path))]) as chain:
        digest = hashlib.sha256()
        for offset in range(0, chain.size, MIB):
            digest.update(chain.read(offset, min(MIB, chain.size - offset)))
    return digest.hexdigest()


def hash_of(file: Path) -> str:
    """That of all its bytes; some files are large."""
    with file.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


@pytest.mark.parametrize("name", IMAGES)
def test_what_an_image_says_of_itself(name: str, tmp_path: Path) -> None:
    files, path = unpacked(name, tmp_path)
    expected, info = KNOWN[name], info_of(files, path)
    assert info.format is ImageFormat.VHD
    assert info.type is (DiskType.DIFFERENCING if expected["kind"] == "VHD diff" else DiskType.DYNAMIC)
    assert (info.virtual_size, info.block_size) == (expected["guest_size"], expected["block"])
    assert info.creator.split() == expected["creator"].replace("\0", " ").split()
    assert (info.parent is None) == (expected["parent"] is None)
    if info.parent is not None:
        assert info.parent.linkage == UUID(expected["parent_uuid"])
        assert info.parent.paths["parent_name"] == expected["parent"]
    assert any("checksum" in warning for warning in info.warnings) == (name in WRONG_CHECKSUM)


@pytest.mark.parametrize("name", [name for name in IMAGES if name != EMPTY])
def test_reading(name: str, tmp_path: Path) -> None:
    files, path = unpacked(name, tmp_path)
    before = hash_of(tmp_path / path)
    expected = KNOWN[name]["guest_sha256"] or KNOWN[name]["readers"]["qemu"]["sha256"]
    assert own_content(files, path) == expected
    assert hash_of(tmp_path / path) == before


@pytest.mark.skipif(EMPTY not in KNOWN, reason="that image is not there")
def test_a_large_empty_disk_of_windows(tmp_path: Path) -> None:
    files, path = unpacked(EMPTY, tmp_path)
    with opened_chain(files, path) as chain:
        assert [found.extent.presence for found in chain.extents(0, chain.size)] == [Presence.NOT_PRESENT]


def opened_chain(files: LocalFileSystem, path: str, *, writable: bool = False) -> Chain:
    return Chain([Layer(path, opened(files, path, writable=writable))])


@pytest.mark.skipif(WINDOWS_CHILD not in KNOWN, reason="that image is not there")
def test_the_parent_that_windows_recorded(tmp_path: Path) -> None:
    files, path = unpacked(WINDOWS_CHILD, tmp_path)
    link = info_of(files, path).parent
    assert link is not None
    paths = {code: text for code, _, _, text in KNOWN[WINDOWS_CHILD]["locators"]}
    assert link.paths["absolute_win32_path"] == paths["W2ku"]
    assert link.paths["relative_path"] == paths["W2ru"]


@pytest.mark.parametrize("name", [name for name in IMAGES if name not in WRONG_CHECKSUM])
def test_writing_on(name: str, tmp_path: Path) -> None:
    files, path = unpacked(name, tmp_path)
    with opened_chain(files, path, writable=True) as chain:
        size = chain.size
        places = {1024: pattern(1, 5000), size // 2 // 512 * 512: pattern(2, 1536), size - 4096: pattern(3, 4096)}
        rest = chain.read(0, 1024)
        for offset, data in places.items():
            chain.write(offset, data)
    with opened_chain(files, path) as chain:
        assert chain.read(0, 1024) == rest
        for offset, data in places.items():
            assert chain.read(offset, len(data)) == data
    with (tmp_path / path).open("rb") as file:
        first = file.read(512)
        file.seek(-512, os.SEEK_END)
        assert file.read(512) == first


@pytest.mark.parametrize("name", [name for name in WRONG_CHECKSUM if name in KNOWN])
def test_wrong_checksums_are_not_written_on(name: str, tmp_path: Path) -> None:
    files, path = unpacked(name, tmp_path)
    before = file_bytes(files, path)
    with pytest.raises(Error, match=r"checksum.*repair it first"):
        open_vhd(files.open(path, Access.WRITE), new_id=counting_ids())
    assert file_bytes(files, path) == before


@pytest.mark.skipif(not set(WRONG_CHECKSUM) <= set(KNOWN), reason="those images are not there")
def test_a_child_over_its_parent(tmp_path: Path) -> None:
    """Its bitmap has bits behind the end of the disk."""
    files, base = unpacked(WRONG_CHECKSUM[0], tmp_path)
    child = golden.unpack(WRONG_CHECKSUM[1], tmp_path)
    with chain_of(files, [child, base]) as chain:
        content = chain.read(0, chain.size)
    assert hashlib.sha256(content).hexdigest() == KNOWN[WRONG_CHECKSUM[1]]["guest_sha256"]


@pytest.mark.skipif(FOOTER not in KNOWN, reason="that footer is not there")
def test_the_footer_of_a_fixed_image_of_windows(tmp_path: Path) -> None:
    raw = (golden.DIRECTORY / FOOTER).read_bytes()
    size = KNOWN[FOOTER]["guest_size"]
    footer, sealed = vhd_footer.parse(raw, 0)
    assert sealed
    assert vhd_footer.build(footer) == raw
    assert (footer.current_size, footer.geometry.size) == (size, 3220955136)
    with (tmp_path / "fixed.vhd").open("wb") as file:
        file.truncate(size)
    files = LocalFileSystem(tmp_path)
    patch(files, "fixed.vhd", size, raw)
    info = info_of(files, "fixed.vhd")
    assert (info.type, info.virtual_size, info.block_size) == (DiskType.FIXED, size, None)
    assert info.creator == "win v6.1 Wi2k"
