"""The engine and the driver on a real share: what crosses the wire, what a full or broken share leaves."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from smbfs_driver.volumes.refusals import Refused
from smbfs_driver.volumes.volumes import Volumes
from tests.conftest import connect
from tests.support.mounts import CannotMountError, mounted
from tests.support.smbd import Smbd
from vhdx.errors import Error, InUse, OutOfSpace, ParentMismatch, ParentNotFound
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.smb import SmbFileSystem, SmbPool
from vhdx.storage.watched import Tally, WatchedFileSystem
from vhdx.verbs.engine import NativeEngine

pytestmark = pytest.mark.smb

MIB = 1 << 20
VOLUME, COPY = (f"volume-{UUID(int=number)}" for number in (1, 2))
A, B = (str(UUID(int=number)) for number in (10, 11))


def fill(engine: NativeEngine, files: FileSystem, path: str, offset: int, length: int, seed: int) -> bytes:
    """Write random bytes into a disk; returns them."""
    data = random.Random(seed).randbytes(length)
    with engine.open_chain(files, path, writable=1, orphan=True) as disk:
        disk.write(offset, data)
    return data


def content(engine: NativeEngine, files: FileSystem, path: str) -> list[bytes]:
    """The hash of each MiB of a disk, which may be large."""
    with engine.open_chain(files, path) as disk:
        pieces = ((offset, min(MIB, disk.size - offset)) for offset in range(0, disk.size, MIB))
        return [hashlib.sha256(disk.read(*piece)).digest() for piece in pieces]


@pytest.mark.parametrize("offset", [0, 700 * 512], ids=["aligned", "unaligned"])
def test_merge_and_clone_move_no_payload_over_the_wire(
    smb_files: SmbFileSystem, smb_pool: SmbPool, offset: int
) -> None:
    """Counted by the kernel at the socket, through the wrappers that a driver puts around a share."""
    tally, engine = Tally(), NativeEngine()
    files = WatchedFileSystem(WatchedFileSystem(smb_files, tally), Tally())
    volumes = Volumes(files, engine)
    volumes.create(VOLUME, 256 * MIB)
    fill(engine, files, volumes.active(VOLUME), 0, 16 * MIB, 1)
    volumes.create_snapshot(VOLUME, A)
    fill(engine, files, volumes.active(VOLUME), 40 * MIB + offset, 64 * MIB, 2)
    expected = content(engine, files, volumes.active(VOLUME))

    for name, action in {
        "clone": lambda: volumes.clone(COPY, VOLUME, 256 * MIB),
        "merge": lambda: volumes.delete_snapshot(VOLUME, A),
    }.items():
        tally.clear()
        before = smb_pool.wire().total
        action()
        crossed = smb_pool.wire().total - before
        assert tally.bytes["copy"] >= 64 * MIB, name
        assert 0 < crossed < 8 * MIB, f"{name}: {crossed} bytes on the wire"
    for volume in (VOLUME, COPY):
        assert content(engine, files, volumes.active(volume)) == expected


def test_a_server_that_does_not_copy_is_done_without(smb_files: SmbFileSystem, smb_pool: SmbPool) -> None:
    files, engine = smb_files, NativeEngine()
    engine.create(files, "base.vhdx", 64 * MIB)
    fill(engine, files, "base.vhdx", 0, 5 * MIB, 1)
    engine.create_child(files, "leaf.vhdx", "base.vhdx")
    fill(engine, files, "leaf.vhdx", 3 * MIB + 512, 8 * MIB, 2)
    expected = content(engine, files, "leaf.vhdx")
    with SmbPool() as other:
        # Another connection: the server cannot copy between the two.
        key = next(iter(smb_pool._connections))
        elsewhere = other.share(key.server, files._share, port=key.port, credentials=key.credentials)
        before = other.wire().total
        engine.convert(files, "leaf.vhdx", elsewhere, "clone.vhdx")
        assert other.wire().total - before > 11 * MIB
    assert content(engine, files, "clone.vhdx") == expected


@contextmanager
def small_share(smbd: Smbd, pool: SmbPool, kind: str, size: int, place: Path) -> Iterator[SmbFileSystem]:
    try:
        with mounted(kind, size, place) as point:
            yield connect(smbd, pool, point)
    except CannotMountError as error:
        pytest.skip(str(error))


def test_a_clone_on_xfs_is_a_reflink(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> None:
    engine = NativeEngine()
    with small_share(smbd, smb_pool, "xfs", 512 * MIB, tmp_path) as files:
        engine.create(files, "one.vhdx", 128 * MIB)
        fill(engine, files, "one.vhdx", 0, 96 * MIB, 1)
        before = files.space().free
        engine.convert(files, "one.vhdx", files, "two.vhdx")
        assert before - files.space().free < 16 * MIB
        assert content(engine, files, "two.vhdx") == content(engine, files, "one.vhdx")


def test_a_full_share_loses_nothing_and_leaves_nothing(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> None:
    engine = NativeEngine()
    with small_share(smbd, smb_pool, "ext4", 96 * MIB, tmp_path) as files:
        volumes = Volumes(files, engine)
        volumes.create(VOLUME, 256 * MIB)
        kept = fill(engine, files, volumes.active(VOLUME), MIB, 8 * MIB, 1)
        volumes.create_snapshot(VOLUME, A)
        fill(engine, files, volumes.active(VOLUME), 4 * MIB, 2 * MIB, 2)
        expected = content(engine, files, volumes.active(VOLUME))

        with engine.open_chain(files, volumes.active(VOLUME), writable=1) as disk:
            disk.write(200 * MIB, b"flushed".ljust(512, b"\0"))
            disk.flush()
            with pytest.raises(OutOfSpace, match=r"share\d+"):
                for number in range(32, 160):
                    disk.write(number * MIB, random.Random(number).randbytes(MIB))
            disk.flush()
            assert disk.read(200 * MIB, 7) == b"flushed"
        full = content(engine, files, volumes.active(VOLUME))
        assert full[:32] == expected[:32]
        with engine.open_chain(files, volumes.active(VOLUME)) as disk:
            assert disk.read(200 * MIB, 7) == b"flushed"

        # What little is left is taken, so that nothing can be created any more.
        ballast = files.create("ballast")
        with pytest.raises(OutOfSpace):
            for number in range(4096):
                ballast.write([(number * 65536, bytes(65536))])
        ballast.close()
        listing = files.list("")
        for action in (
            lambda: volumes.create_snapshot(VOLUME, B),
            lambda: volumes.create(COPY, 256 * MIB),
            lambda: volumes.clone(COPY, VOLUME, 256 * MIB),
        ):
            with pytest.raises(OutOfSpace):
                action()
            assert files.list("") == listing
        assert content(engine, files, volumes.active(VOLUME)) == full
        files.remove("ballast")
        volumes.delete(VOLUME)
        assert files.list("") == []
        assert kept


def test_a_merge_on_a_full_share_waits_for_room(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> None:
    engine = NativeEngine()
    with small_share(smbd, smb_pool, "ext4", 96 * MIB, tmp_path) as files:
        volumes = Volumes(files, engine)
        volumes.create(VOLUME, 256 * MIB)
        fill(engine, files, volumes.active(VOLUME), 0, 4 * MIB, 1)
        volumes.create_snapshot(VOLUME, A)
        fill(engine, files, volumes.active(VOLUME), 96 * MIB, 30 * MIB, 2)
        expected = content(engine, files, volumes.active(VOLUME))
        ballast = files.create("ballast")
        for number in range(37):
            ballast.write([(number * MIB, random.Random(number).randbytes(MIB))])
        ballast.close()
        with pytest.raises(OutOfSpace):
            volumes.delete_snapshot(VOLUME, A)
        assert content(engine, files, f"{VOLUME}.{A}.vhdx") == expected
        files.remove("ballast")
        volumes.delete_snapshot(VOLUME, A)
        assert content(engine, files, volumes.active(VOLUME)) == expected
        assert files.list("") == [f"{VOLUME}.vhdx", f"{VOLUME}.vhdx.info"]


@pytest.fixture
def chained(smb_files: SmbFileSystem) -> Callable[[], tuple[NativeEngine, Volumes]]:
    """A volume with a snapshot on a share."""

    def make() -> tuple[NativeEngine, Volumes]:
        engine = NativeEngine()
        volumes = Volumes(smb_files, engine)
        volumes.create(VOLUME, 64 * MIB)
        fill(engine, smb_files, volumes.active(VOLUME), 0, MIB, 1)
        volumes.create_snapshot(VOLUME, A)
        fill(engine, smb_files, volumes.active(VOLUME), 512, MIB, 2)
        return engine, volumes

    return make


def attempts(volumes: Volumes) -> list[Callable[[], None]]:
    return [
        lambda: volumes.create_snapshot(VOLUME, B),
        lambda: volumes.delete_snapshot(VOLUME, A),
        lambda: volumes.clone(COPY, VOLUME, 64 * MIB),
        lambda: volumes.extend(VOLUME, 128 * MIB),
    ]


def refused(volumes: Volumes, files: SmbFileSystem, kind: type[Error], words: str, directory: Path) -> None:
    """Each operation is refused with one clear error, and every file is as it was."""
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for attempt in attempts(volumes):
        with pytest.raises((kind, Refused), match=words) as raised:
            attempt()
        # A clone says in this way that no other share could make it either.
        assert isinstance(raised.value, kind) or isinstance(raised.value.__cause__, kind)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert not [name for name in files.list("") if name.endswith((".tmp", ".intent"))]


Chained = Callable[[], tuple[NativeEngine, Volumes]]


def test_a_parent_that_is_gone(smb_files: SmbFileSystem, share_directory: Path, chained: Chained) -> None:
    _, volumes = chained()
    (share_directory / f"{VOLUME}.vhdx").rename(share_directory / "elsewhere.vhdx")
    # Without its base there is no such volume any more; with another file in its place there is a wrong one.
    refused(volumes, smb_files, Error, VOLUME, share_directory)


def test_a_parent_that_has_changed(smb_files: SmbFileSystem, share_directory: Path, chained: Chained) -> None:
    engine, volumes = chained()
    fill(engine, smb_files, f"{VOLUME}.vhdx", 0, 512, 3)
    refused(volumes, smb_files, ParentMismatch, rf"{VOLUME}\.vhdx is not, or is no longer", share_directory)


def test_a_middle_layer_that_is_gone(smb_files: SmbFileSystem, share_directory: Path, chained: Chained) -> None:
    _, volumes = chained()
    volumes.create_snapshot(VOLUME, B)
    (share_directory / f"{VOLUME}.{A}.vhdx").unlink()
    refused(volumes, smb_files, ParentNotFound, rf"{A}\.vhdx does not exist", share_directory)


def test_a_truncated_file(smb_files: SmbFileSystem, share_directory: Path, chained: Chained) -> None:
    _, volumes = chained()
    path = share_directory / f"{VOLUME}.{A}.vhdx"
    with path.open("r+b") as file:
        file.truncate(2 * MIB + 5000)
    refused(volumes, smb_files, Error, rf"{A}\.vhdx", share_directory)


def test_a_file_in_use(smb_files: SmbFileSystem, share_directory: Path, chained: Chained) -> None:
    engine, volumes = chained()
    with closing(smb_files.open(f"{VOLUME}.{A}.vhdx", Access.WRITE)):
        refused(volumes, smb_files, InUse, rf"{A}\.vhdx", share_directory)
    assert engine.layers(smb_files, volumes.active(VOLUME))
