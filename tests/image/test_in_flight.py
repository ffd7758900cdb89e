"""A write that is on its way keeps what it needs: one stands still with its payload while others do what they can."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident

import pytest

from tests.support.crash import crash_states
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.interleaving import Interleaving
from tests.support.memory import MemoryFileSystem
from tests.support.recording import Flush, RecordingFileSystem
from vhdx.chain.chain import Chain
from vhdx.check import Severity, check_storage
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.storage.watched import Operation, WatchedFileSystem
from vhdx.verbs.engine import NativeEngine

VHDX, VHD, RAW = ImageFormat
BLOCK, PART = MIB, 64 << 10
OLD, NEW, OTHER = (pattern(seed, PART) for seed in (1, 2, 3))


@dataclass
class Scene:
    """A disk of four blocks, open, and a thread of which the next payload stands still."""

    run: Interleaving
    files: MemoryFileSystem
    path: str
    format: ImageFormat
    chain: Chain
    still: set[int]

    def slowly(self, work: Callable[[], None]) -> Callable[[], None]:
        """*work*, whose first write of payload goes on only when nobody else can."""

        def stands_still() -> None:
            self.still.add(get_ident())
            work()

        return stands_still

    def close(self) -> None:
        self.chain.close()
        storage = self.files.open(self.path, Access.READ)
        assert not [found for found in check_storage(storage) if found.severity is Severity.ERROR]
        storage.close()


def scene(format: ImageFormat, *, over_parent: bool, seed: int = 1) -> Scene:
    run, files, still = Interleaving(seed), MemoryFileSystem(), set[int]()
    engine = NativeEngine(new_id=counting_ids(1))
    engine.create(files, "disk", 4 * BLOCK, CreateOptions(format=format, block_size=BLOCK))
    path = "disk"
    if over_parent:
        engine.create_child(files, "child", "disk", parent_format=format)
        path = "child"

    def watch(operation: Operation) -> None:
        if operation.kind == "write" and operation.length == PART and get_ident() in still:
            still.remove(get_ident())
            run.let_others_go_first()

    with run.locks():
        chain = engine.open_chain(WatchedFileSystem(files, watch), path, writable=1, format=format)
    return Scene(run, files, path, format, chain, still)


@pytest.mark.parametrize("seed", [1, 3, 5, 7])
def test_a_commit_promises_no_length_that_it_did_not_flush(seed: int) -> None:
    """The file grows for another behind the first flush of a commit: whatever of that is lost, the image opens."""
    run, base = Interleaving(seed, closely=("vhdx/journal.py",)), MemoryFileSystem()
    NativeEngine(new_id=counting_ids(1)).create(base, "disk", 4 * BLOCK, CreateOptions(block_size=BLOCK))
    recorder = RecordingFileSystem(base)
    with run.locks():
        chain = NativeEngine(new_id=counting_ids(9)).open_chain(recorder, "disk", writable=1)
    chain.write(0, OLD)
    chain.flush()  # from here on the log is in use
    chain.write(BLOCK, OLD)
    before = len(recorder.events)

    def grow() -> None:
        run.pause(lambda: any(isinstance(event, Flush) for event in recorder.events[before:]), "a flush")
        chain.write(2 * BLOCK, NEW)

    run.run(chain.flush, grow)
    for state in crash_states(recorder, exhaustive=8):
        if state.event_index >= before:
            with NativeEngine(new_id=counting_ids(99)).open_chain(state.files, "disk", writable=1) as found:
                assert found.read(0, PART) == OLD
                assert found.read(BLOCK, PART) in (OLD, bytes(PART))
                assert found.read(2 * BLOCK, PART) == bytes(PART), "nothing made it durable"
    chain.close()


every_kind = pytest.mark.parametrize(
    ("format", "over_parent"), [(VHDX, False), (VHDX, True), (VHD, False), (VHD, True)], ids=str
)
some_seeds = pytest.mark.parametrize("seed", range(4))


@some_seeds
@pytest.mark.parametrize("format", [VHDX, VHD], ids=str)
def test_a_place_is_no_other_payloads_while_it_is_written_to(format: ImageFormat, seed: int) -> None:
    stage = scene(format, over_parent=False, seed=seed)
    chain = stage.chain
    chain.write(0, pattern(9, BLOCK))
    chain.flush()

    def others() -> None:
        chain.discard(0, BLOCK)
        chain.flush()
        chain.write(BLOCK, pattern(5, BLOCK))
        chain.flush()

    stage.run.run(stage.slowly(lambda: chain.write(0, NEW)), others)
    assert chain.read(BLOCK, BLOCK) == pattern(5, BLOCK)
    assert chain.read(0, PART) in (NEW, bytes(PART))
    assert chain.read(PART, BLOCK - PART) == bytes(BLOCK - PART)
    stage.close()


@some_seeds
@every_kind
def test_a_block_is_not_given_up_under_payload(format: ImageFormat, over_parent: bool, seed: int) -> None:
    stage = scene(format, over_parent=over_parent, seed=seed)
    chain = stage.chain
    chain.write(0, OLD)

    def others() -> None:
        chain.zero(0, BLOCK)
        chain.flush()
        chain.write(BLOCK, pattern(5, BLOCK))
        chain.flush()

    # Sectors that are not there yet over a parent: the bits are set when the payload is there.
    stage.run.run(stage.slowly(lambda: chain.write(PART, NEW)), others)
    assert chain.read(BLOCK, BLOCK) == pattern(5, BLOCK)
    assert chain.read(PART, PART) in (NEW, bytes(PART))
    assert chain.read(0, PART) == bytes(PART)
    stage.close()


@some_seeds
@every_kind
def test_what_lay_there_before_is_never_shown(format: ImageFormat, over_parent: bool, seed: int) -> None:
    stage = scene(format, over_parent=over_parent, seed=seed)
    chain = stage.chain
    secret = pattern(9, BLOCK)
    for block in range(4):
        chain.write(block * BLOCK, secret)
    chain.flush()
    for block in range(4):
        chain.zero(block * BLOCK, BLOCK) if not over_parent else chain.discard(block * BLOCK, BLOCK)
    chain.flush()
    before = chain.read(0, BLOCK)
    seen = []

    def second() -> None:
        chain.write(PART, OTHER)
        chain.flush()

    def look() -> None:
        for _ in range(50):
            seen.append(chain.read(0, 2 * PART))
            stage.run.pause()

    stage.run.run(stage.slowly(lambda: chain.write(0, NEW)), second, look)
    for data in seen:
        assert data[:PART] in (NEW, before[:PART])
        assert data[PART:] in (OTHER, before[PART : 2 * PART])
    assert chain.read(0, 2 * PART) == NEW + OTHER
    stage.close()


@some_seeds
@every_kind
def test_two_writers_of_one_new_block(format: ImageFormat, over_parent: bool, seed: int) -> None:
    stage = scene(format, over_parent=over_parent, seed=seed)
    chain = stage.chain
    chain.write(3 * BLOCK, OTHER)  # what comes behind it was never used
    finished = []

    def second() -> None:
        chain.write(PART, OTHER)
        chain.flush()
        finished.append("second")

    def first() -> None:
        chain.write(0, NEW)
        finished.append("first")

    stage.run.run(stage.slowly(first), second)
    assert finished == ["second", "first"], "space that reads as zeros is written by both at once"
    assert chain.read(0, BLOCK) == NEW + OTHER + bytes(BLOCK - 2 * PART)
    stage.close()


@some_seeds
@every_kind
def test_a_flush_does_not_wait_for_payload_nor_promise_it(format: ImageFormat, over_parent: bool, seed: int) -> None:
    stage = scene(format, over_parent=over_parent, seed=seed)
    chain = stage.chain
    left = []

    def second() -> None:
        chain.write(2 * BLOCK, OTHER)
        chain.flush()
        left.append(MemoryFileSystem(stage.files.snapshot()))

    stage.run.run(stage.slowly(lambda: chain.write(0, NEW)), second)
    with NativeEngine().open_chain(left[0], stage.path, format=format) as found:
        assert found.read(0, PART) == bytes(PART)
        assert found.read(2 * BLOCK, PART) == OTHER
    stage.close()
