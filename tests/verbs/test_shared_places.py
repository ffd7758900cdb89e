"""Blocks that share places in their file: what they cost is bounded by the file and its table, and it is never silent.

The work is counted, never timed: bytes and pieces asked of the storage, extents handed out.
"""

import logging
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice

import pytest

from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.refusals import BadImage
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from tests.check import vhd_images
from tests.image import forge
from tests.image.forge import Forge
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Tally, WatchedFileSystem
from vhdx.check import check_storage
from vhdx.cli.content import differences
from vhdx.cli.looking.hash import sha256, sparse_sha256
from vhdx.cli.pictures.survey import survey
from vhdx.errors import Error, FormatError
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

KIB = 1 << 10
DISK = "disk.vhdx"


def vhd(blocks: int = 4096, size: int = 64 * KIB) -> MemoryFileSystem:
    """Every block of 64 KiB where the first is: a disk of 256 MiB in 82 KiB."""
    files = MemoryFileSystem()
    disk = blocks * size
    table_end = vhd_images.TABLE + -(-4 * blocks // 512) * 512
    head = bytearray(vhd_images.header(entries=blocks))
    struct.pack_into(">I", head, 32, size)
    end = vhd_images.footer(3, disk)
    table = struct.pack(">I", table_end // 512) * blocks
    body = end + vhd_images.sealed(bytes(head), 36) + table.ljust(table_end - vhd_images.TABLE, b"\xff")
    storage = files.create(DISK)
    storage.write([(0, body + b"\xff" * 512 + pattern(1, size) + end)])
    storage.close()
    return files


def vhd_child() -> MemoryFileSystem:
    """As `vhd`, over a parent, with every other sector in the child: a million extents."""
    files, engine = vhd(), forge.engine()
    parent = engine.info(files, DISK)
    engine.create(files, "base.vhd", parent.virtual_size, CreateOptions(format=ImageFormat.VHD))
    below = Forge(files, "base.vhd")
    image = Forge(files)
    vhd_images.change_footers(image, 60, b"\0\0\0\4")
    vhd_images.change_header(image, 40, below.read(below.size - 512 + 68, 16))
    vhd_images.change_header(image, 64, "base.vhd".encode("utf-16-be"))
    image.write(image.number_be(vhd_images.TABLE) * 512, b"\x55" * 16)
    return files


def vhdx(disk: int = 512 * MIB) -> MemoryFileSystem:
    """Every block where the first is."""
    files = MemoryFileSystem()
    image = forge.create(files, disk)
    with forge.disk(files, writable=1) as chain:
        chain.write(0, pattern(1, MIB))
    for index in range(1, disk // MIB):
        image.set_entry(index, image.entry(0))
    return files


def vhdx_child() -> MemoryFileSystem:
    """All blocks on one place, all sector bitmaps on one, every other sector there: hundreds of millions of extents."""
    files = MemoryFileSystem()
    forge.create(files, 256 << 30, "base.vhdx")
    forge.engine(50).create_child(files, DISK, "base.vhdx")
    with forge.disk(files, writable=1) as chain:
        for sector in range(0, 64, 2):
            chain.write(sector * 512, b"x" * 512)
    image = Forge(files)
    block, bits, ratio = image.entry(0), image.entry(2048), 2048
    assert block & 7 == 7
    image.write(bits >> 20 << 20, b"\x55" * MIB)
    row = struct.pack("<Q", block) * ratio + struct.pack("<Q", bits)
    image.write(image.bat, row * 64)
    return files


ENDLESS = {made.__name__: made for made in (vhd, vhd_child, vhdx, vhdx_child)}


def engine() -> NativeEngine:
    return NativeEngine(new_id=counting_ids(7000))


def opened(act: Callable[..., object]) -> Callable[[FileSystem], object]:
    """What a command does with the open disk."""

    def run(files: FileSystem) -> object:
        with engine().open_chain(files, DISK) as chain:
            chain.shared()
            return act(chain)

    return run


def load(files: FileSystem) -> None:
    kind = DiskFormat(engine().info(files, DISK).format.value)
    share = MemoryFileSystem()
    volumes = Volumes(share, engine(), counting_ids())
    volumes.create("volume-a", MIB, Shape(kind))
    volumes.load("volume-a", ForeignImage(files, DISK, ImageFormat(kind.value)), 256 << 30, Shape(kind))


def adopt(files: FileSystem) -> None:
    kind = DiskFormat(engine().info(files, DISK).format.value)
    Volumes(files, engine(), counting_ids()).adopt("volume-a", DISK, kind)


def check(files: FileSystem) -> None:
    with closing(files.open(DISK, Access.READ)) as storage:
        list(check_storage(storage, deep=True))


def convert(**options: object) -> Callable[[FileSystem], None]:
    def run(files: FileSystem) -> None:
        shape = CreateOptions(**options) if options else None  # type: ignore[arg-type]
        engine().convert(files, DISK, MemoryFileSystem(), "new", options=shape)

    return run


def merge(direction: Direction) -> Callable[[FileSystem], object]:
    def run(files: FileSystem) -> None:
        info = engine().info(files, DISK)
        if info.parent is None:
            engine().create_child(files, "leaf", DISK)
            engine().merge(files, "leaf", DISK, direction=direction)
        else:
            engine().merge(files, DISK, f"base.{info.format}", direction=direction)

    return run


WHOLE: dict[str, Callable[[FileSystem], object]] = {
    "hash": opened(lambda chain: sha256(chain, lambda *_: None)),
    "hash --sparse": opened(lambda chain: sparse_sha256(chain, lambda *_: None)),
    "map": opened(lambda chain: sum(1 for _ in chain.extents(0, chain.size))),
    "report": opened(lambda chain: survey(chain, [DISK] * len(chain.layers))),
    "compare": opened(lambda chain: sum(1 for _ in differences(chain, chain))),
    "convert": convert(),
    "convert to raw": convert(format=ImageFormat.RAW),
    "convert to a VHD": convert(format=ImageFormat.VHD),
    "compact": lambda files: engine().compact(files, DISK),
    "compact without a scan": lambda files: engine().compact(files, DISK, scan=False),
    "shrink": lambda files: engine().resize(files, DISK, MIB, shrink=Shrink.UNUSED, any_size=True),
    "merge down": merge(Direction.DOWN),
    "merge up": merge(Direction.UP),
    "load": load,
}


REFUSED_ANYHOW = {("vhd_child", "load"), ("vhdx_child", "load"), ("vhd_child", "shrink")}
"""A child is no volume, and a VHD has the size of its parent."""


@pytest.mark.parametrize(
    ("kind", "verb"), [(kind, verb) for kind in ENDLESS for verb in WHOLE if (kind, verb) not in REFUSED_ANYHOW]
)
def test_a_tiny_image_means_little_work(kind: str, verb: str) -> None:
    files = ENDLESS[kind]()
    before = {path: pages.fingerprint() for path, pages in files.snapshot().items()}
    size = sum(files.stat(path).size for path in files.paths())
    tally = Tally()
    with pytest.raises((FormatError, BadImage)) as refused:
        WHOLE[verb](WatchedFileSystem(files, tally))
    assert " entry 1" in str(refused.value)
    assert "block 0" in str(refused.value)
    fault = refused.value.__cause__ if isinstance(refused.value, BadImage) else refused.value
    assert isinstance(fault, FormatError)
    assert fault.offset
    assert tally.bytes["read"] <= 4 * size + 2 * MIB
    assert tally.pieces["read"] <= size // (64 * KIB) + 200
    assert tally.pieces["write"] + tally.pieces["zero"] <= 300, "only a leaf for the merge was made"
    assert {path: files.snapshot()[path].fingerprint() for path in before} == before


@pytest.mark.parametrize("act", [check, adopt], ids=["check --deep", "adopt"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_looking_for_what_is_wrong_is_little_work(kind: str, act: Callable[[FileSystem], None]) -> None:
    files = ENDLESS[kind]()
    size = sum(files.stat(path).size for path in files.paths())
    tally = Tally()
    with suppress(Error):
        act(WatchedFileSystem(files, tally))
    assert tally.bytes["read"] <= 6 * size + 2 * MIB
    assert not tally.bytes["write"]


@pytest.mark.parametrize("kind", ENDLESS)
def test_one_range_is_read_without_a_look_at_the_whole(kind: str) -> None:
    files, tally = ENDLESS[kind](), Tally()
    engine().info(WatchedFileSystem(files, tally), DISK)
    with engine().open_chain(WatchedFileSystem(files, tally), DISK) as chain:
        assert chain.read(chain.size - 4096, 4096)
        assert len(list(islice(chain.extents(0, chain.size), 20))) <= 20
    assert tally.bytes["read"] <= 3 * MIB


def twice(files: MemoryFileSystem) -> MemoryFileSystem:
    """Two blocks of a disk of many on one place."""
    image = Forge(files)
    image.set_entry(2, image.entry(1))
    return files


def some_vhdx() -> MemoryFileSystem:
    files = MemoryFileSystem()
    forge.create(files, 8 * MIB)
    with forge.disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 4 * MIB))
    return files


def some_vhd() -> MemoryFileSystem:
    return vhd_images.dynamic()


def vhd_twice(files: MemoryFileSystem) -> MemoryFileSystem:
    image = Forge(files)
    image.write(vhd_images.TABLE + 4, image.read(vhd_images.TABLE, 4))
    return files


SHARING = {
    "vhdx": (lambda: twice(some_vhdx()), "block 2", "block 1 (entry 1)"),
    "vhd": (lambda: vhd_twice(some_vhd()), "entry 1", "block 0"),
}


@pytest.mark.parametrize("kind", SHARING)
def test_where_the_work_has_a_bound_it_is_done_and_told(kind: str) -> None:
    made, one, other = SHARING[kind]
    files, told = made(), list[str]()
    engine().convert(files, DISK, files, "copy.vhdx", on_warning=told.append)
    assert len(told) == 1
    assert DISK in told[0]
    assert one in told[0]
    assert other in told[0]
    with engine().open_chain(files, DISK) as source, engine().open_chain(files, "copy.vhdx") as copy:
        assert [fault.offset for fault in source.shared()]
        assert copy.read(0, copy.size) == source.read(0, source.size)
        assert copy.shared() == []


@pytest.mark.parametrize("kind", SHARING)
def test_who_does_not_ask_to_be_told_finds_it_in_the_log(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    files = SHARING[kind][0]()
    with caplog.at_level(logging.WARNING, "vhdx"):
        engine().convert(files, DISK, files, "copy.vhdx")
    assert DISK in caplog.text


@pytest.mark.parametrize("act", [load, adopt, WHOLE["compact"], WHOLE["merge down"]])
@pytest.mark.parametrize("kind", SHARING)
def test_nothing_is_changed_over_it_or_made_a_volume_of_it(kind: str, act: Callable[[FileSystem], object]) -> None:
    files = SHARING[kind][0]()
    before = files.snapshot()[DISK].fingerprint()
    with pytest.raises(Error):
        act(files)
    assert files.snapshot()[DISK].fingerprint() == before


@pytest.mark.parametrize("start", [some_vhdx, some_vhd, vhd_images.differencing])
def test_a_sound_image_shares_nothing(start: Callable[[], MemoryFileSystem]) -> None:
    files = start()
    with closing(open_image(files.open(DISK, Access.READ), new_id=counting_ids())) as image:
        assert image.shared() is None


def test_a_file_that_was_cut_off_is_not_taken_for_one_that_shares() -> None:
    files = some_vhdx()
    Forge(files).truncate(5 * MIB)
    with engine().open_chain(files, DISK) as chain:
        assert chain.shared() == []


def test_the_table_of_a_huge_disk_costs_what_is_allocated() -> None:
    files, tally = MemoryFileSystem(), Tally()
    forge.create(files, 64 << 40)
    storage = files.open(DISK, Access.WRITE)
    storage.zero([(Forge(files).bat, 512 * MIB)])
    storage.close()
    with forge.disk(files, writable=1) as chain:
        chain.write(63 << 40, pattern(1, MIB))
    with engine().open_chain(WatchedFileSystem(files, tally), DISK) as chain:
        tally.clear()
        assert chain.shared() == []
    assert tally.bytes["read"] <= 4 * MIB
