"""Intents: what is torn was not begun, what is held is left alone, and temporaries go with the intent."""

import hashlib
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs_driver.volumes import journal
from smbfs_driver.volumes.journal import Outcome
from smbfs_driver.volumes.names import VolumeNames
from smbfs_driver.volumes.plans import Plan
from smbfs_driver.volumes.steps import Discard, Merge, Relink, Remove, Site, Step, WriteInfo
from tests.driver.kits import OTHER, SIZE, VOLUME, A, B, Bench, fake_kit, telling_ids
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Operation, WatchedFileSystem
from vhdx.errors import Error, InUse
from vhdx.storage.base import Access, FileSystem

NAMES = VolumeNames(VOLUME)
STRAY = f"{NAMES.base}.0a1b2c3d.tmp"
STEPS: list[Step] = [
    Merge(NAMES.snapshot(A), NAMES.base),
    Relink(NAMES.snapshot(B), NAMES.base),
    WriteInfo({"active": NAMES.snapshot(B), B: NAMES.snapshot(B)}),
    Discard(NAMES.snapshot(A)),
    Remove(NAMES.info),
]


def put(files: FileSystem, path: str, content: bytes = b"") -> None:
    with closing(files.create(path)) as storage:
        storage.write([(0, content)])


def site_on(files: FileSystem, start: int = 1) -> Site:
    ids = telling_ids(start)
    return Site(files, fake_kit(ids).engine, ids)


def test_an_intent_is_read_back() -> None:
    assert journal.load(journal.dump(STEPS), NAMES, "here") == STEPS


@given(st.integers(min_value=0, max_value=len(journal.dump(STEPS)) - 1))
def test_a_cut_intent_was_not_begun(length: int) -> None:
    assert journal.load(journal.dump(STEPS)[:length], NAMES, "here") == []


@given(st.integers(min_value=0, max_value=len(journal.dump(STEPS)) - 1), st.integers(min_value=1, max_value=255))
def test_an_intent_with_one_wrong_byte_was_not_begun(place: int, change: int) -> None:
    text = bytearray(journal.dump(STEPS))
    text[place] ^= change
    assert journal.load(bytes(text), NAMES, "here") == []


@given(st.binary(max_size=200))
def test_any_bytes_are_no_intent(text: bytes) -> None:
    assert journal.load(text, NAMES, "here") == []


def test_an_intent_of_another_volume_is_refused_and_kept() -> None:
    files = MemoryFileSystem()
    put(files, f"{OTHER}.vhdx.intent", journal.dump(STEPS))
    report = journal.recover(site_on(files))
    assert list(report.failed) == [OTHER]
    refused = str(report.failed[OTHER])
    assert "is not a file of volume" in refused or "not an image of volume" in refused
    assert files.list("") == [f"{OTHER}.vhdx.intent"]


def test_an_intent_of_another_version_is_kept() -> None:
    text = journal.dump(STEPS).partition(b"\n")[0].replace(b'"version": 1', b'"version": 2')
    files = MemoryFileSystem()
    put(files, NAMES.intent, text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n")
    report = journal.recover(site_on(files))
    assert "another version" in str(report.failed[VOLUME])
    assert files.list("") == [NAMES.intent]


def test_an_operation_excludes_others_on_its_volume_only() -> None:
    site = site_on(MemoryFileSystem())
    with journal.operation(NAMES, site):
        with pytest.raises(InUse, match="another operation"), journal.operation(NAMES, site):
            pytest.fail("two at a time")
        with journal.operation(VolumeNames(OTHER), site):
            assert journal.settle(NAMES, site) is Outcome.RUNNING
    assert site.files.list("") == []


def test_recovery_leaves_a_running_operation_and_its_temporaries_alone() -> None:
    site = site_on(MemoryFileSystem())
    put(site.files, f"{OTHER}.vhdx.0a1b2c3d.tmp")
    with journal.operation(NAMES, site) as held:
        put(site.files, STRAY)
        report = journal.recover(site)
        assert report.running == [VOLUME]
        assert report.removed == [f"{OTHER}.vhdx.0a1b2c3d.tmp"]
        assert site.files.list("") == [STRAY, NAMES.intent]
        held.run(Plan([Remove(STRAY)]))
    assert site.files.list("") == []


def test_a_temporary_that_somebody_holds_stays() -> None:
    site = site_on(MemoryFileSystem())
    with closing(site.files.create(STRAY)):
        assert journal.recover(site).removed == []
    assert journal.recover(site).removed == [STRAY]


@pytest.mark.parametrize("content", [b"", journal.dump(STEPS)[:-1]], ids=["empty", "torn"])
def test_what_was_not_begun_leaves_only_temporaries_to_remove(content: bytes) -> None:
    bench = Bench.on(MemoryFileSystem(), "fake")
    bench.volumes.create(VOLUME, SIZE)
    for file in (STRAY, f"{NAMES.info}.0a1b2c3d.tmp", f"{NAMES.snapshot(A)}.0a1b2c3d.tmp", "other.tmp"):
        put(bench.files, file)
    put(bench.files, NAMES.intent, content)
    report = bench.volumes.recover()
    assert (report.settled, report.running, report.failed) == ([VOLUME], [], {})
    assert bench.files.list("") == ["other.tmp", NAMES.base]


def test_the_next_operation_removes_the_temporaries_of_one_that_was_stopped() -> None:
    files = MemoryFileSystem()
    put(files, STRAY)
    put(files, NAMES.intent)
    with journal.operation(NAMES, site_on(files)):
        assert files.list("") == [NAMES.intent]


def test_an_operation_that_begins_during_recovery_keeps_its_temporaries() -> None:
    """Recovery has listed a dead operation's temporary; before it looks at the intent, a new operation begins."""
    inner = MemoryFileSystem()
    put(inner, STRAY)
    put(inner, NAMES.intent)
    begun = journal.operation(NAMES, site_on(inner, 1 << 16))

    def meanwhile(operation: Operation) -> None:
        if (operation.kind, operation.name) == ("open", NAMES.intent) and not inner.list("")[0].endswith("ffff.tmp"):
            begun.__enter__()
            put(inner, f"{NAMES.base}.0000ffff.tmp")

    report = journal.recover(site_on(WatchedFileSystem(inner, meanwhile)))
    assert report.running == [VOLUME]
    assert f"{NAMES.base}.0000ffff.tmp" in inner.list("")
    begun.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["truncate", "remove"])
def test_an_intent_is_held_until_it_is_gone(kind: str) -> None:
    """Recovery that comes by while an operation ends leaves its intent alone."""
    inner = MemoryFileSystem()
    bench = Bench.on(inner, "fake")
    bench.volumes.create(VOLUME, SIZE)
    other = Bench.on(inner, "fake", start=1 << 16)
    reports = []

    def meanwhile(operation: Operation) -> None:
        if operation.kind == kind and operation.name.endswith(NAMES.intent):
            reports.append(other.volumes.recover())

    Bench.on(WatchedFileSystem(inner, meanwhile), "fake", start=1 << 18).volumes.create_snapshot(VOLUME, A)
    assert [report.running for report in reports] == [[VOLUME]]
    assert set(bench.picture() or {}) == {"active", A}
    assert bench.strays() == set()


def test_an_operation_whose_hold_is_lost_stops_before_its_next_step() -> None:
    inner = MemoryFileSystem()
    put(inner, NAMES.info)
    lost = False

    def watch(operation: Operation) -> None:
        nonlocal lost
        lost = lost or (operation.kind == "remove" and operation.name == STRAY)
        if lost and operation.kind in ("status", "truncate") and operation.name.endswith(".intent"):
            raise ConnectionError("the handle is gone")

    site = site_on(WatchedFileSystem(inner, watch))
    with pytest.raises(ConnectionError), journal.operation(NAMES, site) as held:
        held.run(Plan([Remove(STRAY), Remove(NAMES.info)]))
    assert inner.list("") == [NAMES.info, NAMES.intent]


def test_an_operation_whose_hold_was_lost_has_not_succeeded() -> None:
    inner = MemoryFileSystem()
    put(inner, NAMES.info)

    def watch(operation: Operation) -> None:
        if operation.kind in ("status", "truncate") and NAMES.info not in inner.list(""):
            raise ConnectionError("the handle is gone")

    with (
        pytest.raises(ConnectionError),
        journal.operation(NAMES, site_on(WatchedFileSystem(inner, watch))) as held,
    ):
        held.run(Plan([Remove(NAMES.info)]))
    assert journal.recover(site_on(inner)).settled == [VOLUME]
    assert inner.list("") == []


def test_an_intent_that_is_over_holds_no_steps_when_it_is_let_go() -> None:
    inner, sizes = MemoryFileSystem(), []

    def watch(operation: Operation) -> None:
        if operation.kind == "remove" and operation.name == NAMES.intent:
            sizes.append(inner.stat(NAMES.intent).size)

    with journal.operation(NAMES, site_on(WatchedFileSystem(inner, watch))) as held:
        held.run(Plan([Remove(STRAY)]))
    assert sizes == [0]


def test_a_merge_is_not_taken_for_done_because_the_document_is_gone() -> None:
    bench = Bench.on(MemoryFileSystem(), "fake")
    bench.volumes.create(VOLUME, SIZE)
    bench.volumes.create_snapshot(VOLUME, A)
    bench.write(1, 1)
    top = NAMES.snapshot(A)
    put(bench.files, NAMES.intent, journal.dump([Merge(top, NAMES.base), Discard(top)]))
    bench.files.remove(NAMES.info)
    report = bench.volumes.recover()
    assert "restore it" in str(report.failed[VOLUME])
    assert top in bench.files.list("")


def test_an_error_is_told_even_where_tidying_up_fails() -> None:
    def watch(operation: Operation) -> None:
        if operation.kind == "remove":
            raise ConnectionError("gone")

    inner = MemoryFileSystem()
    put(inner, STRAY)
    with (
        pytest.raises(Error, match="the first one"),
        journal.operation(NAMES, site_on(WatchedFileSystem(inner, watch))),
    ):
        raise Error("the first one")
    assert journal.recover(site_on(inner)).removed == [STRAY]
    assert inner.list("") == []


def test_intents_are_made_readable_before_a_step_runs() -> None:
    inner = MemoryFileSystem()
    seen = []

    def watch(operation: Operation) -> None:
        if operation.kind == "remove" and operation.name == STRAY:
            with closing(inner.open(NAMES.intent, Access.INSPECT)) as storage:
                text = bytearray(storage.size())
                storage.read([(0, memoryview(text))])
            seen.append(journal.load(bytes(text), NAMES, "here"))

    with journal.operation(NAMES, site_on(WatchedFileSystem(inner, watch))) as held:
        held.run(Plan([Remove(STRAY)]))
    assert seen == [[Remove(STRAY)]]
