"""Data that no disk would show afterwards is given up only when that was asked for; what is given up is gone.

The laws: a merge of layers of different sizes cuts off only what it was told it may; and behind the end of a disk that
was made smaller a file holds neither bytes nor bits that another program could bring back.
"""

import hashlib
import json
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from smbfs_driver.volumes.journal import Recovery
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import Volumes
from tests.cli.running import Programs
from tests.driver.kits import VOLUME, A
from tests.support.disks import MIB, Disk, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.check import Severity
from vhdx.errors import WouldLoseData
from vhdx.format import vhd_footer
from vhdx.format.metadata import VIRTUAL_DISK_SIZE
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.open import open_image
from vhdx.image.vhdx.open import open_vhdx
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pread, pwrite
from vhdx.verbs.engine import Direction, NativeEngine
from vhdx.verbs.shrink import Shrink

ENGINE = NativeEngine()
FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]
KIB = 1 << 10


def stored(files: MemoryFileSystem) -> dict[str, int]:
    return {path: files.fingerprint(path) for path in files.paths()}


def content(files: FileSystem, path: str) -> bytes:
    with ENGINE.open_chain(files, path) as chain:
        return chain.read(0, chain.size)


# --- Merging ---------------------------------------------------------------------------------------------------------


def uneven(format: ImageFormat, seed: int) -> Disk:
    """A chain of three layers whose sizes differ, with data at some of their ends."""
    chance = random.Random(seed)
    options = CreateOptions(format=format, block_size=MIB if format is ImageFormat.VHDX else 256 * KIB)
    disk = Disk.shaped(MemoryFileSystem(), chance.randrange(1, 24) * 128 * KIB, options)
    for layer in range(3):
        if layer:
            disk.snapshot(size=chance.randrange(1, 24) * 128 * KIB)
        if chance.random() < 0.7:
            length = min(chance.choice([512, 75 * KIB, 256 * KIB]) // 512 * 512, disk.size)
            disk.write(disk.size - length, chance.choice([pattern(seed + layer, length), bytes(length)]))
        disk.close()
    return disk


def held_behind(disk: Disk, size: int, layers: range) -> bool:
    """Whether one of the layers holds something itself behind *size*, by the slow way."""
    for number in layers:
        with closing(open_image(disk.files.open(disk.paths[number], Access.READ), new_id=ENGINE.new_id)) as image:
            for extent in image.extents(0, image.virtual_size):
                if extent.file_offset is not None and extent.end > size:
                    skipped = max(size - extent.offset, 0)
                    if pread(image.storage, extent.file_offset + skipped, extent.length - skipped).strip(b"\0"):
                        return True
    return False


@pytest.mark.parametrize("seeds", [range(16), pytest.param(range(16, 80), marks=pytest.mark.more)], ids=["few", "many"])
@pytest.mark.parametrize("direction", [Direction.DOWN, Direction.UP])
@pytest.mark.parametrize("format", FORMATS)
def test_a_merge_cuts_off_what_it_was_told_it_may(format: ImageFormat, direction: Direction, seeds: range) -> None:
    seen = set()
    for seed in seeds:
        disk = uneven(format, seed)
        files, top, target = disk.files, disk.paths[0], disk.paths[2]
        assert isinstance(files, MemoryFileSystem)
        size = len(disk.contents[0])
        cut = max(max(map(len, disk.contents[1:])) - size, 0)
        lost = held_behind(disk, size, range(1, 3))
        plan = ENGINE.plan_merge(files, top, target, direction=direction)
        assert (plan.cut, bool(plan.lost)) == (cut, lost)
        before = stored(files)
        for shrink in Shrink:
            refused = shrink is not Shrink.FORCE and (lost or (shrink is Shrink.REFUSE and cut > 0))
            seen.add((shrink, refused))
            if refused:
                with pytest.raises(WouldLoseData, match="smaller"):
                    ENGINE.merge(files, top, target, direction=direction, shrink=shrink, remove=True)
                assert stored(files) == before
                continue
            result = ENGINE.merge(files, top, target, direction=direction, shrink=shrink, remove=True)
            assert content(files, result) == bytes(disk.contents[0])
            break
    assert seen >= {(Shrink.REFUSE, True), (Shrink.REFUSE, False), (Shrink.UNUSED, True), (Shrink.UNUSED, False)}


def test_merging_up_without_removing_loses_nothing_and_is_not_refused() -> None:
    files = MemoryFileSystem()
    ENGINE.create(files, "base.vhdx", 4 * MIB)
    with ENGINE.open_chain(files, "base.vhdx", writable=1) as chain:
        chain.write(3 * MIB, pattern(1, MIB))
    ENGINE.create_child(files, "top.vhdx", "base.vhdx", size=2 * MIB)
    ENGINE.merge(files, "top.vhdx", "base.vhdx", direction=Direction.UP)
    assert content(files, "base.vhdx")[3 * MIB :] == pattern(1, MIB)


def test_the_command_asks_before_it_cuts_and_does_what_it_says(tmp_path: Path) -> None:
    files, programs = LocalFileSystem(tmp_path), Programs(tmp_path)
    ENGINE.create(files, "base.vhdx", 8 * MIB, CreateOptions(block_size=MIB))
    with ENGINE.open_chain(files, "base.vhdx", writable=1) as chain:
        chain.write(7 * MIB, pattern(1, 512))
    ENGINE.create_child(files, "top.vhdx", "base.vhdx", size=4 * MIB)
    assert "chain-child-smaller" in programs.inspect("check", "top.vhdx", "--chain", "--json", code=(0, 3)).out
    for options in ([], ["--dry-run"], ["--shrink"], ["--shrink", "--dry-run"], ["--json", "--dry-run"]):
        before = (tmp_path / "base.vhdx").read_bytes()
        said = programs.img("merge", "top.vhdx", *options, code=4)
        assert "--shrink --force" in said.err
        assert "1 MiB of data" in said.out or "--dry-run" not in options or '"lost": 1048576' in said.out
        assert (tmp_path / "base.vhdx").read_bytes() == before
    programs.img("merge", "top.vhdx", "--force", code=64)
    programs.img("merge", "top.vhdx", "--shrink", "--force", "--dry-run")
    programs.img("merge", "top.vhdx", "--shrink", "--force")
    assert programs.inspect("info", "base.vhdx", "--json").json["virtual_size"] == 4 * MIB


@pytest.mark.parametrize("format", DiskFormat)
def test_a_snapshot_that_is_larger_than_its_volume_is_kept_while_it_holds_data_there(format: DiskFormat) -> None:
    files = MemoryFileSystem()
    volumes, names = Volumes(files, ENGINE), VolumeNames(VOLUME, format)
    volumes.create(VOLUME, 4 * MIB, Shape(format, False))
    with ENGINE.open_chain(files, names.base, writable=1) as chain:
        chain.write(3 * MIB, pattern(1, MIB))
    volumes.create_snapshot(VOLUME, A)
    ENGINE.resize(files, names.snapshot(A), 2 * MIB, shrink=Shrink.FORCE, any_size=True)
    before = stored(files)
    with pytest.raises(WouldLoseData):
        volumes.delete_snapshot(VOLUME, A)
    assert stored(files) == before
    with ENGINE.open_chain(files, names.base, writable=1, orphan=True) as chain:
        chain.write(3 * MIB, bytes(MIB))
    if format is DiskFormat.VHDX:
        ENGINE.relink(files, names.snapshot(A), names.base, merged=True)
    volumes.delete_snapshot(VOLUME, A)
    assert content(files, names.base) == bytes(2 * MIB)


@pytest.mark.parametrize("consent", [{}, {"shrink": "force"}, {"shrink": "unused"}])
def test_a_merge_that_was_stopped_goes_on_with_the_consent_that_lies_on_the_share(consent: dict[str, str]) -> None:
    """One without a word of it was begun by a driver that cut off whatever was there."""
    files = MemoryFileSystem()
    volumes, names = Volumes(files, ENGINE), VolumeNames(VOLUME)
    volumes.create(VOLUME, 4 * MIB)
    with ENGINE.open_chain(files, names.base, writable=1) as chain:
        chain.write(3 * MIB, bytes(MIB) if consent == {"shrink": "unused"} else pattern(1, MIB))
    volumes.create_snapshot(VOLUME, A)
    file = names.snapshot(A)
    ENGINE.resize(files, file, 2 * MIB, shrink=Shrink.FORCE, any_size=True)
    steps: list[dict[str, object]] = [
        {"step": "merge", "top": file, "target": names.base, **consent},
        {"step": "write_info", "document": {"active": names.base}},
        {"step": "discard", "path": file},
    ]
    text = json.dumps({"version": 1, "steps": steps}).encode()
    with closing(files.create(names.intent)) as intent:
        pwrite(intent, 0, text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n")
    assert volumes.recover() == Recovery(settled=[VOLUME])
    assert content(files, names.base) == bytes(2 * MIB)
    assert files.list("") == [names.base, names.info]


# --- Behind the end --------------------------------------------------------------------------------------------------


def grown_by_another(files: FileSystem, path: str, size: int) -> None:
    """Give a disk another size as a program does that clears nothing."""
    with closing(files.open(path, Access.WRITE)) as storage:
        end = storage.size() - 512
        if pread(storage, end, 8) == b"conectix":
            found = vhd_footer.parse(pread(storage, end, 512), end).footer
            footer = vhd_footer.build(replace(found, current_size=size))
            storage.write([(0, footer), (end, footer)])
            return
    image = open_vhdx(files.open(path, Access.WRITE), new_id=ENGINE.new_id)
    entry = image._blocks._file.item(VIRTUAL_DISK_SIZE)
    assert entry is not None
    image.storage.write([(image._blocks._file.metadata_region.offset + entry.offset, size.to_bytes(8, "little"))])
    image.abandon()


def by_resize(disk: Disk, size: int) -> None:
    ENGINE.resize(disk.files, disk.paths[0], size, shrink=Shrink.FORCE, any_size=True)


def by_resize_of_what_is_unused(disk: Disk, size: int) -> None:
    """Zeros that were written over something leave bits, too."""
    with ENGINE.open_chain(disk.files, disk.paths[0], writable=1) as chain:
        chain.write(size, bytes(chain.size - size))
    ENGINE.resize(disk.files, disk.paths[0], size, shrink=Shrink.UNUSED, any_size=True)


def by_merge(disk: Disk, size: int) -> None:
    """A smaller child, merged into the image."""
    ENGINE.create_child(disk.files, "small", disk.paths[0], size=size, any_size=True)
    ENGINE.merge(disk.files, "small", disk.paths[0], shrink=Shrink.FORCE, remove=True)


WAYS = [by_resize, by_resize_of_what_is_unused, by_merge]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("based", [False, True], ids=["alone", "over a parent"])
@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_left_behind_the_end_of_a_smaller_disk(
    format: ImageFormat, based: bool, way: Callable[[Disk, int], None]
) -> None:
    """Within the last block, and in the blocks behind it, whoever makes the disk larger again finds zeros."""
    for size in (5 * MIB + 512, 4 * MIB + 300 * KIB, 4 * MIB, 2 * MIB + 4096):
        files = MemoryFileSystem()
        disk = Disk.shaped(files, 12 * MIB, CreateOptions(format=format, block_size=2 * MIB))
        if based:
            disk.snapshot()
        disk.write(MIB + 512, pattern(1, 6 * MIB + 512))
        disk.write(10 * MIB, pattern(2, 2 * MIB))
        kept = bytes(disk.contents[0][:size])
        disk.close()
        path = disk.paths[0]
        way(disk, size)
        assert content(files, path) == kept
        worse = [one for one in ENGINE.check(files, path, chain=False) if one.severity is not Severity.INFO]
        assert not worse, worse
        grown_by_another(files, path, -(-size // (2 * MIB)) * 2 * MIB)
        grown = content(files, path)
        assert grown[:size] == kept
        assert not grown[size:].strip(b"\0")


@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_grows_again_shows_zeros(format: ImageFormat) -> None:
    """Also one that another program made smaller, clearing nothing."""
    files = MemoryFileSystem()
    disk = Disk.shaped(files, 4 * MIB, CreateOptions(format=format, block_size=2 * MIB))
    disk.snapshot()
    disk.write(0, pattern(1, 4 * MIB))
    disk.close()
    grown_by_another(files, disk.paths[0], 3 * MIB)
    ENGINE.resize(files, disk.paths[0], 8 * MIB, any_size=True)
    assert content(files, disk.paths[0]) == pattern(1, 3 * MIB) + bytes(5 * MIB)


def test_a_fixed_disk_keeps_its_space_where_it_was_cut(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    ENGINE.create(files, "a.vhdx", 8 * MIB, CreateOptions(fixed=True, block_size=4 * MIB))
    ENGINE.resize(files, "a.vhdx", 5 * MIB, shrink=Shrink.UNUSED)
    status = files.stat("a.vhdx")
    assert status.allocated >= status.size - 3 * MIB  # structures have holes
    before = status.allocated
    ENGINE.resize(files, "a.vhdx", 8 * MIB)
    assert files.stat("a.vhdx").allocated >= before


# --- Free space at the end of a file ---------------------------------------------------------------------------------


def test_replaying_cuts_off_what_the_log_had_freed() -> None:
    files = MemoryFileSystem()
    ENGINE.create(files, "a.vhdx", 8 * MIB, CreateOptions(block_size=MIB))
    image = open_vhdx(files.open("a.vhdx", Access.WRITE), new_id=ENGINE.new_id)
    chain = Chain([Layer("a.vhdx", image)])
    chain.write(0, pattern(1, 8 * MIB))
    chain.flush()
    end = image.storage.size()
    chain.discard(4 * MIB, 4 * MIB)
    chain.flush()
    image.abandon()  # the last blocks were given up by a commit, and nobody has cut the file
    assert ENGINE.replay(files, "a.vhdx")
    assert files.stat("a.vhdx").size == end - 4 * MIB
    assert content(files, "a.vhdx") == pattern(1, 4 * MIB) + bytes(4 * MIB)


def test_closing_leaves_the_length_of_a_file_that_was_not_changed() -> None:
    files = MemoryFileSystem()
    for name in ("a.vhdx", "a.vhd"):
        ENGINE.create(files, name, 8 * MIB, CreateOptions(format=ImageFormat(name[2:])))
    with closing(files.open("a.vhdx", Access.WRITE)) as storage:
        storage.truncate(storage.size() + 5 * MIB)
    before = stored(files)
    for name in ("a.vhdx", "a.vhd"):
        with ENGINE.open_chain(files, name, writable=1) as chain:
            chain.read(0, 512)
        with ENGINE.open_chain(files, name, writable=1) as chain:
            chain.flush()
    assert stored(files) == before

