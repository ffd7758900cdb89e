"""What a WindowsSmbfsDriver left is taken over as it is: on a directory, and on a server as the driver reaches it."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path

import pytest

from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes import info
from smbfs_driver.volumes.managing import candidates
from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import Volumes
from smbfs_driver.worker.backend import Backend
from tests.driver.windows_share import (
    CLONE,
    DELETED,
    EMPTIED,
    LAYERED,
    PLAIN,
    RECORDS,
    SIZE,
    WINDOWS_CHILD,
    A,
    B,
    C,
    Content,
    D,
    WindowsShare,
    content,
    mounted,
    shown,
)
from tests.interop import golden
from tests.support.choice import few
from tests.support.disks import MIB
from vhdx.check import Severity
from vhdx.errors import Error
from vhdx.image.base import DiskType
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.credentials import Credentials
from vhdx.storage.local import LocalFileSystem

SHOWN = {A: shown(0), B: shown(1), C: shown(2)}
ACTIVE = shown(3)
PLAIN_CONTENT = {-1: SIZE, 1: 11, 4096: 12}
NEW = "volume-00000000-0000-4000-8000-00000000000f"
LATER = "00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def files(request: pytest.FixtureRequest, share_directory: Path) -> FileSystem:
    """An empty share."""
    if request.param == "directory":
        return LocalFileSystem(share_directory)
    found: FileSystem = request.getfixturevalue("smb_files")
    return found


@pytest.fixture
def format(request: pytest.FixtureRequest) -> DiskFormat:
    """That of all volumes on the share."""
    found: DiskFormat = request.param
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both formats on a directory in every run; on a server in the session tests-all."""
    more, smb = pytest.mark.more, pytest.mark.smb
    pairs = [
        pytest.param("directory", DiskFormat.VHD, id="directory-vhd"),
        pytest.param("server", DiskFormat.VHDX, id="server-vhdx", marks=(smb, more)),
        pytest.param("directory", DiskFormat.VHDX, id="directory-vhdx"),
        pytest.param("server", DiskFormat.VHD, id="server-vhd", marks=(smb, more)),
    ]
    match "files" in metafunc.fixturenames, "format" in metafunc.fixturenames:
        case True, True:
            metafunc.parametrize(("files", "format"), pairs, indirect=True)
        case True, False:
            metafunc.parametrize("files", ["directory", pytest.param("server", marks=smb)], indirect=True)
        case False, True:
            metafunc.parametrize("format", DiskFormat, ids=lambda format: format.value, indirect=True)


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> dict[DiskFormat, Path]:
    """A directory for each format with all that such a driver may have left."""
    found = {format: tmp_path_factory.mktemp("share") for format in DiskFormat}
    for format, directory in found.items():
        WindowsShare(LocalFileSystem(directory), format).lay_out()
    return found


@pytest.fixture
def share(laid_out: dict[DiskFormat, Path], format: DiskFormat, share_directory: Path) -> WindowsShare:
    """The same, of one format, as it lies on the machine that serves it."""
    shutil.copytree(laid_out[format], share_directory, dirs_exist_ok=True)
    return WindowsShare(LocalFileSystem(share_directory), format)


@pytest.fixture
def volumes(share: WindowsShare, files: FileSystem) -> Iterator[Volumes]:
    """The driver's core on it. In the end every image is sound, and nothing unfinished lies there."""
    yield Volumes(files, share.engine)
    check_sound(share)


def check_sound(share: WindowsShare) -> None:
    """Every file is a document, or an image in which nothing is wrong."""
    for name in share.files.list(""):
        assert name.endswith((".info", ".vhd", ".vhdx"))
        if not name.endswith(".info"):
            found = [one for one in share.engine.check(share.files, name) if one.severity is Severity.ERROR]
            assert not found, name


def picture(volumes: Volumes, share: WindowsShare, name: str) -> dict[str, Content]:
    """All that a volume shows, by what the core says of its chain."""
    chain = volumes.chain(name)
    snapshots = info.load(share.files, share.names(name)).snapshots
    seen = {"active": content(share.files, chain[0])}
    return seen | {key: content(share.files, chain[chain.index(file) + 1]) for key, file in snapshots.items()}


def others(share: WindowsShare) -> dict[str, bytes]:
    """The files of all volumes but the layered one, as they are."""
    return {name: share.bytes_of(name) for name in share.files.list("") if not name.startswith(LAYERED)}


def test_a_look_finds_everything_and_changes_nothing(
    volumes: Volumes, share: WindowsShare, files: FileSystem
) -> None:
    before = {name: share.bytes_of(name) for name in share.files.list("")}
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE, **SHOWN}
    assert content(files, volumes.active(LAYERED)) == ACTIVE
    for name, found in ((PLAIN, PLAIN_CONTENT), (CLONE, PLAIN_CONTENT), (EMPTIED, {-1: SIZE, 2: 21})):
        assert picture(volumes, share, name) == {"active": found}
    assert volumes.format(LAYERED) is share.format
    assert volumes.snapshots() == {LAYERED: [A, B, C], EMPTIED: []}
    assert {volumes.snapshot_size(LAYERED, key) for key in SHOWN} == {SIZE}
    assert volumes.unsettled() == []
    assert volumes.recover().settled == []
    assert {name: share.bytes_of(name) for name in share.files.list("")} == before


@pytest.mark.parametrize("order", few([(order,) for order in permutations((A, B, C))], 3))
def test_snapshots_go_in_any_order(volumes: Volumes, share: WindowsShare, order: tuple[str, ...]) -> None:
    wanted, beside = {"active": ACTIVE, **SHOWN}, others(share)
    for snapshot in order:
        volumes.delete_snapshot(LAYERED, snapshot)
        del wanted[snapshot]
        assert picture(volumes, share, LAYERED) == wanted
    names = share.names(LAYERED)
    assert {name for name in share.files.list("") if name.startswith(LAYERED)} == {names.base, names.info}
    assert others(share) == beside


@pytest.mark.parametrize("recorded", RECORDS)
def test_a_parent_is_found_beside_its_child(
    files: FileSystem, share_directory: Path, format: DiskFormat, recorded: str
) -> None:
    # Blocks of 32 MiB are what Windows makes by default.
    block = 32 * MIB if format is DiskFormat.VHDX else 2 * MIB
    share = WindowsShare(LocalFileSystem(share_directory), format, recorded=RECORDS[recorded], block=block)
    share.layered(LAYERED, (A, B, C))
    volumes = Volumes(files, share.engine)
    wanted = {"active": ACTIVE, **SHOWN}
    assert picture(volumes, share, LAYERED) == wanted
    for snapshot in (B, A, C):
        volumes.delete_snapshot(LAYERED, snapshot)
        del wanted[snapshot]
        assert picture(volumes, share, LAYERED) == wanted
    check_sound(share)


def test_another_file_of_the_same_letters_is_not_taken_for_the_volumes(share_directory: Path) -> None:
    # Only where capitals count can there be both.
    share = WindowsShare(LocalFileSystem(share_directory), recorded=RECORDS["in other letters"])
    share.layered(LAYERED, (A,))
    base = share_directory / share.names(LAYERED).base
    recorded = RECORDS["in other letters"](base.name)["relative_path"].removeprefix(".\\")
    shutil.copyfile(base, share_directory / recorded)
    before = [path.read_bytes() for path in sorted(share_directory.iterdir())]
    with pytest.raises(Error, match="not a file of this volume"):
        Volumes(share.files, share.engine).delete_snapshot(LAYERED, A)
    assert [path.read_bytes() for path in sorted(share_directory.iterdir())] == before


def test_a_file_where_the_recorded_path_leads_is_left_alone(share_directory: Path) -> None:
    # The recorded path, taken as one below the share, and as the name of one file.
    directory = share_directory
    share = WindowsShare(LocalFileSystem(directory))
    share.layered(LAYERED, (A,))
    recorded = mounted(share.names(LAYERED).base)["absolute_win32_path"]
    decoys = [directory / recorded.removeprefix("\\\\?\\C:\\").replace("\\", "/"), directory / recorded]
    for decoy in decoys:
        decoy.parent.mkdir(parents=True, exist_ok=True)
        decoy.write_bytes((directory / share.names(LAYERED).base).read_bytes())
    before = [decoy.read_bytes() for decoy in decoys]
    Volumes(share.files, share.engine).delete_snapshot(LAYERED, A)
    assert content(share.files, share.names(LAYERED).base) == shown(1)
    assert [decoy.read_bytes() for decoy in decoys] == before


def test_a_volume_goes_on_to_live(volumes: Volumes, share: WindowsShare) -> None:
    volumes.create_snapshot(LAYERED, LATER)
    assert volumes.active(LAYERED) == share.names(LAYERED).snapshot(LATER)
    share.write(volumes.active(LAYERED), {5: 55})
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE | {5: 55}, **SHOWN, LATER: ACTIVE}
    for number, snapshot in enumerate((B, LATER, A, C), start=1):
        volumes.delete_snapshot(LAYERED, snapshot)
        assert len(volumes.chain(LAYERED)) == 5 - number
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE | {5: 55}}


@pytest.mark.parametrize("name", [PLAIN, CLONE, EMPTIED])
def test_a_volume_without_snapshots_gets_its_first(volumes: Volumes, share: WindowsShare, name: str) -> None:
    held, beside = picture(volumes, share, name)["active"], others(share)
    volumes.create_snapshot(name, LATER)
    share.write(volumes.active(name), {5: 55})
    assert picture(volumes, share, name) == {"active": held | {5: 55}, LATER: held}
    volumes.delete_snapshot(name, LATER)
    assert picture(volumes, share, name) == {"active": held | {5: 55}}
    mine = {share.names(name).base, share.names(name).info}
    assert {key: data for key, data in others(share).items() if key not in mine} == {
        key: data for key, data in beside.items() if key not in mine
    }


def test_a_revert_gives_back_the_latest_snapshot(volumes: Volumes, share: WindowsShare) -> None:
    volumes.revert(LAYERED, C)
    assert picture(volumes, share, LAYERED) == {**SHOWN, "active": SHOWN[C]}
    with pytest.raises(Error, match="not the latest"):
        volumes.revert(LAYERED, A)


def test_a_vhdx_with_snapshots_is_extended_and_a_vhd_is_not(volumes: Volumes, share: WindowsShare) -> None:
    if share.format is DiskFormat.VHD:
        with pytest.raises(Error, match="cannot extend a VHD volume with snapshots"):
            volumes.extend(LAYERED, 2 * SIZE)
        assert picture(volumes, share, LAYERED) == {"active": ACTIVE, **SHOWN}
        return
    volumes.extend(LAYERED, 2 * SIZE)
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE | {-1: 2 * SIZE}, **SHOWN}
    for snapshot in (C, A, B):
        volumes.delete_snapshot(LAYERED, snapshot)
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE | {-1: 2 * SIZE}}


@pytest.mark.parametrize("name", [PLAIN, CLONE, EMPTIED])
def test_a_volume_without_snapshots_is_extended(volumes: Volumes, share: WindowsShare, name: str) -> None:
    held = picture(volumes, share, name)["active"]
    volumes.extend(name, 2 * SIZE)
    share.write(volumes.active(name), {2 * SIZE // 512 - 1: 7})
    assert picture(volumes, share, name) == {"active": held | {-1: 2 * SIZE, 2 * SIZE // 512 - 1: 7}}


@pytest.mark.parametrize("kept_as", [Shape(DiskFormat.VHDX), Shape(DiskFormat.VHD, fixed=True)], ids=["thin", "thick"])
def test_copies_are_made_of_volumes_and_of_their_snapshots(
    volumes: Volumes, share: WindowsShare, kept_as: Shape
) -> None:
    copied = WindowsShare(share.files, kept_as.format)
    for snapshot, held in [(None, ACTIVE), *SHOWN.items()]:
        if snapshot is None:
            volumes.clone(NEW, LAYERED, 2 * SIZE, shape=kept_as)
        else:
            volumes.create_from_snapshot(NEW, LAYERED, snapshot, 2 * SIZE, shape=kept_as)
        assert picture(volumes, copied, NEW) == {"active": held | {-1: 2 * SIZE}}
        assert picture(volumes, share, LAYERED) == {"active": ACTIVE, **SHOWN}
        volumes.delete(NEW)


@pytest.mark.parametrize("name", [LAYERED, PLAIN, CLONE, EMPTIED])
def test_a_deleted_volume_leaves_nothing_and_takes_nothing_else(
    volumes: Volumes, share: WindowsShare, name: str
) -> None:
    before = {one: share.bytes_of(one) for one in share.files.list("")}
    volumes.delete(name)
    left = {one: data for one, data in before.items() if not one.startswith(name)}
    assert {one: share.bytes_of(one) for one in share.files.list("")} == left


def test_what_stayed_of_a_volume_deleted_by_force_disturbs_nobody_and_can_be_deleted(
    volumes: Volumes, share: WindowsShare
) -> None:
    left = {name for name in share.files.list("") if name.startswith(DELETED)}
    assert left == {share.names(DELETED).base, share.names(DELETED).snapshot(D)}
    volumes.clone(NEW, PLAIN, SIZE)
    with pytest.raises(Error, match="is the parent of"):
        volumes.adopt(f"{NEW}0", share.names(DELETED).base, share.format)
    with pytest.raises(Error, match="delete that volume first"):
        volumes.create(DELETED, SIZE)
    volumes.delete(DELETED)
    assert not [name for name in share.files.list("") if name.startswith(DELETED)]


def test_a_copy_that_an_upload_left_is_no_part_of_its_volume(volumes: Volumes, share: WindowsShare) -> None:
    assert share.uploading in share.files.list("")
    volumes.delete(LAYERED)
    assert share.uploading in share.files.list("")
    volumes.adopt(NEW, share.uploading, share.format)
    assert picture(volumes, share, NEW) == {"active": PLAIN_CONTENT}


def test_what_no_volume_needs_is_offered_and_said_to_be_what_it_is(volumes: Volumes, share: WindowsShare) -> None:
    managed = {LAYERED, PLAIN, CLONE, EMPTIED}
    found = {one.reference.path: one for one in candidates(share.files, "//server/share", share.engine, managed)}
    assert {one.volume for one in found.values()} == {*managed, None}
    free = {path for path, one in found.items() if one.volume is None}
    assert free == {share.names(DELETED).base, share.names(DELETED).snapshot(D), share.uploading}
    assert found[share.names(DELETED).snapshot(D)].reason == "has a parent"
    assert not found[share.uploading].reason


def test_a_file_that_others_need_is_not_offered_as_safe(volumes: Volumes, share: WindowsShare) -> None:
    found = {one.reference.path: one for one in candidates(share.files, "//server/share", share.engine, set())}
    assert found[share.names(DELETED).base].reason


@pytest.mark.parametrize("name", [PLAIN, CLONE])
def test_an_unmanaged_volume_is_taken_up_again(volumes: Volumes, share: WindowsShare, name: str) -> None:
    volumes.adopt(NEW, share.names(name).base, share.format, unit=16 * MIB)
    assert share.names(name).base not in share.files.list("")
    assert picture(volumes, share, NEW) == {"active": PLAIN_CONTENT | {-1: 16 * MIB}}


def test_a_volume_that_is_taken_up_again_leaves_no_document_behind(volumes: Volumes, share: WindowsShare) -> None:
    volumes.adopt(NEW, share.names(EMPTIED).base, share.format)
    assert not [name for name in share.files.list("") if name.startswith(EMPTIED)]


@pytest.mark.parametrize("again", [A, LATER])
def test_a_snapshot_is_taken_up_by_the_id_that_the_document_has(
    volumes: Volumes, share: WindowsShare, again: str
) -> None:
    if again != A:
        volumes.rename_snapshot(LAYERED, A, again)
    assert volumes.has_snapshot(LAYERED, again)
    volumes.delete_snapshot(LAYERED, again)
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE, B: SHOWN[B], C: SHOWN[C]}


def test_a_volume_may_be_smaller_than_the_catalogue_says(volumes: Volumes, share: WindowsShare) -> None:
    # The size of a file that was given to the driver to manage stayed what it was, and was told rounded up.
    assert volumes.size(PLAIN) == SIZE
    volumes.clone(NEW, PLAIN, SIZE + MIB, shape=Shape(share.format))
    assert picture(volumes, share, NEW) == {"active": PLAIN_CONTENT | {-1: SIZE + MIB}}
    volumes.extend(PLAIN, 2 * SIZE)
    assert picture(volumes, share, PLAIN) == {"active": PLAIN_CONTENT | {-1: 2 * SIZE}}


def test_thick_volumes_are_taken_over(files: FileSystem, share_directory: Path, format: DiskFormat) -> None:
    share = WindowsShare(LocalFileSystem(share_directory), format, fixed=True)
    share.layered(LAYERED, (A, B))
    volumes = Volumes(files, share.engine)
    assert share.engine.info(share.files, share.names(LAYERED).base).type is DiskType.FIXED
    assert picture(volumes, share, LAYERED) == {"active": shown(2), A: shown(0), B: shown(1)}
    volumes.delete_snapshot(LAYERED, A)
    volumes.delete_snapshot(LAYERED, B)
    assert picture(volumes, share, LAYERED) == {"active": shown(2)}
    assert share.engine.info(share.files, share.names(LAYERED).base).type is DiskType.FIXED
    check_sound(share)


def test_a_document_that_names_a_file_that_is_gone_is_refused(share: WindowsShare, files: FileSystem) -> None:
    # The driver removed a merged file first, and wrote the document after it.
    volumes, names = Volumes(files, share.engine), share.names(LAYERED)
    share.files.remove(names.snapshot(C))
    before = {name: share.bytes_of(name) for name in share.files.list("")}
    with pytest.raises(Error, match=r"the active file .* is missing"):
        volumes.delete_snapshot(LAYERED, B)
    after = {name: share.bytes_of(name) for name in share.files.list("")}
    assert after == before
    volumes.delete(LAYERED)
    assert not [name for name in share.files.list("") if name.startswith(LAYERED)]


def test_a_document_that_was_cut_is_refused(share: WindowsShare, volumes: Volumes) -> None:
    # The driver wrote it in place, so a stop could leave the beginning only.
    names = share.names(LAYERED)
    text = share.bytes_of(names.info)
    with closing(share.files.open(names.info, Access.WRITE)) as storage:
        storage.truncate(len(text) // 2)
    with pytest.raises(Error, match="cannot be read"):
        volumes.chain(LAYERED)
    share.files.remove(names.info)
    share.put(names.info, text)
    assert picture(volumes, share, LAYERED) == {"active": ACTIVE, **SHOWN}


@pytest.mark.parametrize("address", ["//server/share", "//SERVER/Share", "\\\\server\\share", "//server/share/"])
def test_a_share_is_found_by_the_address_that_the_catalogue_has(
    share: WindowsShare, files: FileSystem, address: str
) -> None:
    backend = Backend([Share("server", "share", Credentials("cinder", "secret"))], lambda _: files)
    assert backend.active(address, LAYERED) == share.names(LAYERED).snapshot(C)
    assert backend.has_snapshot(address, LAYERED, A)
    assert backend.snapshots(address)[LAYERED] == [A, B, C]
    backend.clone(
        address, NEW, LAYERED, size=SIZE, onto="//server/share", shape=Shape(share.format), snapshot_id=B
    )
    assert content(share.files, share.names(NEW).base) == SHOWN[B]
    backend.delete_snapshot(address, LAYERED, B)
    backend.revert(address, LAYERED, C)
    assert content(share.files, backend.active(address, LAYERED)) == SHOWN[C]
    backend.delete(address, LAYERED)
    assert backend.recover(address, LAYERED) is False


@pytest.mark.skipif(not golden.manifest(), reason=f"no golden images in {golden.DIRECTORY}")
@pytest.mark.parametrize("name", [name for name, one in golden.manifest().items() if "Windows" in one["creator"]])
def test_a_disk_that_windows_wrote_is_taken_over(share_directory: Path, name: str) -> None:
    (share_directory / golden.unpack(name, share_directory)).rename(share_directory / f"{PLAIN}.vhdx")
    share = WindowsShare(LocalFileSystem(share_directory))
    volumes = Volumes(share.files, share.engine)

    def seen() -> str:
        with closing(share.engine.open_chain(share.files, volumes.active(PLAIN))) as chain:
            return golden.sparse_sha256(chain)

    before = seen()
    for snapshot in (A, B):
        volumes.create_snapshot(PLAIN, snapshot)
        share.write(volumes.active(PLAIN), {0: 0x5B})
        assert seen() != before
    volumes.revert(PLAIN, B)
    volumes.delete_snapshot(PLAIN, B)
    volumes.clone(NEW, PLAIN, volumes.size(PLAIN))
    volumes.revert(PLAIN, A)
    volumes.delete_snapshot(PLAIN, A)
    assert seen() == before
    assert volumes.chain(PLAIN) == [share.names(PLAIN).base]
    check_sound(share)


@pytest.mark.skipif(
    not (golden.DIRECTORY / WINDOWS_CHILD).exists(), reason=f"no {WINDOWS_CHILD} in {golden.DIRECTORY}"
)
@pytest.mark.parametrize("order", [(A, B), (B, A)], ids=["oldest first", "latest first"])
def test_a_layer_that_windows_wrote_is_taken_over(
    files: FileSystem, share_directory: Path, order: tuple[str, str]
) -> None:
    share = WindowsShare(LocalFileSystem(share_directory), DiskFormat.VHD)
    share.over_golden(PLAIN, A, share_directory)
    volumes = Volumes(files, share.engine)
    held, base = (content(share.files, path) for path in volumes.chain(PLAIN))
    differing = [sector for sector, byte in base.items() if held.get(sector, 0) != byte]
    assert 0 < len(differing) < len(base) - 1
    volumes.create_snapshot(PLAIN, B)
    share.write(volumes.active(PLAIN), {6000: 252})
    wanted = {"active": held | {6000: 252}, A: base, B: held}
    assert picture(volumes, share, PLAIN) == wanted
    for snapshot in order:
        volumes.delete_snapshot(PLAIN, snapshot)
        del wanted[snapshot]
        assert picture(volumes, share, PLAIN) == wanted
    check_sound(share)
