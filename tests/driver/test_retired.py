"""What operators of SMB shares rely on, by behaviour: places and names, formats, snapshots, copies, images, pools."""

import json
from pathlib import Path

import pytest

from smbfs_driver.shares import shares
from smbfs_driver.shares.connections import ShareConnections
from smbfs_driver.shares.pools import Pools
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes import info
from smbfs_driver.volumes.managing import Reference
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from smbfs_driver.worker.backend import Backend
from tests.driver.windows_share import SIZE, A, B, C, WindowsShare, content
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.storage.credentials import Credentials
from vhdx.verbs.engine import NativeEngine

VOLUME = "volume-4f711859-4928-4cb7-801a-a50c37ceaccc"
OTHER = "volume-4f711859-4928-4cb7-801a-a50c37ceaccd"
ADDRESS = "//1.2.3.4/share1"
ACCOUNT = Credentials("Administrator", "12345")
SHAPES = [Shape(format, fixed) for format in DiskFormat for fixed in (False, True)]


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def volumes(files: MemoryFileSystem) -> Volumes:
    return Volumes(files, NativeEngine())


@pytest.fixture(params=[pytest.param(format, id=format.value) for format in DiskFormat])
def format(request: pytest.FixtureRequest) -> DiskFormat:
    found: DiskFormat = request.param
    return found


def write(files: FileSystem, path: str, sectors: dict[int, int]) -> None:
    WindowsShare(files).write(path, sectors)


def layered(volumes: Volumes, files: FileSystem, format: DiskFormat) -> VolumeNames:
    """A volume with the snapshots A and B; sectors 0, 1 and 2 were written before, between and after them."""
    volumes.create(VOLUME, SIZE, Shape(format))
    for number, snapshot in enumerate((A, B)):
        write(files, volumes.active(VOLUME), {number: number + 1})
        volumes.create_snapshot(VOLUME, snapshot)
    write(files, volumes.active(VOLUME), {2: 3})
    return VolumeNames(VOLUME, format)


# Set-up.


def test_a_list_of_shares_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="smbfs_shares"):
        shares.load(tmp_path / "smbfs_shares")


def test_a_share_is_connected_with_its_account_when_it_is_first_used(files: MemoryFileSystem) -> None:
    connected: list[Share] = []

    def connect(share: Share) -> FileSystem:
        connected.append(share)
        return files

    listed = [Share("1.2.3.4", "share1", ACCOUNT), Share("1.2.3.4", "share2", ACCOUNT)]
    connections = ShareConnections(listed, connect)
    assert not connected
    for _ in range(2):
        assert connections.files(connections.find(ADDRESS)) is files
    assert connected == [listed[0]]


def test_the_capacity_of_a_share_is_what_its_server_says(files: MemoryFileSystem) -> None:
    backend = Backend([Share("1.2.3.4", "share1", ACCOUNT)], lambda _: files)
    assert backend.capacity(ADDRESS) == files.space()


# Pools.


def three_shares() -> list[Share]:
    return [Share("ip", f"share{number}", ACCOUNT) for number in range(3)]


def test_pools_are_named_by_the_configuration_or_by_their_share() -> None:
    pools = Pools(three_shares(), {"//ip/share0": "pool0", "//ip/share1": "pool1"})
    named = {pool.address: pool.name for pool in pools}
    assert named == {"//ip/share0": "pool0", "//ip/share1": "pool1", "//ip/share2": "share2"}
    for address, name in named.items():
        assert pools.at(address).name == name
        assert pools.named(name).address == address


@pytest.mark.parametrize(
    "mappings", [{"//ip/share0": "pool0", "//ip/share1": "pool0"}, {"//ip/share0": "share2"}], ids=["given", "by share"]
)
def test_two_shares_are_not_one_pool(mappings: dict[str, str]) -> None:
    with pytest.raises(Error, match="is used by two shares"):
        Pools(three_shares(), mappings)


def test_a_pool_that_is_not_there_is_refused() -> None:
    with pytest.raises(Error, match="unknown pool elsewhere"):
        Pools(three_shares(), {}).named("elsewhere")


# Where volumes are and what they are.


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_volume_is_a_file_of_its_name_format_and_size(
    volumes: Volumes, files: MemoryFileSystem, shape: Shape
) -> None:
    volumes.create(VOLUME, SIZE, shape)
    assert files.list("") == [f"{VOLUME}.{shape.format.value}"]
    found = NativeEngine().info(files, f"{VOLUME}.{shape.format.value}")
    assert found.format.value == shape.format.value
    assert found.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC)
    assert found.virtual_size == volumes.size(VOLUME) == SIZE


def test_a_volume_that_is_there_is_not_made_again(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    volumes.create(VOLUME, SIZE, Shape(format))
    write(files, volumes.active(VOLUME), {0: 1})
    for again in SHAPES:
        with pytest.raises(Error, match="delete that volume first"):
            volumes.create(VOLUME, SIZE, again)
    assert content(files, volumes.active(VOLUME)) == {-1: SIZE, 0: 1}


def test_a_volume_keeps_the_format_that_its_file_has(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    volumes.create(VOLUME, SIZE, Shape(format))
    assert volumes.format(VOLUME) is format
    assert volumes.active(VOLUME) == f"{VOLUME}.{format.value}"
    volumes.create_snapshot(VOLUME, A)
    assert volumes.active(VOLUME) == f"{VOLUME}.{A}.{format.value}"
    assert volumes.format(VOLUME) is format


def test_a_file_with_another_extension_is_no_volume(volumes: Volumes, files: MemoryFileSystem) -> None:
    files.create(f"{VOLUME}.fake").close()
    with pytest.raises(Error, match="no such volume"):
        volumes.format(VOLUME)


def test_a_deleted_volume_takes_its_document_with_it(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    names = layered(volumes, files, format)
    assert names.info in files.list("")
    volumes.delete(VOLUME)
    assert files.list("") == []
    volumes.delete(VOLUME)


# Layers.


def test_layers_are_told_by_the_names_of_their_files(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    volumes.create(OTHER, SIZE, Shape(format))
    assert volumes.chain(OTHER) == [f"{OTHER}.{format.value}"]
    names = layered(volumes, files, format)
    assert volumes.chain(VOLUME) == [names.snapshot(B), names.snapshot(A), names.base]


def test_a_snapshot_is_a_child_of_the_active_file(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    names = layered(volumes, files, format)
    volumes.create_snapshot(VOLUME, C)
    found = NativeEngine().info(files, names.snapshot(C))
    assert found.type is DiskType.DIFFERENCING
    assert found.parent is not None
    assert found.parent.paths["relative_path"] == f".\\{names.snapshot(B)}"
    assert content(files, names.snapshot(C)) == content(files, names.snapshot(B)) == {-1: SIZE, 0: 1, 1: 2, 2: 3}


def test_without_its_latest_snapshot_the_file_below_is_active(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    names = layered(volumes, files, format)
    volumes.delete_snapshot(VOLUME, B)
    assert volumes.active(VOLUME) == names.snapshot(A)
    assert content(files, names.snapshot(A)) == {-1: SIZE, 0: 1, 1: 2, 2: 3}
    assert info.read(files, names) == info.Info(names.snapshot(A), {A: names.snapshot(A)})


def test_without_an_older_snapshot_the_file_above_has_another_parent(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    names = layered(volumes, files, format)
    volumes.delete_snapshot(VOLUME, A)
    assert volumes.active(VOLUME) == names.snapshot(B)
    assert volumes.chain(VOLUME) == [names.snapshot(B), names.base]
    link = NativeEngine().info(files, names.snapshot(B)).parent
    assert link is not None
    assert link.paths["relative_path"] == f".\\{names.base}"
    assert content(files, names.base) == {-1: SIZE, 0: 1, 1: 2}
    assert info.read(files, names) == info.Info(names.snapshot(B), {B: names.snapshot(B)})


def test_a_snapshot_that_the_document_does_not_have_is_gone_already(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    layered(volumes, files, format)
    before = files.snapshot()
    volumes.delete_snapshot(VOLUME, C)
    assert {path: pages.read(0, pages.size) for path, pages in files.snapshot().items()} == {
        path: pages.read(0, pages.size) for path, pages in before.items()
    }


def test_the_document_is_one_that_can_be_read_as_ever(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat
) -> None:
    names = layered(volumes, files, format)
    text = WindowsShare(files, format).bytes_of(names.info)
    document = {"active": names.snapshot(B), A: names.snapshot(A), B: names.snapshot(B)}
    assert text == json.dumps(document, indent=1, sort_keys=True).encode()


# Sizes.


def test_only_the_active_file_grows(volumes: Volumes, files: MemoryFileSystem) -> None:
    names = layered(volumes, files, DiskFormat.VHDX)
    volumes.extend(VOLUME, SIZE + MIB)
    sizes = {path: NativeEngine().info(files, path).virtual_size for path in volumes.chain(VOLUME)}
    assert sizes == {names.snapshot(B): SIZE + MIB, names.snapshot(A): SIZE, names.base: SIZE}


def test_a_vhd_with_snapshots_does_not_grow(volumes: Volumes, files: MemoryFileSystem) -> None:
    layered(volumes, files, DiskFormat.VHD)
    with pytest.raises(Error, match="cannot extend a VHD volume with snapshots"):
        volumes.extend(VOLUME, SIZE + MIB)
    for snapshot in (A, B):
        volumes.delete_snapshot(VOLUME, snapshot)
    volumes.extend(VOLUME, SIZE + MIB)
    assert volumes.size(VOLUME) == SIZE + MIB


# Copies.


@pytest.mark.parametrize("shape", SHAPES)
def test_a_volume_from_a_snapshot_stands_alone(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat, shape: Shape
) -> None:
    names = layered(volumes, files, format)
    volumes.create_from_snapshot(OTHER, VOLUME, B, 2 * SIZE, shape=shape)
    assert volumes.chain(OTHER) == [f"{OTHER}.{shape.format.value}"]
    assert content(files, volumes.active(OTHER)) == {-1: 2 * SIZE, 0: 1, 1: 2}
    found, source = (NativeEngine().info(files, path) for path in (volumes.active(OTHER), names.base))
    assert found.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC)
    # Two disks of one id could not be told apart by the host that has both.
    assert found.disk_id != source.disk_id
    assert found.linkage != source.linkage


def test_a_clone_is_a_disk_of_its_own(volumes: Volumes, files: MemoryFileSystem, format: DiskFormat) -> None:
    volumes.create(VOLUME, SIZE, Shape(format))
    write(files, volumes.active(VOLUME), {0: 1})
    volumes.clone(OTHER, VOLUME, 2 * SIZE, shape=Shape(format))
    assert content(files, volumes.active(OTHER)) == {-1: 2 * SIZE, 0: 1}
    found, source = (NativeEngine().info(files, volumes.active(name)) for name in (OTHER, VOLUME))
    assert found.disk_id != source.disk_id


@pytest.mark.parametrize("snapshots", [0, 2])
def test_an_image_of_a_volume_is_flat_and_nothing_is_left_of_making_it(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat, snapshots: int
) -> None:
    if snapshots:
        layered(volumes, files, format)
    else:
        volumes.create(VOLUME, SIZE, Shape(format))
        write(files, volumes.active(VOLUME), {0: 1, 1: 2, 2: 3})
    before, elsewhere = files.list(""), MemoryFileSystem()
    volumes.export(VOLUME, elsewhere, "image", CreateOptions(format=ImageFormat(format.value)))
    assert NativeEngine().info(elsewhere, "image").parent is None
    assert content(elsewhere, "image") == {-1: SIZE, 0: 1, 1: 2, 2: 3}
    assert files.list("") == before


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_fills_a_volume_of_its_own_shape_and_size(
    volumes: Volumes, files: MemoryFileSystem, format: DiskFormat, shape: Shape
) -> None:
    elsewhere = MemoryFileSystem()
    NativeEngine().create(elsewhere, "image", SIZE, CreateOptions(format=ImageFormat(format.value)))
    write(elsewhere, "image", {3: 4})
    volumes.create(VOLUME, 2 * SIZE, shape)
    volumes.load(VOLUME, ForeignImage(elsewhere, "image", ImageFormat(format.value)), 2 * SIZE, shape)
    assert content(files, volumes.active(VOLUME)) == {-1: 2 * SIZE, 3: 4}
    found = NativeEngine().info(files, volumes.active(VOLUME))
    assert found.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC)
    assert found.disk_id != NativeEngine().info(elsewhere, "image").disk_id


# What is given to the driver to manage.


@pytest.mark.parametrize("written", ["{}", "{}/", "\\\\1.2.3.4\\share1", "//1.2.3.4/SHARE1"])
def test_a_managed_file_gets_the_name_of_its_volume(
    files: MemoryFileSystem, format: DiskFormat, written: str
) -> None:
    NativeEngine().create(files, f"Web.{format.value}", SIZE, CreateOptions(format=ImageFormat(format.value)))
    backend = Backend([Share("1.2.3.4", "share1", ACCOUNT)], lambda _: files)
    reference = Reference(written.format(ADDRESS), f"Web.{format.value}")
    assert backend.image_size(reference) == SIZE
    backend.adopt(VOLUME, reference, MIB)
    assert files.list("") == [f"{VOLUME}.{format.value}"]


def test_a_managed_file_is_what_its_extension_says(files: MemoryFileSystem) -> None:
    NativeEngine().create(files, "web.vhd", SIZE, CreateOptions(format=ImageFormat.VHDX))
    backend = Backend([Share("1.2.3.4", "share1", ACCOUNT)], lambda _: files)
    with pytest.raises(Error):
        backend.adopt(VOLUME, Reference(ADDRESS, "web.vhd"), MIB)
    assert files.list("") == ["web.vhd"]
