"""Volumes that change their share or their shape: stopped anywhere, there is one of each, and it is whole."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from smbfs_driver.volumes import moving
from smbfs_driver.volumes.moving import Destination
from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from smbfs_driver.volumes.shape import DYNAMIC_VHDX, Shape
from smbfs_driver.volumes.steps import MoveStopped
from smbfs_driver.volumes.volumes import Volumes
from tests.driver.kits import SIZE, VOLUME, A, telling_ids
from tests.support.crash import crash_states
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.errors import Error, InUse
from vhdx.image.base import DiskType
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import NativeEngine

GROUP = "//server/first", "//server/second"
OWNER = "the volume's id"
CONTENT = b"once written, never lost".ljust(512)
VHD, FIXED, FIXED_VHD = Shape(DiskFormat.VHD), Shape(fixed=True), Shape(DiskFormat.VHD, fixed=True)


def volumes_on(files: FileSystem, start: int) -> Volumes:
    ids = telling_ids(start)
    return Volumes(files, NativeEngine(ids), ids)


class Two:
    """Two shares, a volume on the first one, and what the catalogue says of its place."""

    def __init__(self, shape: Shape = DYNAMIC_VHDX, size: int = SIZE) -> None:
        self.size = size
        self.shares = MemoryFileSystem(), MemoryFileSystem()
        first = volumes_on(self.shares[0], 1)
        first.create(VOLUME, size, shape)
        engine = NativeEngine()
        with closing(engine.open_chain(self.shares[0], first.active(VOLUME), writable=1)) as chain:
            chain.write(0, CONTENT)
        self.place = GROUP[0]

    def move(self, watch: Fault | None = None, shape: Shape = DYNAMIC_VHDX) -> None:
        files = [WatchedFileSystem(share, watch) if watch else share for share in self.shares]
        first, second = (volumes_on(share, start << 16).shelf for start, share in enumerate(files, start=1))

        def entered() -> None:
            self.place = GROUP[1]

        moving.move(first, VOLUME, Destination(GROUP[1], second), owner=OWNER, shape=shape, entered=entered)

    def settle(self) -> None:
        """What a driver does that starts again: recover each share, and ask the catalogue where that cannot know."""
        first, second = (volumes_on(share, start << 20) for start, share in enumerate(self.shares, start=1))
        assert not second.recover().failed
        for failure in first.recover().failed.values():
            assert isinstance(failure, MoveStopped)
            assert (failure.owner, failure.destination, failure.volume) == (OWNER, GROUP[1], VOLUME)
            home = None if self.place == GROUP[0] else second.shelf
            assert moving.settle(first.shelf, VOLUME, home, {GROUP[1]: second.shelf}.__getitem__)

    def check(self) -> None:
        """One volume, where the catalogue says, with its content; no other file anywhere."""
        here, elsewhere = self.shares if self.place == GROUP[0] else reversed(self.shares)
        assert elsewhere.list("") == []
        assert content(here, self.size) == CONTENT
        assert len(here.list("")) == 1


def content(files: FileSystem, size: int = SIZE) -> bytes:
    engine, volumes = NativeEngine(), volumes_on(files, 1 << 24)
    assert not [finding for finding in engine.check(files, volumes.active(VOLUME)) if finding.severity.value == "error"]
    with closing(engine.open_chain(files, volumes.active(VOLUME))) as chain:
        assert chain.size == size
        return chain.read(0, 512)


@pytest.mark.parametrize("shape", [DYNAMIC_VHDX, VHD, FIXED], ids=["as it is", "to VHD", "to fixed"])
def test_a_moved_volume_is_there_and_nowhere_else(shape: Shape) -> None:
    two = Two()
    two.move(shape=shape)
    assert two.place == GROUP[1]
    two.check()
    assert moving.kept(volumes_on(two.shares[1], 9).shelf, VOLUME).shape == shape


@pytest.mark.parametrize("change", ["as it is", "to VHD", "on the other share"])
def test_a_volume_that_becomes_thin_gives_back_what_it_does_not_hold(change: str) -> None:
    two = Two(FIXED, size=64 << 20)
    shelf = volumes_on(two.shares[0], 3).shelf
    if change == "on the other share":
        two.move()
        shelf = volumes_on(two.shares[1], 4).shelf
    else:
        moving.reshape(shelf, VOLUME, VHD if change == "to VHD" else DYNAMIC_VHDX)
    assert shelf.site.files.stat(shelf.find(VOLUME).base).size < 40 << 20
    two.check()


@pytest.mark.parametrize("lasting", [True, False], ids=["the process dies", "one call fails"])
@pytest.mark.parametrize("shape", [DYNAMIC_VHDX, VHD], ids=["as it is", "to VHD"])
def test_a_move_stopped_at_each_call_leaves_the_volume_where_the_catalogue_says(shape: Shape, lasting: bool) -> None:
    places = []
    for at in range(10_000):
        two, watch = Two(), Fault(at, ConnectionError("stopped"), lasting)
        try:
            two.move(watch, shape)
        except OSError:
            assert watch.fired
        two.settle()
        two.check()
        places.append(two.place)
        if not watch.fired:
            break
    assert (places[0], places[-1]) == GROUP


def test_the_settling_of_a_move_may_be_stopped_anywhere() -> None:
    for at in range(0, 10_000, 2):
        two, watch = Two(), Fault(at, ConnectionError("stopped"), lasting=True)
        try:
            two.move(watch)
        except OSError:
            assert watch.fired
        left = two.shares
        for again in range(10_000):
            plain = MemoryFileSystem(left[0].snapshot()), MemoryFileSystem(left[1].snapshot())
            stop = Fault(again, ConnectionError("stopped"), lasting=True)
            two.shares = WatchedFileSystem(plain[0], stop), WatchedFileSystem(plain[1], stop)  # type: ignore[assignment]
            try:
                two.settle()
            except OSError:
                assert stop.fired
            except AssertionError:
                # The second share's own recovery was what was stopped.
                assert stop.fired
            two.shares = plain
            two.settle()
            two.check()
            if not stop.fired:
                break
        if not watch.fired:
            return
    pytest.fail("it never ended")


def test_a_catalogue_that_cannot_be_told_leaves_both_until_it_is_asked() -> None:
    two = Two()
    first, second = (volumes_on(share, start << 16).shelf for start, share in enumerate(two.shares, start=1))

    def entered() -> None:
        raise ConnectionError("the database is gone")

    with pytest.raises(ConnectionError, match="database"):
        moving.move(first, VOLUME, Destination(GROUP[1], second), owner=OWNER, shape=DYNAMIC_VHDX, entered=entered)
    assert content(two.shares[1]) == CONTENT
    for refused in (
        lambda: volumes_on(two.shares[0], 5).extend(VOLUME, 2 * SIZE),
        lambda: volumes_on(two.shares[0], 5).delete(VOLUME),
        lambda: volumes_on(two.shares[0], 5).active(VOLUME),
    ):
        with pytest.raises(MoveStopped, match="its move to //server/second was interrupted"):
            refused()
    two.place = GROUP[1]
    two.settle()
    two.check()


def test_nothing_is_removed_before_what_stays_was_looked_at() -> None:
    two = Two()
    first, second = (volumes_on(share, start << 16).shelf for start, share in enumerate(two.shares, start=1))

    def entered() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        moving.move(first, VOLUME, Destination(GROUP[1], second), owner=OWNER, shape=DYNAMIC_VHDX, entered=entered)
    two.shares[1].remove(VolumeNames(VOLUME).base)
    with pytest.raises(Error, match="no such volume"):
        moving.settle(first, VOLUME, second, {GROUP[1]: second}.__getitem__)
    moving.settle(first, VOLUME, None, {GROUP[1]: second}.__getitem__)
    two.check()


def test_what_a_stopped_move_left_goes_also_when_the_volume_has_moved_on() -> None:
    two = Two()
    third = MemoryFileSystem()
    first, second, last = (volumes_on(share, at << 16).shelf for at, share in enumerate((*two.shares, third), start=1))

    def stopped() -> None:
        raise ConnectionError("the process dies after the catalogue was told")

    with pytest.raises(ConnectionError):
        moving.move(first, VOLUME, Destination(GROUP[1], second), owner=OWNER, shape=DYNAMIC_VHDX, entered=stopped)
    onto = Destination("//server/third", last)
    moving.move(second, VOLUME, onto, owner=OWNER, shape=DYNAMIC_VHDX, entered=lambda: None)
    assert moving.settle(first, VOLUME, last, {GROUP[1]: second, onto.address: last}.__getitem__)
    assert [share.list("") for share in (*two.shares, third)] == [[], [], [VolumeNames(VOLUME).base]]
    assert content(third) == CONTENT


@pytest.mark.parametrize("shape", [DYNAMIC_VHDX, VHD], ids=["as it is", "to VHD"])
@pytest.mark.parametrize("lasting", [True, False], ids=["the process dies", "one call fails"])
def test_a_share_under_two_names_is_no_other_share(shape: Shape, lasting: bool) -> None:
    for at in range(10_000):
        two, watch = Two(), Fault(at, ConnectionError("stopped"), lasting)
        files = WatchedFileSystem(two.shares[0], watch)
        here, there = (volumes_on(files, start << 16).shelf for start in (1, 2))
        with pytest.raises((Error, OSError)):
            moving.move(here, VOLUME, Destination(GROUP[1], there), owner=OWNER, shape=shape, entered=pytest.fail)
        again = volumes_on(two.shares[0], 3 << 16)
        for failure in again.recover().failed.values():
            assert isinstance(failure, MoveStopped)
            moving.settle(again.shelf, VOLUME, None, {GROUP[1]: again.shelf}.__getitem__)
        two.check()
        if not watch.fired:
            return


def test_a_volume_is_not_moved_over_another_one() -> None:
    two = Two()
    volumes_on(two.shares[1], 2).create(VOLUME, SIZE)
    before = two.shares[1].snapshot()
    with pytest.raises(Error, match="delete that volume first"):
        two.move()
    assert two.shares[1].snapshot().keys() == before.keys()
    assert two.shares[0].list("") == [VolumeNames(VOLUME).base]
    assert content(two.shares[0]) == CONTENT


def test_a_volume_that_is_open_or_has_snapshots_stays() -> None:
    two = Two()
    with closing(two.shares[0].open(VolumeNames(VOLUME).base, Access.WRITE)), pytest.raises(InUse):
        two.move()
    two.check()
    first = volumes_on(two.shares[0], 7)
    first.create_snapshot(VOLUME, A)
    with pytest.raises(Error, match="has snapshots"):
        two.move()
    with pytest.raises(Error, match="has snapshots"):
        moving.reshape(first.shelf, VOLUME, VHD)
    assert two.shares[1].list("") == []
    assert moving.kept(first.shelf, VOLUME) == moving.Kept(DYNAMIC_VHDX, has_snapshots=True)
    with pytest.raises(InUse, match="running"), first.shelf.operation(VOLUME):
        two.move()


CHANGES = {
    "to VHD": (DYNAMIC_VHDX, VHD),
    "to VHDX": (VHD, DYNAMIC_VHDX),
    "to fixed": (DYNAMIC_VHDX, FIXED),
    "to dynamic": (FIXED, DYNAMIC_VHDX),
    "to fixed VHD": (DYNAMIC_VHDX, FIXED_VHD),
}


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest) -> Iterator[tuple[Shape, Shape]]:
    yield CHANGES[request.param]


def test_a_reshaped_volume_has_its_content_and_one_file(change: tuple[Shape, Shape]) -> None:
    two = Two(change[0])
    shelf = volumes_on(two.shares[0], 3).shelf
    moving.reshape(shelf, VOLUME, change[1])
    assert moving.kept(shelf, VOLUME) == moving.Kept(change[1], has_snapshots=False)
    kind = shelf.site.engine.info(two.shares[0], shelf.find(VOLUME).base).type
    assert (kind is DiskType.FIXED) == change[1].fixed
    two.check()


def test_a_reshaping_stopped_at_each_call_is_done_or_never_was(change: tuple[Shape, Shape]) -> None:
    found = set()
    for at in range(10_000):
        two, watch = Two(change[0]), Fault(at, ConnectionError("stopped"), lasting=True)
        try:
            moving.reshape(volumes_on(WatchedFileSystem(two.shares[0], watch), 3).shelf, VOLUME, change[1])
        except OSError:
            assert watch.fired
        assert not volumes_on(two.shares[0], 1 << 18).recover().failed
        two.check()
        found.add(moving.kept(volumes_on(two.shares[0], 1 << 18).shelf, VOLUME).shape)
        if not watch.fired:
            break
    assert found == set(change)


@pytest.mark.parametrize("change", ["to VHD", "to dynamic"], indirect=True)
def test_a_reshaping_is_done_or_never_was_whatever_survives_a_crash(change: tuple[Shape, Shape]) -> None:
    two = Two(change[0])
    recorder = RecordingFileSystem(two.shares[0])
    moving.reshape(volumes_on(recorder, 3).shelf, VOLUME, change[1])
    for state in crash_states(recorder, samples=200, seed=3):
        two.shares = state.files, MemoryFileSystem()
        assert not volumes_on(state.files, 1 << 18).recover().failed, state.description
        two.check()


@pytest.mark.parametrize("operation", ["extend", "delete", "snapshot"])
def test_the_next_operation_settles_a_reshaping(operation: str) -> None:
    for at in range(10_000):
        two, watch = Two(), Fault(at, ConnectionError("stopped"), lasting=True)
        try:
            moving.reshape(volumes_on(WatchedFileSystem(two.shares[0], watch), 3).shelf, VOLUME, VHD)
        except OSError:
            assert watch.fired
        volumes = volumes_on(two.shares[0], 1 << 18)
        if operation == "delete":
            volumes.delete(VOLUME)
            assert two.shares[0].list("") == []
        elif operation == "extend":
            volumes.extend(VOLUME, 2 * SIZE)
            assert volumes.size(VOLUME) == 2 * SIZE
        else:
            volumes.create_snapshot(VOLUME, A)
            assert content(two.shares[0]) == CONTENT
        if not watch.fired:
            return
    pytest.fail("it never ended")
