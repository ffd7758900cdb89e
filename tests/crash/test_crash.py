"""Whatever a crash leaves, every disk opens, holds what was flushed, and each later sector is old or new."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.crash import CrashState, crash_states
from tests.support.disks import MIB, Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from vhdx.chain import Chain
from vhdx.engine import NativeEngine, Shrink
from vhdx.image.journal import CommitOrder
from vhdx.image.vhdx_open import open_vhdx
from vhdx.parents import Layer
from vhdx.storage.base import Access

SECTOR = 512


@dataclass
class Log:
    """What a disk held, by the number of storage events that were done: durable contents, and those since."""

    flushed: list[tuple[int, bytes]] = field(default_factory=list)
    written: list[tuple[int, bytes]] = field(default_factory=list)

    def allowed(self, events: int) -> tuple[bytes, list[bytes]]:
        """The content that was durable after *events* events, and the contents since, any sector of which may show."""
        position, durable = max((entry for entry in self.flushed if entry[0] <= events), key=lambda entry: entry[0])
        return durable, [content for at, content in self.written if at >= position]


def differing_sectors(content: bytes, durable: bytes, later: Sequence[bytes]) -> list[int]:
    """Sectors of *content* that are neither as in *durable* nor as in any of *later*."""
    if content == durable:
        return []
    wrong = []
    for at in range(0, len(content), SECTOR):
        sector = content[at : at + SECTOR]
        if sector != durable[at : at + SECTOR] and all(sector != other[at : at + SECTOR] for other in later):
            wrong.append(at)
    return wrong


def read_all(state: CrashState, path: str, *, repair: bool) -> bytes:
    """The disk of *path* as a reader sees it, or after a writer has opened it and closed it again."""
    engine = NativeEngine(new_id=counting_ids(1000))
    if repair:
        engine.open_chain(state.files, path, writable=1).close()
    with engine.open_chain(state.files, path) as chain:
        return chain.read(0, chain.size)


def run_writes(order: CommitOrder, seed: int) -> tuple[RecordingFileSystem, Log]:
    """A short history of writes, zeroes, discards and flushes on a leaf over a parent, recorded."""
    chance = random.Random(seed)
    base = MemoryFileSystem()
    disk = Disk.create(base, 5 * MIB, block_size=MIB)
    disk.write(0, pattern(99, 5 * MIB))
    disk.snapshot()
    disk.close()
    files = RecordingFileSystem(base)
    engine = NativeEngine(new_id=counting_ids(500))
    below = engine.open_chain(files, "0.vhdx").layers
    image = open_vhdx(files.open(disk.paths[0], Access.WRITE), new_id=counting_ids(700), order=order)
    chain = Chain([Layer(disk.paths[0], image), *below])
    content = bytearray(disk.contents[0])
    log = Log(flushed=[(0, bytes(content))], written=[(0, bytes(content))])
    for number in range(chance.randrange(4, 9)):
        length = chance.choice([512, 4096, 3 * 4096, MIB, 2 * MIB])
        offset = chance.randrange(0, (5 * MIB - length) // SECTOR + 1) * SECTOR
        match chance.choice(["write", "write", "write", "zero", "flush"]):
            case "write":
                data = pattern(number + 1, length)
                chain.write(offset, data)
                content[offset : offset + length] = data
            case "zero":
                chain.zero(offset, length)
                content[offset : offset + length] = bytes(length)
            case "flush":
                chain.flush()
                log.flushed.append((len(files.events), bytes(content)))
                files.mark("flushed")
        log.written.append((len(files.events), bytes(content)))
    chain.close()
    log.flushed.append((len(files.events), bytes(content)))
    files.mark("closed")
    return files, log


def violations(files: RecordingFileSystem, log: Log, path: str, *, samples: int, seed: int) -> tuple[int, list[str]]:
    """Crash states tried, and what is wrong in which."""
    tried, wrong = 0, []
    for state in crash_states(files, samples=samples, seed=seed):
        tried += 1
        durable, later = log.allowed(state.event_index)
        # What is under way when the machine stops may already be partly there.
        under_way = [content for at, content in log.written if at > state.event_index][:1]
        try:
            content = read_all(state, path, repair=tried % 2 == 0)
        except Exception as error:  # noqa: BLE001  anything at all is a violation
            wrong.append(f"{state.description}: {type(error).__name__}: {error}")
            continue
        bad = differing_sectors(content, durable, [*later, *under_way])
        if bad:
            wrong.append(f"{state.description}: sectors at {bad[:4]} are neither old nor new")
    return tried, wrong


@pytest.mark.parametrize("seed", range(12))
def test_writes(seed: int, record_property: Callable[[str, object], None]) -> None:
    files, log = run_writes(CommitOrder.PAYLOAD_LOG_PAGES, seed)
    tried, wrong = violations(files, log, "1.vhdx", samples=150, seed=seed)
    record_property("crash states", tried)
    assert not wrong, "\n".join(wrong[:5])
    assert tried > 20


@pytest.mark.parametrize("order", [CommitOrder.PAGES_BEFORE_LOG, CommitOrder.LOG_BEFORE_PAYLOAD])
def test_a_wrong_commit_order_is_noticed(order: CommitOrder) -> None:
    for seed in range(12):
        files, log = run_writes(order, seed)
        _, wrong = violations(files, log, "1.vhdx", samples=150, seed=seed)
        if wrong:
            return
    pytest.fail(f"no crash state showed that {order} is wrong")


def test_creating_leaves_an_image_or_a_temporary() -> None:
    files = RecordingFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, "disk.vhdx", 3 * MIB)
    engine.create_child(files, "child.vhdx", "disk.vhdx")
    found: Counter[str] = Counter()
    for state in crash_states(files, samples=300):
        names = [name for name in state.files.list("") if not name.endswith(".tmp")]
        found.update(names or ["nothing"])
        for name in names:
            assert read_all(state, name, repair=True) == bytes(3 * MIB), state.description
    assert set(found) == {"nothing", "disk.vhdx", "child.vhdx"}


def recorded(disk: Disk) -> RecordingFileSystem:
    assert isinstance(disk.files, MemoryFileSystem)
    return RecordingFileSystem(disk.files)


def merging_disk() -> Disk:
    """Four layers; what is in which overlaps in every way, zeros over data among it."""
    disk = Disk.create(MemoryFileSystem(), 4 * MIB, block_size=MIB)
    disk.write(0, pattern(1, 3 * MIB))
    disk.snapshot()
    disk.write(MIB // 2, pattern(2, MIB))
    disk.zero(2 * MIB, 2 * MIB)
    disk.snapshot(6 * MIB + 512)
    disk.write(0, pattern(3, 4096))
    disk.write(2 * MIB - 4096, pattern(4, 3 * 4096))
    disk.write(5 * MIB, pattern(5, MIB))
    disk.snapshot()
    disk.write(8192, pattern(6, 4096))
    disk.close()
    return disk


@pytest.mark.parametrize(("top", "target"), [(0, 1), (1, 2), (2, 3), (0, 3), (1, 3)])
def test_merge(top: int, target: int) -> None:
    """At every moment the leaf reads as before; merging again finishes, and the target reads as the top did."""
    disk = merging_disk()
    files = recorded(disk)
    engine = NativeEngine(new_id=counting_ids(500))
    leaf, leaf_content = disk.paths[0], bytes(disk.contents[0])
    top_path, top_content, target_path = disk.paths[top], bytes(disk.contents[top]), disk.paths[target]
    above = disk.paths[top - 1] if top else None
    engine.merge(files, top_path, target_path)
    files.mark("merged")
    if above:
        engine.relink(files, above, target_path)
    tried = 0
    for state in crash_states(files, samples=250, seed=top * 4 + target):
        tried += 1
        again = NativeEngine(new_id=counting_ids(9000))
        assert read_all(state, leaf, repair=tried % 2 == 0) == leaf_content, state.description
        if tried % 3:
            continue
        if not above or top_path in again.layers(state.files, above):
            again.merge(state.files, top_path, target_path)
            if above:
                assert read_all(state, leaf, repair=False) == leaf_content, state.description
                again.relink(state.files, above, target_path)
        assert read_all(state, leaf, repair=False) == leaf_content, state.description
        assert read_all(state, target_path, repair=False) == top_content, state.description
    assert tried > 50


@pytest.mark.parametrize(("before", "after"), [(3 * MIB + 512, 9 * MIB), (9 * MIB, 2 * MIB + 1024)])
def test_resize_leaves_the_old_or_the_new_size(before: int, after: int) -> None:
    base = Disk.create(MemoryFileSystem(), 12 * MIB, block_size=MIB)
    base.write(0, pattern(1, 12 * MIB))
    base.snapshot(before)
    base.write(MIB, pattern(2, MIB + 512))
    base.close()
    old = bytes(base.contents[0])
    new = old[:after].ljust(after, b"\0")
    files = recorded(base)
    NativeEngine(new_id=counting_ids(500)).resize(files, base.paths[0], after, shrink=Shrink.FORCE)
    sizes = set()
    for number, state in enumerate(crash_states(files, samples=300)):
        content = read_all(state, base.paths[0], repair=number % 2 == 0)
        sizes.add(len(content))
        assert content == (old if len(content) == before else new), state.description
    assert sizes == {before, after}
