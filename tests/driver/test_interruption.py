"""Every operation, stopped at each call to the storage: the volume's content is right and no file is left over."""

from uuid import UUID

import pytest

from smbfs_driver.volumes.names import VolumeNames
from tests.driver.kits import KITS, VOLUME, A, Bench, C
from tests.driver.scenarios import SCENARIOS, check_settled, outcomes, pictures, prepared
from tests.support.choice import Points, points
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, Operation, WatchedFileSystem
from vhdx.errors import Error, OutOfSpace

D = str(UUID(int=13))
LOOKS = frozenset({"open", "read", "stat", "list", "size"})
CHANGES = Fault(0, OSError()).kinds


def fault(at: int, kit_name: str, *, lasting: bool) -> Fault:
    # The real engine makes some hundred reads in each operation, which change nothing; they are left to the fake.
    return Fault(at, ConnectionError("stopped"), lasting, CHANGES | LOOKS if kit_name == "fake" else CHANGES)


def stopped(files: MemoryFileSystem, kit_name: str, case: str, watch: Fault) -> None:
    """Run the operation into *watch*; it must not claim to have succeeded, except by luck at its very end."""
    bench = Bench.on(WatchedFileSystem(files, watch), kit_name, start=1 << 16)
    try:
        SCENARIOS[case].operate(bench)
    except OSError:
        assert watch.fired
    else:
        # What only looks whether there is something to do may be lost without harm.
        assert not watch.fired or not watch.lasting


@pytest.mark.parametrize("which", points(3))
@pytest.mark.parametrize("lasting", [True, False], ids=["the process dies", "one call fails"])
@pytest.mark.parametrize("case", SCENARIOS)
def test_stopped_at_each_call_an_operation_is_done_or_never_was(
    kit_name: str, case: str, lasting: bool, which: Points
) -> None:
    found = []
    for at in which:
        files, watch = prepared(kit_name, case), fault(at, kit_name, lasting=lasting)
        stopped(files, kit_name, case, watch)
        found.append(check_settled(files, kit_name, case, f"{case} stopped at call {at}"))
        if not watch.fired:
            break
    before, after = outcomes(kit_name, case)
    assert (found[0], found[-1]) == (before, after)


@pytest.mark.parametrize("which", points(4))
@pytest.mark.parametrize("case", ["delete latest", "delete oldest", "third snapshot", "delete"])
def test_recovery_itself_may_be_stopped_anywhere(case: str, which: Points) -> None:
    for at in range(0, 10_000, 3):
        files, watch = prepared("fake", case), fault(at, "fake", lasting=True)
        stopped(files, "fake", case, watch)
        for again in which:
            second = MemoryFileSystem(files.snapshot())
            recovery = fault(again, "fake", lasting=True)
            bench = Bench.on(WatchedFileSystem(second, recovery), "fake", start=1 << 18)
            try:
                bench.volumes.recover()
            except OSError:
                assert recovery.fired
            check_settled(second, "fake", case, f"{case} stopped at {at}, its recovery at {again}")
            if not recovery.fired:
                break
        if not watch.fired:
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("case", ["delete latest", "delete oldest", "third snapshot", "extend", "revert"])
def test_the_next_operation_settles_the_one_before(kit_name: str, case: str) -> None:
    total = fault(1 << 30, kit_name, lasting=True)
    stopped(prepared(kit_name, case), kit_name, case, total)
    for at in range(0, total.seen, max(total.seen // 12, 1)):
        files = prepared(kit_name, case)
        stopped(files, kit_name, case, fault(at, kit_name, lasting=True))
        bench = Bench.on(files, kit_name, start=1 << 20)
        content = bench.content()
        assert content in [before_or_after[0]["active"] for before_or_after in outcomes(kit_name, case)]  # type: ignore[index]
        bench.volumes.create_snapshot(VOLUME, VOLUME[7:])
        bench.write(15, 77)
        assert bench.at_snapshot(VOLUME[7:]) == content
        assert not bench.volumes.recover().failed
        assert bench.strays() == set()


@pytest.mark.parametrize("which", points(3))
@pytest.mark.parametrize("case", SCENARIOS)
def test_on_a_full_share_an_operation_is_refused_and_leaves_nothing(kit_name: str, case: str, which: Points) -> None:
    """Every call that could need space fails from one on; the process lives and has to tidy up by itself."""
    needing = frozenset({"create", "write", "copy", "reserve"})
    for at in which:
        files = prepared(kit_name, case)
        watch = Fault(at, OutOfSpace("full"), lasting=True, kinds=needing)
        try:
            SCENARIOS[case].operate(Bench.on(WatchedFileSystem(files, watch), kit_name, start=1 << 16))
        except Error:
            if not case.startswith("delete"):  # half of what was to go may be gone, so that waits for space
                bench = Bench.on(files, kit_name)
                assert bench.strays() == set()
                assert pictures(bench) in outcomes(kit_name, case)
        check_settled(files, kit_name, case, f"{case}, full at {at}")
        if not watch.fired:
            return


@pytest.mark.parametrize("kit_name", sorted(KITS))
def test_a_volume_on_a_full_share_can_be_deleted(kit_name: str) -> None:
    files = prepared(kit_name, "delete")
    full = Fault(0, OutOfSpace("full"), lasting=True, kinds=frozenset({"write", "copy", "reserve"}))
    Bench.on(WatchedFileSystem(files, full), kit_name).volumes.delete(VOLUME)
    assert full.fired
    assert files.list("") == []


def test_an_operation_that_cannot_be_finished_does_not_keep_the_volume_from_being_deleted() -> None:
    files = prepared("fake", "delete oldest")
    merging = Fault(4, ConnectionError("stopped"), lasting=True, kinds=frozenset({"write"}))
    with pytest.raises(ConnectionError):
        SCENARIOS["delete oldest"].operate(Bench.on(WatchedFileSystem(files, merging), "fake", start=1 << 16))
    bench = Bench.on(files, "fake", start=1 << 20)
    files.remove(f"{VOLUME}.{A}.vhdx")
    report = bench.volumes.recover()
    assert list(report.failed) == [VOLUME]
    with pytest.raises(Error):
        bench.volumes.extend(VOLUME, 1 << 20)
    bench.volumes.delete(VOLUME)
    assert files.list("") == []


@pytest.mark.parametrize("at", range(0, 60, 8))
def test_what_was_settled_may_be_changed_before_the_volume_is_held(kit_name: str, at: int) -> None:
    """Whoever finishes what was stopped looks anew at a volume that somebody else had in between."""
    files = prepared(kit_name, "delete oldest")
    stopped(files, kit_name, "delete oldest", fault(at, kit_name, lasting=True))
    other = Bench.on(files, kit_name, start=1 << 19)
    made = 0

    def come_between(operation: Operation) -> None:
        nonlocal made
        if operation.kind == "create" and operation.name.endswith(VolumeNames(VOLUME).intent):
            made += 1
            if made == 2:
                other.volumes.create_snapshot(VOLUME, D)
                other.write(5, 5)

    bench = Bench.on(WatchedFileSystem(files, come_between), kit_name, start=1 << 18)
    bench.volumes.create_snapshot(VOLUME, C)
    settled = Bench.on(files, kit_name, start=1 << 20)
    assert settled.volumes.has_snapshot(VOLUME, C)
    if made > 1:
        assert settled.volumes.has_snapshot(VOLUME, D)
        assert settled.content()[5] == 5
