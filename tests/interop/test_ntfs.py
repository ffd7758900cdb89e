"""No file of ours is ever marked as sparse, which Windows refuses: on NTFS, and on a share.

Where ntfs-3g cannot be mounted, an ordinary file system stands in for it that is said to mark files with holes: the law
is then that there is no hole.
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.support.disks import MIB, pattern
from tests.support.mounts import CannotMountError, mounted
from tests.support.smbd import Smbd
from vhdx.errors import OutOfSpace
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access, FileSystem, Move, Unsupported
from vhdx.storage.local import LocalFileSystem, ntfs
from vhdx.storage.smb import SmbPool
from vhdx.storage.smb.handle import READ_ATTRIBUTES
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

SPARSE = 0x200
BASIC_INFORMATION = 4
BASIC = struct.Struct("<QQQQI4x")  # four times, attributes
SIZE = 6 * MIB


def on_ntfs(path: Path) -> bool:
    (found,) = struct.unpack("<I", os.getxattr(path, "system.ntfs_attrib"))
    return bool(found & SPARSE)


def with_a_hole(path: Path) -> bool:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
        return bool(size) and os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size


@pytest.fixture(params=["ntfs-3g", "said to be"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Callable[[Path], bool]]]:
    """A directory whose files are marked, and what tells whether one is."""
    if request.param == "said to be":
        monkeypatch.setattr(ntfs, "attributes", lambda fd: SPARSE if with_a_hole(Path(f"/proc/self/fd/{fd}")) else 0)
        yield tmp_path, with_a_hole
        return
    try:
        with mounted("ntfs", 256 * MIB, tmp_path) as point:
            yield point, on_ntfs
    except CannotMountError as error:
        pytest.skip(f"no NTFS: {error}")


def history(files: FileSystem, look: Callable[[], None]) -> None:
    """Every verb; *look* is called after each."""
    engine = NativeEngine()
    for kind in ("vhdx", "vhd"):
        format = ImageFormat(kind)
        for fixed in (False, True):
            name = f"{'fixed' if fixed else 'dynamic'}.{kind}"
            engine.create(files, name, SIZE, CreateOptions(format=format, fixed=fixed))
            look()
            with engine.open_chain(files, name, writable=1) as chain:
                chain.write(3 * MIB + 512, pattern(1, MIB))
                chain.zero(3 * MIB, MIB)
                chain.write(0, bytes(4096))
                chain.discard(0, SIZE)
            look()
            for size in (SIZE + MIB, SIZE + MIB + 512 * 1024, SIZE):
                engine.resize(files, name, size, shrink=Shrink.FORCE)
            look()
        base = f"dynamic.{kind}"
        for direction in (Direction.DOWN, Direction.UP):
            engine.create_child(files, f"child.{kind}", base)
            with engine.open_chain(files, f"child.{kind}", writable=1) as chain:
                chain.write(5 * MIB, pattern(2, 512))
                chain.write(MIB, pattern(2, 3 * MIB))
            look()
            engine.merge(files, f"child.{kind}", base, direction=direction, remove=True, orphan=True)
            look()
            base = f"child.{kind}" if direction is Direction.UP else base
        with engine.open_chain(files, base, writable=1) as chain:
            chain.zero(2 * MIB, MIB)
        engine.compact(files, base)
        look()
        for other in ("vhd", "vhdx", "raw"):
            engine.convert(
                files, base, files, f"copy-{kind}.{other}", options=CreateOptions(format=ImageFormat(other))
            )
            look()
    _repair(engine, files)
    look()


def _repair(engine: NativeEngine, files: FileSystem) -> None:
    with closing(files.open("fixed.vhdx", Access.WRITE)) as storage:
        storage.write([(64 * 1024 + 4, b"\xff" * 4)])
    assert engine.repair(files, "fixed.vhdx", undo="undo")
    engine.undo_repair(files, "fixed.vhdx", "undo")


def test_no_verb_leaves_a_marked_file(place: tuple[Path, Callable[[Path], bool]]) -> None:
    directory, marked = place

    def look() -> None:
        assert not [path.name for path in directory.iterdir() if path.is_file() and marked(path)]

    history(LocalFileSystem(directory), look)


def test_operations_of_a_storage(place: tuple[Path, Callable[[Path], bool]]) -> None:
    """Each leaves the bytes that it leaves elsewhere, and no hole."""
    directory, marked = place
    files = LocalFileSystem(directory)
    with closing(files.create("a")) as storage, closing(files.create("b")) as other:
        storage.write([(3 * MIB, b"far"), (MIB, b"near")])
        storage.truncate(5 * MIB + 100)
        other.write([(0, pattern(1, MIB))])
        try:
            storage.copy(other, [Move(0, 6 * MIB + 1, MIB)])
        except Unsupported:
            storage.write([(6 * MIB + 1, pattern(1, MIB))])
        storage.truncate(8 * MIB)
        wanted = bytearray(8 * MIB)
        wanted[3 * MIB : 3 * MIB + 3] = b"far"
        wanted[MIB : MIB + 4] = b"near"
        wanted[6 * MIB + 1 : 7 * MIB + 1] = pattern(1, MIB)
        assert pread(storage, 0, 8 * MIB) == wanted
        storage.flush()
    assert not marked(directory / "a")


def test_holes_that_are_there_are_filled(place: tuple[Path, Callable[[Path], bool]]) -> None:
    """By the first who opens for writing; a reader changes nothing."""
    directory, marked = place
    NativeEngine().create(LocalFileSystem(directory), "a.vhdx", SIZE)
    with (directory / "a.vhdx").open("r+b") as file:
        file.seek(7 * MIB + 4096)
        file.write(b"end")
        file.truncate(9 * MIB)
    before = (directory / "a.vhdx").read_bytes()
    assert marked(directory / "a.vhdx")
    files = LocalFileSystem(directory)
    files.open("a.vhdx", Access.READ).close()
    assert marked(directory / "a.vhdx")
    files.open("a.vhdx", Access.WRITE).close()
    assert not marked(directory / "a.vhdx")
    assert (directory / "a.vhdx").read_bytes() == before


def test_a_file_that_cannot_be_filled(place: tuple[Path, Callable[[Path], bool]]) -> None:
    """Without room for its holes it opens as before; growing beyond the room leaves the size that it had."""
    directory, marked = place
    volume = os.statvfs(directory)
    room = volume.f_bavail * volume.f_frsize
    if room > 1024 * MIB:
        pytest.skip("filling a file system as large as this one takes too long")
    files = LocalFileSystem(directory)
    with (directory / "a").open("wb") as file:
        file.truncate(2 * room)
    files.open("a", Access.WRITE).close()
    assert marked(directory / "a")
    with closing(files.create("b")) as storage:
        storage.write([(0, b"x")])
        with pytest.raises(OutOfSpace):
            storage.truncate(2 * room)
        assert storage.size() == 1


@pytest.mark.smb
def test_no_verb_leaves_a_marked_file_on_a_share(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> None:
    """What Samba makes of the requests of every verb, FSCTL_SET_ZERO_DATA among them (MS-FSCC 2.6)."""
    files = connect(smbd, smb_pool, tmp_path)

    def look() -> None:
        for name in files.list(""):
            handle = files._handle(name, desired_access=READ_ATTRIBUTES)
            try:
                found = handle.query(BASIC_INFORMATION, BASIC)[4]
            finally:
                handle.close()
            assert not found & SPARSE, name

    history(files, look)
    assert files.list("")


def test_other_file_systems_keep_their_holes(tmp_path: Path) -> None:
    with closing(LocalFileSystem(tmp_path).create("a")) as storage:
        storage.truncate(64 * MIB)
        storage.flush()
    assert (tmp_path / "a").stat().st_blocks * 512 < MIB
