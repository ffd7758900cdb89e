"""What no share can do is told from what this share cannot do now, whichever way a volume is made."""

import hashlib
from collections.abc import Callable
from contextlib import closing

import pytest

from smbfs_driver.volumes import info, moving
from smbfs_driver.volumes.managing import Reference, existing, snapshot_named
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.receiving import Announced, Digest, Sink
from smbfs_driver.volumes.refusals import BadImage, ImageTooLarge, Refused
from smbfs_driver.volumes.shape import LARGEST, Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from tests.driver.kits import OTHER, VOLUME, A, B, C
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

GIB = 1 << 30
VHD = Shape(DiskFormat.VHD)


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def volumes(files: MemoryFileSystem) -> Volumes:
    return Volumes(files, NativeEngine())


def never_fetched(_: Sink) -> None:
    pytest.fail("an image was fetched that no volume can be made of")


Way = Callable[[Volumes, int, Shape], None]
WAYS: dict[str, Way] = {
    "create": lambda volumes, size, shape: volumes.create(VOLUME, size, shape),
    "clone": lambda volumes, size, shape: volumes.clone(VOLUME, OTHER, size, shape=shape),
    "from a snapshot": lambda volumes, size, shape: volumes.create_from_snapshot(VOLUME, OTHER, A, size, shape=shape),
    "from an image": lambda volumes, size, shape: volumes.receive(
        VOLUME, Announced(DiskFormat.VHDX, never_fetched, Digest("sha256", "00")), size, shape
    ),
}


@pytest.mark.parametrize("format", DiskFormat)
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_beyond_the_limit_of_its_format_is_refused(
    files: MemoryFileSystem, volumes: Volumes, way: str, format: DiskFormat
) -> None:
    volumes.create(OTHER, MIB)
    volumes.create_snapshot(OTHER, A)
    before = files.list("")
    with pytest.raises(Refused, match="larger than the"):
        WAYS[way](volumes, LARGEST[format] + GIB, Shape(format))
    assert files.list("") == before


@pytest.mark.parametrize("format", DiskFormat)
def test_the_limits_are_those_of_the_engine(files: MemoryFileSystem, format: DiskFormat) -> None:
    options = CreateOptions(format=format.image)
    NativeEngine().create(files, "largest", LARGEST[format], options)
    with pytest.raises(Error):
        NativeEngine().create(files, "larger", LARGEST[format] + MIB, options)


def test_a_volume_that_is_too_large_for_another_format_keeps_its_own(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(VOLUME, LARGEST[DiskFormat.VHD] + GIB)
    before = files.list("")
    with pytest.raises(Refused, match="use VHDX"):
        moving.reshape(volumes.shelf, VOLUME, VHD)
    assert files.list("") == before


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("create", "from an image")])
@pytest.mark.parametrize("fault", ["gone", "damaged", "smaller"])
def test_a_source_that_cannot_be_copied_is_refused(
    files: MemoryFileSystem, volumes: Volumes, way: str, fault: str
) -> None:
    volumes.create(OTHER, 2 * MIB)
    volumes.create_snapshot(OTHER, A)
    base = VolumeNames(OTHER).base
    if fault == "gone":
        volumes.delete(OTHER)
    elif fault == "damaged":
        with closing(files.open(base, Access.WRITE)) as storage:
            storage.write([(0, bytes(256 << 10))])
    before = files.list("")
    with pytest.raises(Refused):
        WAYS[way](volumes, MIB if fault == "smaller" else 2 * MIB, Shape())
    assert files.list("") == before


def test_a_source_in_use_is_not_refused_for_good(files: MemoryFileSystem, volumes: Volumes) -> None:
    volumes.create(OTHER, MIB)
    with closing(files.open(VolumeNames(OTHER).base, Access.WRITE)), pytest.raises(InUse):
        volumes.clone(VOLUME, OTHER, MIB)


def test_what_is_wrong_with_an_image_is_told_apart(volumes: Volumes) -> None:
    other, engine = MemoryFileSystem(), NativeEngine()
    engine.create(other, "image.vhdx", 2 * MIB)
    volumes.create(VOLUME, MIB)
    with pytest.raises(ImageTooLarge):
        volumes.load(VOLUME, ForeignImage(other, "image.vhdx", ImageFormat.VHDX), MIB, Shape())
    engine.create_child(other, "child.vhdx", "image.vhdx")
    for image, format in (("child.vhdx", ImageFormat.VHDX), ("image.vhdx", ImageFormat.VHD)):
        with pytest.raises(BadImage):
            volumes.load(VOLUME, ForeignImage(other, image, format), 4 * MIB, Shape())
    with pytest.raises(BadImage, match="not supported"):
        Digest("md5", hashlib.sha256().hexdigest())


def reference(path: str) -> Reference:
    return Reference("//server/share", path)


@pytest.mark.parametrize("name", ["disk", "dir/disk", "Some Disk", "disk.old"])
@pytest.mark.parametrize("extension", [".vhd", ".vhdx"])
def test_an_extension_may_be_left_out(files: MemoryFileSystem, name: str, extension: str) -> None:
    files.create(name + extension).close()
    assert existing(files, reference(name)) == reference(name + extension)
    assert existing(files, reference(name + extension)) == reference(name + extension)
    assert existing(files, reference(name + extension.upper())) == reference(name + extension.upper())


def test_an_extension_that_is_left_out_says_nothing_where_two_images_fit(files: MemoryFileSystem) -> None:
    for path in ("disk.vhd", "disk.vhdx"):
        files.create(path).close()
    with pytest.raises(Error, match="give the extension"):
        existing(files, reference("disk"))
    with pytest.raises(Error, match="neither "):
        existing(files, reference("other"))


@pytest.mark.parametrize("extension", ["", ".vhd", ".VHDX"])
@pytest.mark.parametrize("form", ["snapshot-{0}", "{0}", "{1}.{0}"])
def test_a_snapshot_is_named_by_its_id_or_its_file(form: str, extension: str) -> None:
    names = VolumeNames(VOLUME)
    known = info.Info(names.snapshot(B), {A: names.snapshot(A), B: names.snapshot(B)})
    for ident in (A, B):
        assert snapshot_named(form.format(ident, VOLUME) + extension, VOLUME, known) == ident


@pytest.mark.parametrize("name", [None, "", A, f"snapshot-{A}", "snapshot-", f"{OTHER}.{B}", f"{VOLUME}.vhdx"])
def test_what_names_no_snapshot_is_refused(name: object) -> None:
    """The file of a snapshot that got another id keeps its name; its old id names nothing."""
    names = VolumeNames(VOLUME)
    known = info.Info(names.snapshot(A), {C: names.snapshot(A)})
    assert snapshot_named(names.snapshot(A), VOLUME, known) == C
    with pytest.raises(Error, match="no such snapshot"):
        snapshot_named(name, VOLUME, known)
