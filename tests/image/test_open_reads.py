"""How little of a file is read to open it, and that nothing of it is changed before the caller has agreed."""

import gzip
import random
import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.format import raw
from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import REGION_TABLES, Forge
from tests.image.test_replay import dirty
from tests.interop import golden
from tests.support.disks import Disk, counting_ids, pattern
from tests.support.kinds import KINDS, Kind, random_disk
from tests.support.memory import MemoryFileSystem, MemoryStorage
from tests.support.wrappers import Tally, WatchedFileSystem
from vhdx.errors import Error, FormatError
from vhdx.format.metadata import DISK_ID, FILE_PARAMETERS, LOGICAL_SECTOR_SIZE, PHYSICAL_SECTOR_SIZE, VIRTUAL_DISK_SIZE
from vhdx.image.base import CreateOptions, ImageFormat, ImageInfo, LogState, ParentLink
from vhdx.image.create import create_image
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
KIB = 1 << 10
TABLE = 64 * KIB
USER = 1
GOLDEN = sorted(
    path.name
    for path in golden.DIRECTORY.glob("*.vhd*")
    if path.suffix in (".gz", ".bz2") and "log" not in path.name
)


class Refused(Exception):
    """The caller does not want the image."""


def refuse(_: ImageInfo) -> None:
    raise Refused


def put(files: MemoryFileSystem, path: str, data: bytes) -> None:
    storage = files.create(path)
    storage.write([(0, data)])
    storage.close()


def opened(
    files: FileSystem, path: str, format: ImageFormat | None, *, access: Access = Access.READ
) -> tuple[ImageInfo, Tally]:
    """What the image says of itself, and what opening it took."""
    tally = Tally()
    storage = WatchedFileSystem(files, tally).open(path, access)
    tally.clear()
    image = open_image(storage, new_id=counting_ids(), format=format)
    cost = Tally(tally.calls.copy(), tally.pieces.copy(), tally.bytes.copy())
    info = image.info
    image.close()
    return info, cost


def cost(tally: Tally) -> tuple[int, int]:
    """Reads, and the calls that they were made in."""
    return tally.pieces["read"], tally.calls["read"]


def check_cheap(files: FileSystem, path: str, format: ImageFormat, access: Access = Access.READ) -> None:
    told, tally = opened(files, path, format, access=access)
    reads, calls = cost(tally)
    assert (reads <= 6, calls <= 3, tally.bytes["read"] <= 80 * KIB) == (True, True, True), tally
    assert tally.calls["size"] == 1
    met, tally = opened(files, path, None, access=access)
    reads, calls = cost(tally)
    assert (reads <= 7, calls <= 4, tally.calls["size"]) == (True, True, 1), tally
    assert met == told


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind(kind: Kind) -> None:
    files = MemoryFileSystem()
    disk = random_disk(files, kind, 5)
    for path in disk.paths:
        check_cheap(files, path, kind.format)
    check_cheap(files, disk.paths[0], kind.format, Access.WRITE)


@pytest.mark.parametrize("name", ["qemu-dynamic", "qemu-fixed", "base", "middle"])
def test_files_of_others(name: str) -> None:
    files = MemoryFileSystem()
    put(files, "disk.vhdx", gzip.decompress((FIXTURES / f"{name}.vhdx.gz").read_bytes()))
    check_cheap(files, "disk.vhdx", ImageFormat.VHDX)


def said_format(name: str) -> ImageFormat:
    return ImageFormat.VHDX if ".vhdx" in name else ImageFormat.VHD


@pytest.mark.skipif(not GOLDEN, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_images(name: str, tmp_path: Path) -> None:
    """Those with a log in use, which is read as well, are left to the tests of logs."""
    path = str(tmp_path / golden.unpack(name, tmp_path))
    check_cheap(LocalFileSystem(), path, said_format(name))


@pytest.mark.parametrize("format", [ImageFormat.VHDX, ImageFormat.VHD], ids=str)
@pytest.mark.parametrize("length", [1, 255, 900, 1000])
def test_long_paths_of_a_parent(format: ImageFormat, length: int) -> None:
    """What of a VHDX lies behind the first 4 KiB of items is read besides, in one piece."""
    files = MemoryFileSystem()
    path = f"{'d' * length}\\base.{format}"
    keys = ["relative_path", "absolute_win32_path"]
    parent = ParentLink(UUID(int=1), paths=dict.fromkeys(keys, path))
    options = CreateOptions(format=format)
    new_id = counting_ids()
    storage = files.create("disk")
    create_image(storage, size=4 * MIB, disk_id=new_id(), new_id=new_id, options=options, parent=parent).close()
    told, tally = opened(files, "disk", format)
    if format is ImageFormat.VHDX and length == 1000:
        assert (cost(tally), tally.bytes["read"] <= 84 * KIB) == ((7, 3), True)
    else:
        check_cheap(files, "disk", format)
    assert told.parent is not None
    assert [told.parent.paths[key] for key in keys] == [path] * 2


def test_a_raw_file_is_not_read() -> None:
    files = MemoryFileSystem()
    put(files, "disk", bytes(MIB))
    _, tally = opened(files, "disk", ImageFormat.RAW)
    assert cost(tally) == (0, 0)


def test_a_log_is_laid_over_regions_and_metadata() -> None:
    """All of them are rubbish in the file, and right in the log."""
    files = MemoryFileSystem()
    made = forge.create(files)
    sound, _ = opened(files, "disk.vhdx", ImageFormat.VHDX)
    places = [*REGION_TABLES, made.metadata, made.metadata + TABLE]
    pages = [(at + page, made.read(at + page, 4096)) for at in places for page in (0, TABLE - 4096) if page < TABLE]
    guid = UUID(int=0xD1E7)
    made.write(MIB, raw.log_entry(guid, 5, *pages, flushed=made.size, last=made.size))
    made.change_header(48, guid.bytes_le)
    for offset, _data in pages:
        made.write(offset, b"\xee" * 4096)
    found, _ = opened(files, "disk.vhdx", ImageFormat.VHDX)
    assert found.log is LogState.DIRTY
    assert (found.virtual_size, found.disk_id) == (sound.virtual_size, sound.disk_id)


def test_the_second_region_table_where_the_first_is_damaged() -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    sound, usual = opened(files, "disk.vhdx", ImageFormat.VHDX)
    second = made.read(REGION_TABLES[1], 1)
    made.write(REGION_TABLES[1], b"x")
    assert opened(files, "disk.vhdx", ImageFormat.VHDX) == (sound, usual), "nobody looked"
    made.write(REGION_TABLES[0] + 9, b"x")
    with pytest.raises(FormatError, match="no copy is valid"):
        opened(files, "disk.vhdx", ImageFormat.VHDX)
    made.write(REGION_TABLES[1], second)
    found, tally = opened(files, "disk.vhdx", ImageFormat.VHDX)
    assert found == sound
    assert cost(tally) == (usual.pieces["read"] + 1, usual.calls["read"] + 1)


def spread(made: Forge, places: dict[UUID, int], *, others: int = 0) -> None:
    """Move the items of the disk to other places in the region, behind *others* of no meaning in the table."""
    region, size = made.metadata, {FILE_PARAMETERS: 8, VIRTUAL_DISK_SIZE: 8, DISK_ID: 16}
    table = made.read(region, TABLE)
    rows = [(UUID(int=number + 1), 0, 0, USER, 0) for number in range(others)]
    for number in range(struct.unpack_from("<H", table, 10)[0]):
        item, offset, length, flags = struct.unpack_from("<16sIII", table, 32 + 32 * number)
        name = UUID(bytes_le=item)
        assert length == size.get(name, length)
        place = places.get(name, offset)
        made.write(region + place, made.read(region + offset, length))
        if place != offset:
            made.write(region + offset, b"\xee" * length)
        rows.append((name, place, length, flags, 0))
    made.write(region, raw.metadata_table(*rows))


@pytest.mark.parametrize(
    ("others", "places", "reads", "calls"),
    [
        (26, {}, 6, 2),
        (27, {}, 7, 3),
        (1000, {}, 7, 3),
        (0, {DISK_ID: TABLE + 4096 - 16}, 6, 2),
        (0, {DISK_ID: TABLE + 4096 - 15}, 7, 3),
        (0, {DISK_ID: MIB - 16, VIRTUAL_DISK_SIZE: MIB - 2000, FILE_PARAMETERS: MIB - 1000}, 7, 3),
        (0, {DISK_ID: MIB - 16, VIRTUAL_DISK_SIZE: MIB // 2}, 8, 3),
    ],
    ids=["full", "one more", "many", "last in reach", "first out of it", "together", "apart"],
)
def test_where_items_lie(others: int, places: dict[UUID, int], reads: int, calls: int) -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    sound, _ = opened(files, "disk.vhdx", ImageFormat.VHDX)
    spread(made, places, others=others)
    found, tally = opened(files, "disk.vhdx", ImageFormat.VHDX)
    assert found == sound
    assert cost(tally) == (reads, calls)


def test_items_anywhere() -> None:
    """Whatever the layout, every item is found, and no call reads more than the items and what is always read."""
    chance = random.Random(7)
    names = [FILE_PARAMETERS, VIRTUAL_DISK_SIZE, DISK_ID, LOGICAL_SECTOR_SIZE, PHYSICAL_SECTOR_SIZE]
    for _ in range(30):
        files = MemoryFileSystem()
        made = forge.create(files)
        sound, _ = opened(files, "disk.vhdx", ImageFormat.VHDX)
        ends = [4096, 8192, 16384, MIB - TABLE]
        slots = {TABLE + 64 + chance.randrange(chance.choice(ends) // 16 - 5) * 16 for _ in range(20)}
        spread(made, dict(zip(names, chance.sample(sorted(slots), len(names)), strict=True)))
        found, tally = opened(files, "disk.vhdx", ImageFormat.VHDX)
        assert found == sound
        assert tally.calls["read"] <= 3
        assert tally.bytes["read"] <= 80 * KIB + 5 * 4 * KIB


@pytest.mark.parametrize("count", [2047, 2048, 65535])
def test_a_table_that_claims_too_many_items(count: int) -> None:
    files = MemoryFileSystem()
    made = forge.create(files)
    made.write(made.metadata + 10, struct.pack("<H", count))
    tally = Tally()
    storage = WatchedFileSystem(files, tally).open("disk.vhdx", Access.READ)
    with pytest.raises(FormatError, match="metadata table"):
        open_image(storage, new_id=counting_ids())
    assert tally.bytes["read"] <= 160 * KIB


def dirty_vhdx(files: MemoryFileSystem) -> str:
    dirty(files)
    return "disk.vhdx"


def vhd_without_footer(files: MemoryFileSystem) -> str:
    disk = Disk.shaped(files, 8 * MIB, CreateOptions(format=ImageFormat.VHD))
    disk.write(MIB, pattern(1, MIB))
    disk.close()
    made = Forge(files, disk.paths[0])
    made.write(made.size - 512, bytes(512))
    return disk.paths[0]


def raw_file(files: MemoryFileSystem) -> str:
    put(files, "disk", pattern(1, MIB))
    return "disk"


CHANGED_BY_OPENING = [
    (dirty_vhdx, ImageFormat.VHDX),
    (vhd_without_footer, ImageFormat.VHD),
    (raw_file, ImageFormat.RAW),
]


@pytest.mark.parametrize(("make", "format"), CHANGED_BY_OPENING, ids=["log", "footer", "raw"])
def test_who_does_not_want_an_image_leaves_it_as_it_is(
    make: Callable[[MemoryFileSystem], str], format: ImageFormat
) -> None:
    files = MemoryFileSystem()
    path = make(files)
    before = Forge(files, path).everything
    tally = Tally()
    storage = WatchedFileSystem(files, tally).open(path, Access.WRITE)
    with pytest.raises(Refused):
        open_image(storage, new_id=counting_ids(), format=format, admit=refuse)
    assert Forge(files, path).everything == before
    assert not {"write", "zero", "truncate", "reserve", "copy", "flush"} & tally.calls.keys()
    assert tally.calls["close"] == 1
    told: list[ImageInfo] = []
    image = open_image(files.open(path, Access.WRITE), new_id=counting_ids(), format=format, admit=told.append)
    assert [info.linkage for info in told] == [image.info.linkage]
    image.close()
    assert (Forge(files, path).everything != before) == (format is not ImageFormat.RAW)


@pytest.mark.parametrize("kind", [KINDS["vhdx-differencing"], KINDS["vhd-differencing"]], ids=["vhdx", "vhd"])
def test_a_parent_is_opened_once(kind: Kind) -> None:
    files = MemoryFileSystem()
    disk = Disk.shaped(files, 4 * MIB, CreateOptions(format=kind.format))
    disk.snapshot()
    disk.snapshot()
    tally = Tally()
    with disk.engine.open_chain(WatchedFileSystem(files, tally), disk.paths[0], writable=3) as chain:
        assert all(image.storage.writable for image in chain.images)
        assert tally.calls["open"] == 3


class OfAnother(MemoryFileSystem):
    """*stranger* may be read and not be written to."""

    stranger = ""

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> MemoryStorage:
        if path == self.stranger and access.writes:
            raise PermissionError(13, "not yours", path)
        return super().open(path, access, beneath=beneath)


def test_a_file_that_is_not_the_parent_need_not_be_writable() -> None:
    files = OfAnother()
    disk = Disk.shaped(files, 4 * MIB, CreateOptions())
    disk.snapshot()
    files.stranger = disk.paths[1]
    with pytest.raises(PermissionError):
        disk.engine.open_chain(files, disk.paths[0], writable=2)
    disk.write(0, b"x")
    disk.close()
    disk.engine.create(files, "other.vhdx", 4 * MIB)
    files.rename("other.vhdx", disk.paths[1], replace=True)
    with pytest.raises(Error, match="is not, or is no longer"):
        disk.engine.open_chain(files, disk.paths[0], writable=2)
