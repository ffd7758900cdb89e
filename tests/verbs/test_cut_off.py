"""What a table promises and the file does not have is an error, never zeros.

The law: whatever verb reads a disk, either it comes to what `Chain.read` says of every byte, or it fails as that does,
and then leaves nothing behind.
"""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from tests.cli.running import Programs
from tests.driver.kits import OTHER, VOLUME, A
from tests.support.disks import MIB, Disk, pattern
from tests.support.kinds import KINDS, Kind, random_disk
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.errors import Error, FormatError
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.raw import open_raw
from vhdx.storage import transfer
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.overlay import OverlayStorage
from vhdx.verbs.engine import NativeEngine

ENGINE = NativeEngine()
TARGETS = [
    CreateOptions(block_size=MIB),
    CreateOptions(fixed=True, block_size=MIB),
    CreateOptions(format=ImageFormat.VHD),
    CreateOptions(format=ImageFormat.VHD, azure=True),
    CreateOptions(format=ImageFormat.RAW),
]
SEEDS = range(4)


def cut(files: FileSystem, path: str, size: int) -> None:
    with closing(files.open(path, Access.WRITE)) as storage:
        storage.truncate(size)


def cuts(files: FileSystem, disk: Disk, chance: random.Random) -> Iterator[tuple[str, int]]:
    """Places to cut the files of a disk at: ends of blocks, and anywhere."""
    for path in disk.paths:
        size = files.stat(path).size
        for end in (size - MIB, size - 3 * MIB, size - 700, chance.randrange(1, size)):
            if end > 0:
                yield path, end


def again(whole: dict[str, Pages], *, optional: bool) -> MemoryFileSystem:
    return MemoryFileSystem({path: pages.copy() for path, pages in whole.items()}, optional=optional)


def read(files: FileSystem, path: str, format: ImageFormat) -> bytes | Error:
    try:
        with ENGINE.open_chain(files, path, format=format) as chain:
            return b"".join(chain.read(at, min(MIB, chain.size - at)) for at in range(0, chain.size, MIB))
    except Error as error:
        return error


def agree(content: bytes | Error, expected: bytes | Error) -> None:
    """The two are one outcome; only zeros may follow the disk in a copy."""
    if isinstance(expected, Error):
        assert isinstance(content, Error), "read fails, and the copy is there"
        assert isinstance(content, FormatError) == isinstance(expected, FormatError), (content, expected)
    else:
        assert isinstance(content, bytes), content
        assert content[: len(expected)] == expected
        assert not content[len(expected) :].strip(b"\0")


def copied(files: FileSystem, path: str, format: ImageFormat, options: CreateOptions) -> bytes | Error:
    before = files.list("")
    try:
        ENGINE.convert(files, path, files, "copy", source_format=format, options=options)
    except Error as error:
        assert files.list("") == before
        return error
    content = read(files, "copy", options.format)
    files.remove("copy")
    return content


@pytest.mark.parametrize("optional", [True, False], ids=["holes", "no holes"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_copy_of_what_was_cut_off_reads_as_that_does_or_is_not_made(kind: Kind, optional: bool) -> None:
    failures = 0
    for seed in SEEDS:
        chance = random.Random(seed)
        files = MemoryFileSystem(optional=optional)
        disk = random_disk(files, kind, seed)
        sector = ENGINE.info(files, disk.paths[0]).logical_sector_size
        whole = files.snapshot()
        for path, size in cuts(files, disk, chance):
            files = again(whole, optional=optional)
            cut(files, path, size)
            expected = read(files, disk.paths[0], kind.format)
            assert isinstance(expected, Error) or expected == disk.contents[0]
            failures += isinstance(expected, Error)
            options = chance.choice(TARGETS if sector == 512 else TARGETS[:2])
            agree(copied(files, disk.paths[0], kind.format, options), expected)
    assert failures > 3, "the cuts have hurt nothing"


@pytest.mark.parametrize("kind", [KINDS["vhdx-differencing"], KINDS["vhd-differencing"]], ids=["vhdx", "vhd"])
def test_a_merge_of_what_was_cut_off_is_refused_before_anything_changes(kind: Kind) -> None:
    """And its plan, which is what ``--dry-run`` prints, is refused with it."""
    refused = 0
    for seed in SEEDS:
        files = MemoryFileSystem()
        disk = random_disk(files, kind, seed)
        if len(disk.paths) < 2:
            disk.snapshot()
            disk.write(0, pattern(seed, MIB))
            disk.close()
        whole = files.snapshot()
        for path, size in cuts(files, disk, random.Random(seed)):
            files = again(whole, optional=True)
            cut(files, path, size)
            before = {name: files.fingerprint(name) for name in files.paths()}
            top, target = disk.paths[0], disk.paths[-1]
            try:
                ENGINE.plan_merge(files, top, target)
            except Error:
                refused += 1
                with pytest.raises(Error):
                    ENGINE.merge(files, top, target)
                assert {name: files.fingerprint(name) for name in files.paths()} == before
            else:
                ENGINE.merge(files, top, target)
                assert read(files, target, kind.format) == bytes(disk.contents[0])
    assert refused > 3


def damaged(files: FileSystem) -> None:
    """8 MiB at 16 MiB of a disk of 64 MiB, in a file that then loses its last 3 MiB."""
    ENGINE.create(files, "a.vhdx", 64 * MIB, CreateOptions(block_size=MIB))
    with ENGINE.open_chain(files, "a.vhdx", writable=1) as chain:
        chain.write(16 * MIB, pattern(1, 8 * MIB))
    cut(files, "a.vhdx", files.stat("a.vhdx").size - 3 * MIB)


def test_a_share_has_no_zeros_for_what_is_not_there(smb_files: FileSystem) -> None:
    damaged(smb_files)
    for options in TARGETS:
        assert isinstance(copied(smb_files, "a.vhdx", ImageFormat.VHDX, options), FormatError)
    ENGINE.create_child(smb_files, "b.vhdx", "a.vhdx")
    assert isinstance(copied(smb_files, "b.vhdx", ImageFormat.VHDX, TARGETS[0]), FormatError)
    with ENGINE.open_chain(smb_files, "b.vhdx", writable=1) as chain:
        chain.write(16 * MIB, pattern(2, 8 * MIB))
    content = copied(smb_files, "b.vhdx", ImageFormat.VHDX, TARGETS[0])  # nothing is wanted of what is lost
    assert isinstance(content, bytes)
    assert content[16 * MIB : 24 * MIB] == pattern(2, 8 * MIB)


def test_every_command_that_reads_a_disk_says_that_a_part_is_gone(tmp_path: Path) -> None:
    damaged(LocalFileSystem(tmp_path))
    programs = Programs(tmp_path)
    said = programs.inspect("read", "a.vhdx", "16M", "8M", code=2).err
    assert "a.vhdx" in said
    programs.inspect("read", "a.vhdx", "16M", "5M")  # this part is there
    for command in (["map"], ["map", "--json"], ["hash"], ["compare", "a.vhdx"]):
        programs.inspect(command[0], "a.vhdx", *command[1:], code=(2, 3))
    for target in ("b.vhdx", "b.vhd", "b.raw"):
        assert "the file ends at" in programs.refused("convert", "a.vhdx", target, code=2)
    assert "the file ends at" in programs.refused("convert", "a.vhdx", "azure.vhd", "--azure", code=2)
    programs.img("create", "c.vhdx", "-b", "a.vhdx")
    programs.img("write", "c.vhdx", "0", stdin=b"x" * 512)
    assert "a.vhdx" in programs.refused("merge", "c.vhdx", "--dry-run", code=2)
    assert "a.vhdx" in programs.refused("merge", "c.vhdx", code=2)


def test_an_entry_far_behind_the_end_is_an_error(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    ENGINE.create(files, "a.vhdx", 8 * MIB, CreateOptions(block_size=MIB))
    with ENGINE.open_chain(files, "a.vhdx", writable=1) as chain:
        chain.write(0, b"x" * 512)
    content = bytearray((tmp_path / "a.vhdx").read_bytes())
    entry = content.index((6 | 4 * MIB).to_bytes(8, "little"), 2 * MIB)
    content[entry : entry + 8] = (6 | 5 << 30).to_bytes(8, "little")
    (tmp_path / "a.vhdx").write_bytes(content)
    with pytest.raises(FormatError, match=r"BAT entry at offset .*the file ends at"):
        ENGINE.convert(files, "a.vhdx", files, "b.vhdx")
    assert files.list("") == ["a.vhdx"]


@pytest.mark.parametrize("format", [DiskFormat.VHDX, DiskFormat.VHD])
def test_the_driver_makes_no_volume_of_what_is_not_there(format: DiskFormat) -> None:
    files = MemoryFileSystem()
    volumes, shape = Volumes(files, ENGINE), Shape(format, False)
    volumes.create(VOLUME, 64 * MIB, shape)
    base = f"{VOLUME}.{format.value}"
    with ENGINE.open_chain(files, base, writable=1) as chain:
        chain.write(8 * MIB, pattern(1, 16 * MIB))
    volumes.create_snapshot(VOLUME, A)
    cut(files, base, files.stat(base).size - 7 * MIB)
    before = files.list("")
    with pytest.raises(Error):
        volumes.clone(OTHER, VOLUME, size=64 * MIB, target=volumes, shape=shape)
    with pytest.raises(Error):
        volumes.create_from_snapshot(OTHER, VOLUME, A, 64 * MIB, target=volumes, shape=shape)
    with pytest.raises(Error):
        volumes.export(VOLUME, files, "export", CreateOptions(format=ImageFormat.RAW))
    assert files.list("") == before
    volumes.create(OTHER, 64 * MIB, shape)
    with pytest.raises(Error):
        volumes.load(OTHER, ForeignImage(files, base, ImageFormat(format.value)), 64 * MIB, shape)
    assert read(files, f"{OTHER}.{format.value}", ImageFormat(format.value)) == bytes(64 * MIB)


@pytest.mark.parametrize("optional", [True, False], ids=["holes", "no holes"])
def test_a_file_that_is_cut_while_it_is_open_has_no_holes_at_its_end(optional: bool) -> None:
    """Whoever keeps to no lock may do that at any time."""
    files = MemoryFileSystem(optional=optional)
    with closing(files.create("raw")) as storage:
        storage.write([(0, pattern(1, 2 * MIB))])
        storage.flush()
        image = open_raw(files.open("raw", Access.INSPECT))
        storage.truncate(MIB)
        with pytest.raises(FormatError):
            list(image.extents(0, 2 * MIB))
        with pytest.raises(FormatError):
            list(transfer.allocated(storage, MIB - 1, 2))
        assert sum(found.length for found in transfer.allocated(storage, 0, MIB)) == MIB
        overlay = OverlayStorage(files.open("raw", Access.INSPECT), [], size=2 * MIB)
        assert sum(found.length for found in transfer.allocated(overlay, 0, 2 * MIB)) == MIB
        with pytest.raises(FormatError):
            list(transfer.allocated(overlay, 0, 2 * MIB + 1))
