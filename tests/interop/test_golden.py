"""What Windows wrote reads as other readers agree that it reads, and may be written on."""

from pathlib import Path
from uuid import UUID

import pytest

from tests.image import forge
from tests.image.forge import Forge, disk
from tests.interop import golden
from tests.interop.tools import QEMU_IMG, check_clean, qemu_img
from tests.support.disks import pattern
from vhdx.image.base import DiskType, LogState
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

MIB = golden.MIB
KNOWN = golden.manifest()
DIRTY = "discutils-vhdx-log-replay.vhdx.gz"

pytestmark = pytest.mark.skipif(not KNOWN, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")


def unpacked(name: str, directory: Path) -> tuple[LocalFileSystem, str]:
    return LocalFileSystem(directory), golden.unpack(name, directory)


def expected_hash(name: str) -> str:
    known = KNOWN[name]
    hashes = known["after_replay_by_qemu"] if known["dirty"] else known["readers"]["qemu"]
    return str(hashes["sparse_sha256"])


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_reading_and_writing_on(name: str, tmp_path: Path) -> None:
    files, path = unpacked(name, tmp_path)
    known = KNOWN[name]
    info = NativeEngine().info(files, path)
    assert (info.virtual_size, info.block_size) == (known["guest_size"], known["block"])
    assert (info.logical_sector_size, info.physical_sector_size) == (known["lss"], known["pss"])
    assert info.creator == known["creator"]
    assert info.type is DiskType.DYNAMIC
    assert info.log is (LogState.DIRTY if known["dirty"] else LogState.CLEAN)
    with disk(files, path) as chain:
        assert golden.sparse_sha256(chain) == expected_hash(name)
    write_on(files, path)
    if QEMU_IMG:
        check_clean(tmp_path / path)


def write_on(files: LocalFileSystem, path: str) -> None:
    """Change a golden image: in place, into new blocks, zeros; the rest stays as it was."""
    with disk(files, path) as chain:
        size = chain.size
        before = [(offset, chain.read(offset, MIB)) for offset in range(0, size, size // 16)]
    with disk(files, path, writable=1) as chain:
        chain.write(1000, pattern(1, 5000))
        chain.write(size - 3 * MIB - 100, pattern(2, 3 * MIB))
        chain.flush()
        chain.zero(size // 2 + 12345, 33 * MIB)
        chain.write(size // 4 + 70, pattern(3, 4096))
    made = Forge(files, path)
    assert made.size % MIB == 0
    assert made.log_guid == UUID(int=0)
    assert all(made.header_valid(slot) for slot in (0, 1))
    changed = {
        1000: pattern(1, 5000),
        size - 3 * MIB - 100: pattern(2, 3 * MIB),
        size // 2 + 12345: bytes(33 * MIB),
        size // 4 + 70: pattern(3, 4096),
    }
    with disk(files, path) as chain:
        for offset, old in before:
            assert chain.read(offset, len(old)) == overlaid(offset, old, changed)
        for offset, data in changed.items():
            assert chain.read(offset, len(data)) == data


def overlaid(offset: int, old: bytes, changed: dict[int, bytes]) -> bytes:
    content = bytearray(old)
    for start, data in changed.items():
        first, last = max(start, offset), min(start + len(data), offset + len(old))
        if first < last:
            content[first - offset : last - offset] = data[first - start : last - start]
    return bytes(content)


@pytest.mark.skipif(DIRTY not in KNOWN, reason="the image with a dirty log is not there")
def test_the_log_that_windows_left(tmp_path: Path) -> None:
    files, path = unpacked(DIRTY, tmp_path)
    made = Forge(files, path)
    before = made.everything
    with disk(files, path) as chain:
        assert chain.leaf.info.log_entries == 2
        shown = golden.sparse_sha256(chain)
    assert shown == expected_hash(DIRTY)
    assert made.everything == before, "reading left the file as it was"
    forge.writer(files, path).close()
    assert made.log_guid == UUID(int=0)
    assert made.size == 36 * MIB
    assert made.entry(0) == 6 | 4 * MIB
    assert [made.entry(index) for index in (3, 9, 31)] == [2, 2, 2]
    with disk(files, path) as chain:
        assert chain.leaf.info.log is LogState.CLEAN
        assert golden.sparse_sha256(chain) == expected_hash(DIRTY)


@pytest.mark.skipif(DIRTY not in KNOWN or not QEMU_IMG, reason="needs qemu-img and the image with a dirty log")
def test_a_replay_does_what_qemu_does(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    files, path = unpacked(DIRTY, tmp_path / "ours")
    golden.unpack(DIRTY, tmp_path / "theirs")
    forge.writer(files, path).close()
    qemu_img("check", "-r", "all", "-f", "vhdx", tmp_path / "theirs" / path)
    ours, theirs = (tmp_path / side / path for side in ("ours", "theirs"))
    assert ours.stat().st_size == theirs.stat().st_size
    assert ours.read_bytes()[2 * MIB :] == theirs.read_bytes()[2 * MIB :], "all but headers and log"


def test_a_child_over_an_image_of_windows(tmp_path: Path) -> None:
    name = min(KNOWN, key=lambda name: int(KNOWN[name]["image_bytes"]))
    files, path = unpacked(name, tmp_path)
    engine = NativeEngine()
    base = (tmp_path / path).read_bytes()
    engine.create_child(files, "child.vhdx", path)
    with disk(files, "child.vhdx") as chain:
        assert golden.sparse_sha256(chain) == expected_hash(name)
    with disk(files, "child.vhdx", writable=1) as chain:
        chain.write(4096, pattern(1, MIB))
    assert (tmp_path / path).read_bytes() == base
    engine.merge(files, "child.vhdx", path)
    with disk(files, path) as chain:
        assert chain.read(4096, MIB) == pattern(1, MIB)
