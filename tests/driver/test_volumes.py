"""What each operation on a volume leaves, with the engine of JSON images and the real one."""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from smbfs_driver.volumes import info
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.volumes import Volumes
from tests.driver.kits import OTHER, SIZE, VOLUME, A, B, Bench, C, telling_ids
from tests.support.memory import MemoryFile, MemoryFileSystem
from tests.support.wrappers import Operation, WatchedFileSystem
from vhdx.errors import Error, InUse
from vhdx.image.base import ImageFormat
from vhdx.storage.base import Access

BASE = f"{VOLUME}.vhdx"
INFO = f"{BASE}.info"


def put(bench: Bench, path: str, content: bytes = b"") -> None:
    with closing(bench.files.create(path)) as storage:
        storage.write([(0, content)])


def layers_on(files: MemoryFileSystem) -> Bench:
    """The same with the engine that holds what it has open."""
    return snapshots(Bench.on(files, "native"))


@pytest.fixture
def layered(bench: Bench) -> Bench:
    """A volume with snapshots A, B and C; sector n was last written before snapshot n, or after the last."""
    return snapshots(bench)


def snapshots(bench: Bench) -> Bench:
    """Make them."""
    bench.volumes.create(VOLUME, SIZE)
    bench.write(0, 1)
    for number, snapshot in enumerate((A, B, C), start=1):
        bench.volumes.create_snapshot(VOLUME, snapshot)
        bench.write(number, number + 1)
        bench.write(9, number + 1)
    return bench


def test_a_new_volume_is_one_empty_file(bench: Bench) -> None:
    bench.volumes.create(VOLUME, SIZE)
    assert bench.files.list("") == [BASE]
    assert bench.content() == {-1: SIZE}
    assert bench.volumes.active(VOLUME) == BASE
    assert bench.volumes.chain(VOLUME) == [BASE]


def test_snapshots_are_named_as_the_retired_driver_named_them(layered: Bench) -> None:
    files = {key: f"{VOLUME}.{key}.vhdx" for key in (A, B, C)}
    assert set(layered.files.list("")) == {BASE, INFO, *files.values()}
    assert info.read(layered.files, VolumeNames(VOLUME)) == info.Info(files[C], files)
    assert layered.volumes.chain(VOLUME) == [files[C], files[B], files[A], BASE]


def test_each_snapshot_keeps_what_was_there(layered: Bench) -> None:
    assert layered.at_snapshot(A) == {-1: SIZE, 0: 1}
    assert layered.at_snapshot(B) == {-1: SIZE, 0: 1, 1: 2, 9: 2}
    assert layered.at_snapshot(C) == {-1: SIZE, 0: 1, 1: 2, 2: 3, 9: 3}
    assert layered.content() == {-1: SIZE, 0: 1, 1: 2, 2: 3, 3: 4, 9: 4}


@pytest.mark.parametrize("order", [(A, B, C), (A, C, B), (B, A, C), (B, C, A), (C, A, B), (C, B, A)])
def test_snapshots_go_in_any_order_and_leave_the_rest_as_it_was(layered: Bench, order: tuple[str, ...]) -> None:
    expected = dict(layered.picture() or {})
    for snapshot in order:
        layered.volumes.delete_snapshot(VOLUME, snapshot)
        del expected[snapshot]
        assert layered.picture() == expected
        assert not layered.strays()
    assert layered.volumes.chain(VOLUME) == [BASE]
    assert info.read(layered.files, VolumeNames(VOLUME)) == info.Info(BASE, {})


def test_a_snapshot_follows_one_that_is_gone(layered: Bench) -> None:
    layered.volumes.delete_snapshot(VOLUME, C)
    before = layered.content()
    layered.volumes.create_snapshot(VOLUME, C)
    layered.write(5, 5)
    assert layered.at_snapshot(C) == before
    assert layered.content() == {**before, 5: 5}


def test_deleting_a_snapshot_that_is_not_there_changes_nothing(layered: Bench) -> None:
    before = layered.picture()
    layered.volumes.delete_snapshot(VOLUME, OTHER.removeprefix("volume-"))
    assert layered.picture() == before


@pytest.mark.parametrize("snapshot", [A, B, C])
def test_a_volume_from_a_snapshot_has_its_content_and_a_life_of_its_own(layered: Bench, snapshot: str) -> None:
    content, picture = layered.at_snapshot(snapshot), layered.picture()
    layered.volumes.create_from_snapshot(OTHER, VOLUME, snapshot, 2 * SIZE)
    assert layered.content(OTHER) == {**content, -1: 2 * SIZE}
    layered.write(4, 9, OTHER)
    assert layered.picture() == picture
    layered.volumes.delete(VOLUME)
    assert layered.files.list("") == [f"{OTHER}.vhdx"]
    assert layered.content(OTHER) == {**content, -1: 2 * SIZE, 4: 9}


def test_a_clone_may_go_to_another_share(layered: Bench, kit_name: str) -> None:
    elsewhere = Bench.on(MemoryFileSystem(), kit_name, start=1 << 16)
    layered.volumes.clone(OTHER, VOLUME, SIZE, target=elsewhere.volumes)
    assert elsewhere.content(OTHER) == layered.content()
    assert elsewhere.files.list("") == [f"{OTHER}.vhdx"]
    assert not layered.strays()


def test_only_the_active_file_grows(layered: Bench) -> None:
    before = layered.picture()
    assert before is not None
    layered.volumes.extend(VOLUME, 2 * SIZE)
    assert layered.picture() == {**before, "active": {**before["active"], -1: 2 * SIZE}}
    layered.volumes.extend(VOLUME, 2 * SIZE)
    for snapshot in (B, C, A):
        layered.volumes.delete_snapshot(VOLUME, snapshot)
    assert layered.picture() == {"active": {**before["active"], -1: 2 * SIZE}}


def test_revert_gives_back_the_latest_snapshot_with_its_size(layered: Bench) -> None:
    layered.volumes.extend(VOLUME, 2 * SIZE)
    layered.volumes.revert(VOLUME, C)
    assert layered.content() == layered.at_snapshot(C)
    assert not layered.strays()
    layered.write(7, 7)
    layered.volumes.revert(VOLUME, C)
    assert layered.content() == layered.at_snapshot(C)


def test_delete_removes_this_volume_and_nothing_else(layered: Bench) -> None:
    layered.volumes.create(OTHER, SIZE)
    others = [f"{OTHER}.vhdx", "readme.txt", f"{VOLUME}.vhdx.bak", f"{VOLUME}.x.vhdx", f"x{VOLUME}.vhdx"]
    ours = [f"{BASE}.0a1b2c3d.tmp", f"{INFO}.0a1b2c3d.tmp", f"{VOLUME}.{OTHER.removeprefix('volume-')}.vhdx"]
    for file in [*others[1:], *ours]:
        put(layered, file, b"?")
    layered.volumes.delete(VOLUME)
    assert layered.files.list("") == sorted(others)
    layered.volumes.delete(VOLUME)


BOTH_FORMATS = {
    "two bases": ["{}.vhd", "{}.vhdx"],
    "a base, and snapshots without one": ["{}.vhd", "{}." + A + ".vhdx"],
    "the other way round": ["{}.vhdx", "{}." + A + ".vhd", "{}.vhd.info"],
    "no base": ["{}.vhdx.info", "{}." + A + ".vhd"],
}


@pytest.mark.parametrize("left", BOTH_FORMATS)
@pytest.mark.parametrize("running", [None, *DiskFormat])
def test_delete_removes_files_of_both_formats_or_none(bench: Bench, left: str, running: DiskFormat | None) -> None:
    files = [name.format(VOLUME) for name in BOTH_FORMATS[left]]
    for file in files:
        put(bench, file, b"?")
    if running is None:
        bench.volumes.delete(VOLUME)
        assert bench.files.list("") == []
        return
    with closing(bench.files.create(VolumeNames(VOLUME, running).intent)), pytest.raises(InUse):
        bench.volumes.delete(VOLUME)
    assert set(files) <= set(bench.files.list(""))


@pytest.mark.parametrize("victim", [BASE, f"{VOLUME}.{B}.vhdx", f"{VOLUME}.{C}.vhdx"])
def test_a_volume_whose_chain_is_broken_can_still_be_deleted(layered: Bench, victim: str) -> None:
    layered.files.remove(victim)
    layered.volumes.delete(VOLUME)
    assert layered.files.list("") == []


Act = Callable[[Bench], object]
NONSENSE: dict[str, tuple[Act, str]] = {
    "a volume that exists": (lambda b: b.volumes.create(VOLUME, SIZE), "delete that volume first"),
    "no bytes": (lambda b: b.volumes.create(OTHER, 0), "invalid size 0"),
    "half a sector": (lambda b: b.volumes.create(OTHER, 700), "multiple of 512"),
    "a name with a path": (lambda b: b.volumes.create("../x", SIZE), "invalid volume name"),
    "an unknown volume": (lambda b: b.volumes.extend(OTHER, SIZE), "no such volume"),
    "an unknown source": (lambda b: b.volumes.clone(OTHER, "nothing", SIZE), "no such volume"),
    "shrinking": (lambda b: b.volumes.extend(VOLUME, SIZE - 512), "cannot shrink"),
    "growing by half a sector": (lambda b: b.volumes.extend(VOLUME, SIZE + 256), "multiple of 512"),
    "too small a clone": (lambda b: b.volumes.clone(OTHER, VOLUME, 512), "cannot shrink"),
    "a clone over itself": (lambda b: b.volumes.clone(VOLUME, VOLUME, SIZE), "delete that volume first"),
    "a snapshot that exists": (lambda b: b.volumes.create_snapshot(VOLUME, A), "already"),
    "no snapshot id": (lambda b: b.volumes.create_snapshot(VOLUME, "../x"), "invalid snapshot id"),
    "an unknown snapshot": (lambda b: b.volumes.create_from_snapshot(OTHER, VOLUME, VOLUME[7:], SIZE), "such snapshot"),
    "reverting to an old snapshot": (lambda b: b.volumes.revert(VOLUME, A), "not the latest"),
    "reverting to an unknown snapshot": (lambda b: b.volumes.revert(VOLUME, VOLUME[7:]), "no such snapshot"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_and_changes_nothing(layered: Bench, case: str) -> None:
    act, message = NONSENSE[case]
    before, files = layered.picture(), layered.files.list("")
    with pytest.raises(Error, match=message):
        act(layered)
    assert layered.picture() == before
    assert layered.files.list("") == files


CHANGES: dict[str, Act] = {
    "create_snapshot": lambda b: b.volumes.create_snapshot(VOLUME, VOLUME[7:]),
    "delete_snapshot": lambda b: b.volumes.delete_snapshot(VOLUME, C),
    "extend": lambda b: b.volumes.extend(VOLUME, 2 * SIZE),
    "revert": lambda b: b.volumes.revert(VOLUME, C),
    "clone": lambda b: b.volumes.clone(OTHER, VOLUME, SIZE),
    "delete": lambda b: b.volumes.delete(VOLUME),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_volume_in_use_is_left_as_it_is(layered: Bench, case: str) -> None:
    before, files = layered.picture(), layered.files.list("")
    with (
        closing(layered.files.open(layered.volumes.active(VOLUME), Access.WRITE)),
        pytest.raises(InUse, match=layered.volumes.active(VOLUME)),
    ):
        CHANGES[case](layered)
    assert layered.picture() == before
    assert layered.files.list("") == files


@pytest.mark.parametrize("case", ["delete_snapshot", "revert", "delete"])
def test_a_volume_that_is_being_read_keeps_what_is_read(layered: Bench, case: str) -> None:
    files = layered.files.list("")
    with closing(layered.files.open(layered.volumes.active(VOLUME), Access.READ)), pytest.raises(InUse):
        CHANGES[case](layered)
    assert layered.files.list("") == files
    layered.volumes.clone(OTHER, VOLUME, SIZE)


@pytest.mark.parametrize("case", CHANGES)
def test_a_volume_that_somebody_else_works_on_is_left_as_it_is(layered: Bench, case: str) -> None:
    before, files = layered.picture(), layered.files.list("")
    intent = layered.files.create(f"{BASE}.intent")
    with closing(intent), pytest.raises(InUse):
        CHANGES[case](layered)
    assert layered.volumes.recover().settled == [VOLUME]
    assert layered.picture() == before
    assert layered.files.list("") == files


@pytest.mark.parametrize("case", sorted(CHANGES.keys() - {"delete"}))
def test_a_chain_that_leaves_the_volume_is_refused(bench: Bench, case: str) -> None:
    bench.volumes.create(OTHER, SIZE)
    alien = f"{VOLUME}.{C}.vhdx"
    bench.volumes.create(VOLUME, SIZE)
    bench.kit.engine.create_child(bench.files, alien, f"{OTHER}.vhdx", parent_format=ImageFormat.VHDX)
    info.write(bench.files, VolumeNames(VOLUME), info.Info(alien, {C: alien}), "0a1b2c3d")
    before, files = bench.content(OTHER), bench.files.list("")
    with pytest.raises(Error, match="not a file of this volume"):
        CHANGES[case](bench)
    assert bench.content(OTHER) == before
    assert bench.files.list("") == files


def test_a_snapshot_file_that_is_gone_is_named(layered: Bench) -> None:
    layered.files.remove(f"{VOLUME}.{C}.vhdx")
    with pytest.raises(Error, match=f"{C}.vhdx: the active file .* is missing"):
        layered.volumes.delete_snapshot(VOLUME, A)


def test_a_parent_that_is_gone_is_named(layered: Bench) -> None:
    layered.files.remove(f"{VOLUME}.{B}.vhdx")
    files = layered.files.list("")
    with pytest.raises(Error, match=f"{B}.vhdx"):
        layered.volumes.delete_snapshot(VOLUME, A)
    assert layered.files.list("") == files


def test_a_parent_that_changed_is_refused(layered: Bench) -> None:
    layered.kit.write(layered.files, BASE, 3, 3)
    files = layered.files.list("")
    with pytest.raises(Error, match=BASE):
        layered.volumes.delete_snapshot(VOLUME, C)
    assert layered.files.list("") == files


def test_a_volume_may_be_snapshotted_while_it_is_cloned(layered: Bench) -> None:
    def meanwhile(operation: Operation) -> None:
        if (operation.kind, operation.name) == ("create", f"{OTHER}.vhdx.intent"):
            layered.volumes.create_snapshot(VOLUME, VOLUME[7:])

    files, content = WatchedFileSystem(layered.files, meanwhile), layered.content()
    Volumes(files, layered.kit.engine, telling_ids(1 << 16)).clone(OTHER, VOLUME, SIZE)
    assert layered.content(OTHER) == content
    assert layered.at_snapshot(VOLUME[7:]) == content


def test_a_snapshot_stays_while_it_is_copied() -> None:
    layered = layers_on(MemoryFileSystem())
    expected, refused = layered.at_snapshot(A), []

    def meanwhile(operation: Operation) -> None:
        if (operation.kind, operation.name) == ("create", f"{OTHER}.vhdx.intent"):
            with pytest.raises(InUse):
                layered.volumes.delete_snapshot(VOLUME, A)
            refused.append(operation)

    files = WatchedFileSystem(layered.files, meanwhile)
    engine = layered.kit.engine
    Volumes(files, engine, telling_ids(1 << 16)).create_from_snapshot(OTHER, VOLUME, A, SIZE)
    assert refused
    assert layered.content(OTHER) == expected
    assert not layered.strays()


def test_a_snapshot_whose_deletion_was_stopped_just_now_is_not_copied() -> None:
    layered = layers_on(MemoryFileSystem())

    def meanwhile(operation: Operation) -> None:
        if (operation.kind, operation.name) == ("open", BASE):
            with suppress(FileExistsError):
                layered.files.create(f"{BASE}.intent").close()

    files = WatchedFileSystem(layered.files, meanwhile)
    with pytest.raises(InUse, match="was changed concurrently"):
        Volumes(files, layered.kit.engine, telling_ids(1 << 16)).create_from_snapshot(OTHER, VOLUME, A, SIZE)
    assert not [file for file in layered.files.list("") if file.startswith(OTHER)]


def test_a_snapshot_is_not_merged_into_a_file_that_has_other_names(
    layered: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup made of hard links would change; said before anything has begun, so nothing is left to recover."""
    before, base = layered.picture(), layered.files.stat(BASE).identity
    status = MemoryFile.status
    monkeypatch.setattr(
        MemoryFile, "status", lambda file: replace(status(file), links=1 + (file.identity == base))
    )
    with pytest.raises(Error, match="2 hard links"):
        layered.volumes.delete_snapshot(VOLUME, A)
    assert layered.picture() == before
    assert not layered.strays()
