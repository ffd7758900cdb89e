"""Thick stays thick: what a fixed image gains has its space, wherever it lies; without space nothing changes."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.image.full import FullFileSystem
from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.mounts import CannotMountError, mounted
from tests.support.wrappers import Operation, WatchedFileSystem
from vhdx.errors import OutOfSpace
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access, FileSystem, Unsupported
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import SmbFileSystem
from vhdx.storage.transfer import pread, pwrite
from vhdx.verbs.engine import NativeEngine

ENGINE = NativeEngine()
FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]
OLD, NEW = 3 * MIB + 512, 9 * MIB


def fixed(files: FileSystem, format: ImageFormat) -> bytes:
    """A fixed image full of data; returns that."""
    ENGINE.create(files, "disk", OLD, CreateOptions(format=format, fixed=True, block_size=2 * MIB))
    with ENGINE.open_chain(files, "disk", writable=1) as chain:
        chain.write(0, pattern(1, OLD))
    return pattern(1, OLD)


def bytes_of(files: FileSystem) -> bytes:
    with closing(files.open("disk", Access.READ)) as storage:
        return pread(storage, 0, storage.size())


def grows_thick(files: FileSystem, format: ImageFormat) -> None:
    content = fixed(files, format)
    ENGINE.resize(files, "disk", NEW)
    with ENGINE.open_chain(files, "disk") as chain:
        assert chain.read(0, NEW) == content.ljust(NEW, b"\0")
    found = files.stat("disk")
    assert found.allocated >= NEW


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("optional", [False, True], ids=["writing zeros", "reserving"])
def test_growing_allocates(format: ImageFormat, optional: bool) -> None:
    grows_thick(MemoryFileSystem(optional=optional), format)


@pytest.mark.parametrize("format", FORMATS)
def test_growing_allocates_on_this_machine(format: ImageFormat, tmp_path: Path) -> None:
    grows_thick(LocalFileSystem(tmp_path), format)


@pytest.mark.smb
@pytest.mark.parametrize("format", FORMATS)
def test_growing_allocates_on_a_share(format: ImageFormat, smb_files: SmbFileSystem) -> None:
    grows_thick(smb_files, format)


def cannot_reserve(operation: Operation) -> None:
    if operation.kind == "reserve":
        raise Unsupported("as a share")


@pytest.mark.parametrize("reserves", [False, True], ids=["writing zeros", "reserving"])
def test_without_space_a_vhd_is_what_it_was(reserves: bool) -> None:
    """Wherever the space runs out; and with a little more of it, it grows."""
    inner = MemoryFileSystem()
    fixed(inner, ImageFormat.VHD)
    before, needed = bytes_of(inner), NEW - OLD

    def with_room(room: int) -> FileSystem:
        full = FullFileSystem(MemoryFileSystem(inner.snapshot()), room=room)
        return full if reserves else WatchedFileSystem(full, cannot_reserve)

    for room in (0, 4096, 8 * 4096, needed // 2, needed - 8192):
        files = with_room(room)
        with pytest.raises(OutOfSpace, match="disk"):
            ENGINE.resize(files, "disk", NEW)
        assert bytes_of(files) == before
    ENGINE.resize(with_room(needed + 8192), "disk", NEW)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_system_without_space(tmp_path: Path, format: ImageFormat) -> None:
    try:
        with mounted("ext4", 24 * MIB, tmp_path) as point:
            files = LocalFileSystem(point)
            content = fixed(files, format)
            before = bytes_of(files)
            with pytest.raises(OutOfSpace, match="disk"):
                ENGINE.resize(files, "disk", 64 * MIB)
            assert format is ImageFormat.VHDX or bytes_of(files) == before
            with ENGINE.open_chain(files, "disk") as chain:
                assert chain.read(0, chain.size) == content
            ENGINE.resize(files, "disk", NEW)
            with ENGINE.open_chain(files, "disk") as chain:
                assert chain.read(0, NEW) == content.ljust(NEW, b"\0")
    except CannotMountError as error:
        pytest.skip(f"no file system of its own: {error}")


@pytest.mark.parametrize("format", FORMATS)
def test_a_merge_that_grows_allocates_and_says_so_before(format: ImageFormat) -> None:
    files = MemoryFileSystem()
    content = fixed(files, format)
    ENGINE.create_child(files, "child", "disk", size=NEW, any_size=True)
    assert ENGINE.plan_merge(files, "child", "disk").needed >= NEW - OLD
    ENGINE.merge(files, "child", "disk", remove=True)
    with ENGINE.open_chain(files, "disk") as chain:
        assert chain.read(0, chain.size) == content.ljust(NEW, b"\0")
    assert files.stat("disk").allocated >= NEW


@pytest.mark.parametrize("behind", [512, 5000, 3 * MIB, 9 * MIB])
def test_what_lay_behind_the_disk_does_not_show(behind: int) -> None:
    """In a file that is longer than its disk and its footer."""
    files = MemoryFileSystem()
    content = fixed(files, ImageFormat.VHD)
    with closing(files.open("disk", Access.WRITE)) as storage:
        end = pread(storage, OLD, 512)
        pwrite(storage, OLD, pattern(2, behind) + end)
    ENGINE.resize(files, "disk", NEW)
    with ENGINE.open_chain(files, "disk") as chain:
        assert chain.read(0, NEW) == content.ljust(NEW, b"\0")
    assert files.stat("disk").size == NEW + 512
