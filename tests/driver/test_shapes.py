"""Volumes of every shape, and content that comes from elsewhere: loaded, received, adopted."""

import hashlib
from collections.abc import Callable
from contextlib import closing

import pytest

from smbfs_driver.volumes import info
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.receiving import Announced, Digest, Sink
from smbfs_driver.volumes.refusals import BadImage
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from tests.driver.kits import OTHER, VOLUME, A, B
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from vhdx.check import Severity
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

SHAPES = [Shape(format, fixed) for format in DiskFormat for fixed in (False, True)]
CONTENT = bytes(range(256)) * 16


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def volumes(files: MemoryFileSystem) -> Volumes:
    return Volumes(files, NativeEngine())


def elsewhere(format: ImageFormat, *, fixed: bool = False, parent: bool = False) -> MemoryFileSystem:
    """A file system with an image of two MiB in ``image``, with CONTENT at its start."""
    other, engine = MemoryFileSystem(), NativeEngine()
    engine.create(other, "image", 2 * MIB, CreateOptions(format=format, fixed=fixed))
    with engine.open_chain(other, "image", writable=1, format=format) as chain:
        chain.write(0, CONTENT)
    if parent:
        other.rename("image", "base.vhdx", replace=False)
        engine.create_child(other, "image", "base.vhdx")
    return other


def read(files: MemoryFileSystem, name: str, shape: Shape) -> bytes:
    with closing(NativeEngine().open_chain(files, VolumeNames(name, shape.format).base)) as chain:
        return chain.read(0, chain.size)


def content(files: MemoryFileSystem, path: str) -> bytes:
    with closing(files.open(path, Access.READ)) as storage:
        data = bytearray(storage.size())
        storage.read([(0, memoryview(data))])
        return bytes(data)


def announced(data: bytes, format: DiskFormat, digest: str | None = None) -> Announced:
    def fetch(sink: Sink) -> None:
        for at in range(0, len(data), 100_000):
            sink.write(data[at : at + 100_000])

    return Announced(format, fetch, Digest("sha512", digest or hashlib.sha512(data).hexdigest()))


def is_sound(files: MemoryFileSystem) -> bool:
    found = [one for path in files.list("") for one in NativeEngine().check(files, path)]
    return not any(finding.severity is Severity.ERROR for finding in found)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_volume_has_the_shape_that_was_asked_for(files: MemoryFileSystem, volumes: Volumes, shape: Shape) -> None:
    volumes.create(VOLUME, 4 * MIB, shape)
    found = NativeEngine().info(files, VolumeNames(VOLUME, shape.format).base)
    assert found.format.value == shape.format.value
    assert found.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC)
    assert volumes.format(VOLUME) is shape.format
    volumes.create_snapshot(VOLUME, A)
    volumes.clone(OTHER, VOLUME, 4 * MIB, shape=shape)
    assert NativeEngine().info(files, VolumeNames(OTHER, shape.format).base).type is found.type
    volumes.delete(VOLUME)
    volumes.delete(OTHER)
    assert files.list("") == []


def test_a_vhd_with_snapshots_is_not_extended(volumes: Volumes) -> None:
    volumes.create(VOLUME, MIB, Shape(DiskFormat.VHD))
    volumes.extend(VOLUME, 2 * MIB)
    volumes.create_snapshot(VOLUME, A)
    with pytest.raises(Error, match="cannot extend a VHD volume with snapshots"):
        volumes.extend(VOLUME, 3 * MIB)
    volumes.delete_snapshot(VOLUME, A)
    volumes.extend(VOLUME, 3 * MIB)
    assert NativeEngine().info(volumes._site.files, f"{VOLUME}.vhd").virtual_size == 3 * MIB


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("format", ImageFormat)
def test_an_image_of_this_machine_fills_a_new_volume(
    files: MemoryFileSystem, volumes: Volumes, shape: Shape, format: ImageFormat
) -> None:
    volumes.create(VOLUME, 4 * MIB, shape)
    volumes.load(VOLUME, ForeignImage(elsewhere(format), "image", format), 4 * MIB, shape)
    assert read(files, VOLUME, shape) == CONTENT.ljust(4 * MIB, b"\0")
    assert len(files.list("")) == 1
    assert is_sound(files)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("format", DiskFormat)
def test_an_image_that_is_received_becomes_a_volume(
    files: MemoryFileSystem, volumes: Volumes, shape: Shape, format: DiskFormat, *, fixed: bool
) -> None:
    image = content(elsewhere(ImageFormat(format.value), fixed=fixed), "image")
    volumes.receive(VOLUME, announced(image, format), 4 * MIB, shape)
    assert read(files, VOLUME, shape) == CONTENT.ljust(4 * MIB, b"\0")
    assert files.list("") == [VolumeNames(VOLUME, shape.format).base]
    assert NativeEngine().info(files, files.list("")[0]).type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC)
    assert not shape.fixed or files.stat(files.list("")[0]).allocated >= 4 * MIB
    assert is_sound(files)


@pytest.mark.parametrize("format", DiskFormat)
def test_a_thick_volume_stays_thick(files: MemoryFileSystem, volumes: Volumes, format: DiskFormat) -> None:
    """Created, extended, and grown to whole units when it is taken over."""
    volumes.create(VOLUME, 2 * MIB, Shape(format, fixed=True))
    volumes.extend(VOLUME, 5 * MIB)
    assert files.stat(f"{VOLUME}.{format.value}").allocated >= 5 * MIB
    options = CreateOptions(format=ImageFormat(format.value), fixed=True)
    NativeEngine().create(files, "foreign", 2 * MIB + 512, options)
    volumes.adopt(OTHER, "foreign", format, unit=8 * MIB)
    assert files.stat(f"{OTHER}.{format.value}").allocated >= 8 * MIB


def _broken(data: bytes) -> bytes:
    return data[:65536] + bytes(65536 * 2) + data[65536 * 3 :]


VHDX_IMAGE = content(elsewhere(ImageFormat.VHDX), "image")
REFUSED: dict[str, tuple[Callable[[], Announced], int, str]] = {
    "another hash": (lambda: announced(VHDX_IMAGE, DiskFormat.VHDX, "00" * 64), 4 * MIB, "mismatch"),
    "damage": (lambda: announced(_broken(VHDX_IMAGE), DiskFormat.VHDX), 4 * MIB, "the image is damaged"),
    "another format": (lambda: announced(VHDX_IMAGE, DiskFormat.VHD), 4 * MIB, "the image is damaged"),
    "nothing": (lambda: announced(b"", DiskFormat.VHDX), 4 * MIB, "the image is damaged"),
    "too large": (lambda: announced(VHDX_IMAGE, DiskFormat.VHDX), MIB, "does not fit"),
    "a parent": (
        lambda: announced(content(elsewhere(ImageFormat.VHDX, parent=True), "image"), DiskFormat.VHDX),
        4 * MIB,
        "has a parent",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_received_and_is_not_right_leaves_nothing(
    files: MemoryFileSystem, volumes: Volumes, what: str
) -> None:
    image, size, reason = REFUSED[what]
    with pytest.raises(Error, match=reason):
        volumes.receive(VOLUME, image(), size, Shape())
    assert files.list("") == []


def test_a_download_that_breaks_off_leaves_nothing(files: MemoryFileSystem, volumes: Volumes) -> None:
    def fetch(sink: Sink) -> None:
        sink.write(VHDX_IMAGE[:5000])
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        volumes.receive(VOLUME, Announced(DiskFormat.VHDX, fetch, Digest("sha512", "00")), 4 * MIB, Shape())
    assert files.list("") == []


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "none", "crc32"])
def test_a_weak_hash_is_none(algorithm: str) -> None:
    with pytest.raises(Error, match="is not supported"):
        Digest(algorithm, "00")


def test_what_is_loaded_stands_alone_and_fits(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, MIB)
    before = content(files, f"{VOLUME}.vhdx")
    child = ForeignImage(elsewhere(ImageFormat.VHDX, parent=True), "image", ImageFormat.VHDX)
    for image, reason in [
        (child, "has a parent"),
        (ForeignImage(elsewhere(ImageFormat.RAW), "image", ImageFormat.RAW), "does not fit"),
    ]:
        with pytest.raises(Error, match=reason):
            volumes.load(VOLUME, image, MIB, Shape())
    with pytest.raises(BadImage):
        volumes.load(VOLUME, ForeignImage(elsewhere(ImageFormat.RAW), "image", ImageFormat.VHD), 4 * MIB, Shape())
    assert content(files, f"{VOLUME}.vhdx") == before
    assert files.list("") == [f"{VOLUME}.vhdx"]


def test_nothing_is_loaded_over_snapshots(volumes: Volumes) -> None:
    volumes.create(VOLUME, 4 * MIB)
    volumes.create_snapshot(VOLUME, A)
    with pytest.raises(Error, match="has snapshots"):
        volumes.load(VOLUME, ForeignImage(elsewhere(ImageFormat.RAW), "image", ImageFormat.RAW), 4 * MIB, Shape())


@pytest.mark.parametrize("format", DiskFormat)
def test_an_image_on_the_share_becomes_a_volume_by_its_name(
    files: MemoryFileSystem, volumes: Volumes, format: DiskFormat
) -> None:
    path = f"Some Disk.{format.value}"
    NativeEngine().create(files, path, 3 * MIB, CreateOptions(format=ImageFormat(format.value)))
    volumes.adopt(VOLUME, path, format)
    assert volumes.size(VOLUME) == 3 * MIB
    assert files.list("") == [VolumeNames(VOLUME, format).base]


def test_a_volume_that_gets_another_name_leaves_nothing_under_the_old_one(
    files: MemoryFileSystem, volumes: Volumes
) -> None:
    volumes.create(VOLUME, 4 * MIB)
    volumes.create_snapshot(VOLUME, A)
    volumes.delete_snapshot(VOLUME, A)
    assert files.list("") == [VolumeNames(VOLUME).base, VolumeNames(VOLUME).info]
    volumes.rename(VOLUME, OTHER)
    assert files.list("") == [VolumeNames(OTHER).base]
    assert volumes.chain(OTHER) == files.list("")


def test_a_volume_with_snapshots_keeps_its_name(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, 4 * MIB)
    volumes.create_snapshot(VOLUME, A)
    before = files.list("")
    with pytest.raises(Error, match="has snapshots"):
        volumes.rename(VOLUME, OTHER)
    assert files.list("") == before


def test_an_image_with_relatives_is_not_adopted(files: MemoryFileSystem, volumes: Volumes) -> None:
    engine = NativeEngine()
    engine.create(files, "base.vhdx", MIB)
    engine.create_child(files, "child.vhdx", "base.vhdx")
    for path, reason in [("base.vhdx", "is the parent of child.vhdx"), ("child.vhdx", "has a parent")]:
        with pytest.raises(Error, match=reason):
            volumes.adopt(VOLUME, path, DiskFormat.VHDX)
    assert files.list("") == ["base.vhdx", "child.vhdx"]


def test_a_snapshot_takes_another_id(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, MIB)
    volumes.create_snapshot(VOLUME, A)
    volumes.rename_snapshot(VOLUME, A, B)
    assert volumes.snapshots() == {VOLUME: [B]}
    assert volumes.snapshot_size(VOLUME, B) == MIB
    assert info.load(files, VolumeNames(VOLUME)).snapshots == {B: f"{VOLUME}.{A}.vhdx"}
    volumes.delete_snapshot(VOLUME, B)
    assert volumes.chain(VOLUME) == [f"{VOLUME}.vhdx"]


def test_a_snapshot_does_not_take_the_id_of_another(volumes: Volumes) -> None:
    volumes.create(VOLUME, MIB)
    volumes.create_snapshot(VOLUME, A)
    volumes.create_snapshot(VOLUME, B)
    for old, new, reason in [(A, B, "already exists"), (OTHER[7:], A, "no such snapshot")]:
        with pytest.raises(Error, match=reason):
            volumes.rename_snapshot(VOLUME, old, new)


def test_a_volume_is_exported_flat(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, 2 * MIB)
    volumes.load(VOLUME, ForeignImage(elsewhere(ImageFormat.RAW), "image", ImageFormat.RAW), 2 * MIB, Shape())
    volumes.create_snapshot(VOLUME, A)
    for format in ImageFormat:
        out = MemoryFileSystem()
        volumes.export(VOLUME, out, "image", CreateOptions(format=format))
        with closing(NativeEngine().open_chain(out, "image", format=format)) as chain:
            assert chain.read(0, chain.size) == CONTENT.ljust(2 * MIB, b"\0")


def test_nothing_is_exported_while_somebody_writes(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, MIB)
    with closing(files.open(f"{VOLUME}.vhdx", Access.WRITE)), pytest.raises(InUse):
        volumes.export(VOLUME, MemoryFileSystem(), "image", CreateOptions())
