"""Disks of the largest size cost neither memory nor time by their size."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import disk
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Tally, WatchedFileSystem
from vhdx.errors import FormatError
from vhdx.extents import Presence
from vhdx.image.base import CreateOptions
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import allocated
from vhdx.verbs.engine import NativeEngine

GIB, TIB = 1 << 30, 1 << 40

WORK = """
import resource, sys
from vhdx.verbs.engine import NativeEngine
from vhdx.image.base import CreateOptions
from vhdx.storage.local import LocalFileSystem

root, size = sys.argv[1], int(sys.argv[2])
files, engine = LocalFileSystem(root), NativeEngine()
engine.create(files, "disk.vhdx", size, CreateOptions(block_size=1 << 20))
assert engine.info(files, "disk.vhdx").virtual_size == size
ends = {0: b"first" * 100, size // 2 - 3: b"middle" * 100, size - 500: b"last!" * 100}
with engine.open_chain(files, "disk.vhdx", writable=1) as chain:
    for offset, data in ends.items():
        chain.write(offset, data)
    chain.flush()
    for offset, data in ends.items():
        assert chain.read(offset, len(data)) == data
    chain.zero(size // 4, size // 8)
with engine.open_chain(files, "disk.vhdx") as chain:
    for offset, data in ends.items():
        assert chain.read(offset, len(data)) == data
    found = list(chain.extents(0, size))
    assert sum(piece.extent.length for piece in found) == size
    assert len(found) < 16
engine.create_child(files, "child.vhdx", "disk.vhdx")
with engine.open_chain(files, "child.vhdx", writable=1) as chain:
    for offset in ends:
        chain.write(offset + 100, b"later" * 80)
assert engine.merge(files, "child.vhdx", "disk.vhdx", remove=True) == "disk.vhdx"
with engine.open_chain(files, "disk.vhdx") as chain:
    for offset, data in ends.items():
        if offset + 500 <= size:
            assert chain.read(offset + 100, 400) == b"later" * 80
engine.compact(files, "disk.vhdx")
assert [finding for finding in engine.check(files, "disk.vhdx") if finding.severity.value == "error"] == []
if size > 1 << 40:
    engine.create(files, "half.vhdx", size // 2, CreateOptions(block_size=1 << 20))
    with engine.open_chain(files, "half.vhdx", writable=1) as chain:
        chain.write(size // 2 - 5, b"there")
    engine.resize(files, "half.vhdx", size)
    with engine.open_chain(files, "half.vhdx", writable=1) as chain:
        chain.write(size - 5, b"final")
        assert chain.read(size // 2 - 10, 15) == bytes(5) + b"there" + bytes(5)
    assert [finding for finding in engine.check(files, "half.vhdx") if finding.severity.value == "error"] == []
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(root: Path, size: int) -> int:
    """The most memory, in bytes, that the work took in a process of its own."""
    root.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(root), str(size)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) << 10


def test_64_tib_in_blocks_of_1_mib_cost_little_memory(tmp_path: Path) -> None:
    small = peak(tmp_path / "small", GIB)
    large = peak(tmp_path / "large", 64 * TIB)
    assert large - small < 64 * MIB
    assert large - interpreter() < 96 * MIB
    assert (tmp_path / "large" / "disk.vhdx").stat().st_size < 600 * MIB
    for path in (tmp_path / "large").iterdir():
        path.unlink()


def interpreter() -> int:
    """The most memory, in bytes, of an interpreter that does nothing."""
    program = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout) << 10


def test_work_on_a_large_disk_reads_what_its_table_holds_and_not_its_holes(tmp_path: Path) -> None:
    """No verb reads more than what the file system tells as data, once; the table would be 513 MiB."""
    tally = Tally()
    files = WatchedFileSystem(LocalFileSystem(tmp_path), tally)
    engine = forge.engine()
    engine.create(files, "half.vhdx", 32 * TIB, CreateOptions(block_size=MIB))
    with engine.open_chain(files, "half.vhdx", writable=1) as chain:
        chain.write(32 * TIB - 5, b"there")
    verbs: dict[str, Callable[[], object]] = {
        "resize": lambda: engine.resize(files, "half.vhdx", 64 * TIB),
        "snapshot": lambda: engine.create_child(files, "leaf.vhdx", "half.vhdx"),
        "merge": lambda: engine.merge(files, "leaf.vhdx", "half.vhdx", remove=True),
        "check": lambda: list(engine.check(files, "half.vhdx")),
    }
    for name, verb in verbs.items():
        held = sum(data_in(files, path) for path in files.list(""))
        tally.clear()
        verb()
        assert tally.bytes["read"] < held + 5 * MIB, name
    for path in tmp_path.iterdir():
        path.unlink()


def data_in(files: FileSystem, path: str) -> int:
    with closing(files.open(path, Access.INSPECT)) as storage:
        return sum(piece.length for piece in allocated(storage, 0, storage.size()))


def test_looking_at_a_large_image_takes_a_handful_of_reads() -> None:
    for size in (GIB, 64 * TIB):
        tally = Tally()
        files = WatchedFileSystem(sparse(size), tally)
        tally.clear()
        assert forge.engine().info(files, "disk.vhdx").virtual_size == size
        assert tally.calls["read"] <= 20
        assert tally.bytes["read"] <= MIB


def sparse(size: int) -> MemoryFileSystem:
    """An image of *size* with blocks of 256 MiB, so that its table is short."""
    files = MemoryFileSystem()
    forge.create(files, size, block=256 * MIB)
    return files


def test_reading_one_sector_reads_one_piece_of_the_table() -> None:
    tally = Tally()
    files = WatchedFileSystem(sparse(16 * TIB), tally)
    with disk(files) as chain:
        tally.clear()
        chain.read(9 * TIB, 4096)
        assert tally.calls["read"] <= 2
        tally.clear()
        chain.read(9 * TIB + 4096, 4096)
        assert tally.calls["read"] == 0


def test_more_than_4_gib_of_places() -> None:
    """Blocks of a sparse file far behind 4 GiB: offsets need more than 32 bits."""
    files = MemoryFileSystem()
    forge.create(files, 64 * GIB, block=32 * MIB)
    with disk(files, writable=1) as chain:
        for number in range(200):
            chain.write(number * 300 * MIB, pattern(number, 512))
    assert files.stat("disk.vhdx").size > 6 * GIB
    with disk(files, writable=1) as chain:
        for number in range(200):
            assert chain.read(number * 300 * MIB, 512) == pattern(number, 512)
        chain.write(199 * 300 * MIB + 512, pattern(7, 512))
    with disk(files) as chain:
        assert chain.read(199 * 300 * MIB, 1024) == pattern(199, 512) + pattern(7, 512)


@pytest.mark.parametrize("place", [(1 << 64) - MIB, 1 << 63, (1 << 63) - MIB, 1 << 44])
def test_absurd_places_in_a_local_file_are_refused(tmp_path: Path, place: int) -> None:
    """They do not even fit into the system call."""
    files = LocalFileSystem(tmp_path)
    made = forge.create(files, path="base.vhdx")
    NativeEngine().create_child(files, "disk.vhdx", "base.vhdx")
    made = forge.Forge(files)
    for entries in ({0: place | 6}, {0: 4 * MIB | 7, 2048: place | 6}):
        for index, raw in entries.items():
            made.set_entry(index, raw)
        with disk(files) as chain, pytest.raises(FormatError):
            chain.read(0, 4096)
        image = forge.writer(files)
        with pytest.raises(FormatError):
            image.begin()
        image.close()


def test_extents_of_a_large_child_stay_few() -> None:
    files = MemoryFileSystem()
    forge.create(files, TIB, "base.vhdx", block=256 * MIB)
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(TIB // 2, pattern(1, 4096))
        found = [(piece.layer, piece.extent.presence) for piece in chain.extents(0, TIB)]
    assert found == [(1, Presence.NOT_PRESENT), (0, Presence.DATA), (1, Presence.NOT_PRESENT)]
