"""What a crash leaves of a VHD, which has no journal: everything depends on the order of writes.

With blocks (dynamic, differencing): every crash state opens, for reading and for writing, and holds what was flushed;
each later sector is old or new; a change of size, parent or place is done or not done. Where a file has grown and its
new footer was lost, the copy serves the reader, and the old one is not overwritten yet; the next writer puts it right.
Fixed: the same for writes, but a change of size may leave what `vhdx.image.vhd.fixed.FooterBehind.resize` says.
"""

import random
from dataclasses import dataclass, field

import pytest

from tests.image.tap_forge import broken_rules, made_by_blktap
from tests.image.vhd_forge import SECTOR, VhdDisk, chain_of, file_bytes, info_of
from tests.support.choice import few
from tests.support.crash import CrashState, crash_states
from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.errors import FormatError, OutOfSpace
from vhdx.image.vhd.file import VhdCommitOrder
from vhdx.storage.base import Unsupported

BLOCK = 256 << 10


@dataclass
class Log:
    """What a disk held, by the number of storage events that were done: durable contents, and those since."""

    flushed: list[tuple[int, bytes]] = field(default_factory=list)
    written: list[tuple[int, bytes]] = field(default_factory=list)

    def note(self, files: RecordingFileSystem, content: bytes, *, durable: bool) -> None:
        self.written.append((len(files.events), content))
        if durable:
            self.flushed.append((len(files.events), content))
            files.mark("flushed")

    def allowed(self, events: int) -> list[bytes]:
        """The content that was durable after *events* events, and those since, any sector of which may show."""
        position, durable = max((entry for entry in self.flushed if entry[0] <= events), key=lambda entry: entry[0])
        since = [content for at, content in self.written if position <= at <= events]
        under_way = [content for at, content in self.written if at > events][:1]
        return [durable, *since, *under_way]


def wrong_sectors(content: bytes, allowed: list[bytes]) -> list[int]:
    """Sectors that are as in none of *allowed*."""
    if content in allowed:
        return []
    sectors = range(0, len(content), SECTOR)
    return [at for at in sectors if all(content[at : at + SECTOR] != one[at : at + SECTOR] for one in allowed)]


def recorded(disk: VhdDisk) -> RecordingFileSystem:
    """The files of *disk* from here on with a record; what is there counts as durable."""
    disk.close()
    assert isinstance(disk.files, MemoryFileSystem)
    files = RecordingFileSystem(disk.files)
    disk.files = files
    return files


def read_all(state: CrashState, paths: list[str], *, repair: bool) -> bytes:
    """The disk as a reader sees it, or after a writer has opened it, and has left both footers sound and equal."""
    if not repair:
        info = info_of(state.files, paths[0])
        footers = file_bytes(state.files, paths[0]).count(b"conectix")
        assert info.block_size is None or footers > 1, "nothing but the copy is left"
    else:
        chain_of(state.files, paths, writable=1).close()
        data = file_bytes(state.files, paths[0])
        info = info_of(state.files, paths[0])
        assert info.block_size is None or data[:SECTOR] == data[-SECTOR:], "the footers differ"
        assert info.warnings == ()
    with chain_of(state.files, paths) as chain:
        return chain.read(0, chain.size)


def run(
    kind: str, seed: int, order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE
) -> tuple[RecordingFileSystem, Log, VhdDisk]:
    """A short history on the leaf, recorded."""
    chance = random.Random(seed)
    disk = VhdDisk.create(MemoryFileSystem(), 6 * BLOCK + 3 * SECTOR, kind=kind, block_size=BLOCK)
    if chance.random() < 0.7:
        disk.write(BLOCK // 2, pattern(77, 3 * BLOCK))
    files = recorded(disk)
    disk.order = order
    log = Log()
    log.note(files, bytes(disk.contents[0]), durable=True)
    for number in range(chance.randrange(5, 12)):
        length = chance.choice([512, 4096, 3 * 4096, BLOCK, 2 * BLOCK])
        offset = chance.randrange(0, (disk.size - length) // SECTOR + 1) * SECTOR
        if length >= BLOCK and chance.random() < 0.6:
            offset = offset // BLOCK * BLOCK
        durable = False
        match chance.choice(["write", "write", "write", "zero", "discard", "flush", "compact", "reopen"]):
            case "write":
                disk.write(offset, pattern(number + 1, length))
            case "zero":
                disk.zero(offset, length)
            case "discard":
                disk.discard(offset, length)
            case "compact":
                disk.compact()
            case "flush":
                disk.open.flush()
                durable = True
            case "reopen":
                disk.open.close()
                disk.chain = None
                durable = True
        log.note(files, bytes(disk.contents[0]), durable=durable)
    disk.close()
    log.note(files, bytes(disk.contents[0]), durable=True)
    return files, log, disk


def violations(
    files: RecordingFileSystem, log: Log, paths: list[str], *, samples: int, exhaustive: int = 0
) -> tuple[int, list[str]]:
    """Crash states tried, and what is wrong in which."""
    tried, wrong = 0, []
    for state in crash_states(files, samples=samples, exhaustive=exhaustive):
        tried += 1
        try:
            content = read_all(state, paths, repair=tried % 2 == 0)
        except Exception as error:  # noqa: BLE001  anything at all is a violation
            wrong.append(f"{state.description}: {type(error).__name__}: {error}")
            continue
        bad = wrong_sectors(content, log.allowed(state.event_index))
        if bad:
            wrong.append(f"{state.description}: sectors at {bad[:4]} are neither old nor new")
    return tried, wrong


@pytest.mark.parametrize("kind", ["dynamic", "differencing", "fixed"])
@pytest.mark.parametrize("seed", few(range(14), 3))
def test_writes(kind: str, seed: int) -> None:
    """Every state opens; what was flushed is there; each later sector is old or new."""
    files, log, disk = run(kind, seed)
    tried, wrong = violations(files, log, disk.paths, samples=120)
    assert not wrong, "\n".join(wrong[:5])
    assert tried > 10


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
@pytest.mark.parametrize("seed", few(range(100, 103), 1))
def test_writes_exhaustively(kind: str, seed: int) -> None:
    """The same with every subset, order and tear of what is not durable, for few writes at a time."""
    files, log, disk = run(kind, seed)
    _, wrong = violations(files, log, disk.paths, samples=0, exhaustive=5)
    assert not wrong, "\n".join(wrong[:5])


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_a_wrong_commit_order_is_noticed(kind: str) -> None:
    for seed in range(12):
        files, log, disk = run(kind, seed, VhdCommitOrder.TABLE_BEFORE_PAYLOAD)
        _, wrong = violations(files, log, disk.paths, samples=150)
        if wrong:
            return
    pytest.fail("no crash state showed that the order is wrong")


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
@pytest.mark.parametrize(("before", "after"), few([(5, 2000), (5, 9), (2000, 4), (9, 3)], 2))
def test_resize_leaves_the_old_or_the_new_size(kind: str, before: int, after: int) -> None:
    """2000 blocks do not fit where the table of 5 lies: it moves. What is below is larger than the disk."""
    block = 4096
    disk = VhdDisk.create(MemoryFileSystem(), max(before, 16) * block, block_size=block)
    disk.write(0, pattern(1, 16 * block))
    if kind == "differencing":
        disk.snapshot(before * block + SECTOR)
    else:
        disk.resize(before * block + SECTOR)
    disk.write(block, pattern(2, 2 * block + SECTOR))
    disk.write(before * block, pattern(3, SECTOR))
    old = bytes(disk.contents[0])
    files = recorded(disk)
    size = after * block + 3 * SECTOR
    disk.resize(size)
    new = bytes(disk.contents[0])
    disk.open.flush()
    files.mark("resized")
    disk.close()
    sizes = set()
    for number, state in enumerate(crash_states(files, samples=100, exhaustive=4)):
        content = read_all(state, disk.paths, repair=number % 2 == 0)
        sizes.add(len(content))
        assert content == (old if len(content) == len(old) else new), state.description
        assert "resized" not in state.marks or len(content) == size, state.description
        if number % 25 == 0:
            goes_on(state, disk.paths, content, block)
    assert sizes == {len(old), len(new)}


def goes_on(state: CrashState, paths: list[str], content: bytes, block: int) -> None:
    """The next session changes the size twice more, wherever the last one left the dynamic header."""
    below = [bytearray(16 * block)] * (len(paths) - 1)
    disk = VhdDisk(state.files, list(paths), [bytearray(content), *below], block, len(paths))
    for size in (len(content) + 300 * block, len(content) - block):
        disk.resize(size)
        disk.write(size - 700, pattern(size, 700))
        disk.close()
        with chain_of(state.files, paths) as chain:
            assert chain.read(0, chain.size) == bytes(disk.contents[0]), state.description


def test_a_new_parent_is_recorded_or_not() -> None:
    disk = VhdDisk.create(MemoryFileSystem(), 4 * BLOCK, kind="differencing", block_size=BLOCK)
    disk.write(BLOCK, pattern(1, BLOCK + SECTOR))
    disk.close()
    content = bytes(disk.contents[0])
    files = recorded(disk)
    old = info_of(files, disk.paths[0]).parent
    disk.relink()
    new = disk.open.leaf.info.parent
    files.mark("relinked")
    disk.relink()
    newest = disk.open.leaf.info.parent
    disk.close()
    seen = []
    for number, state in enumerate(crash_states(files, samples=100, exhaustive=6)):
        assert read_all(state, disk.paths, repair=number % 2 == 0) == content, state.description
        link = info_of(state.files, disk.paths[0]).parent
        assert link in ([new, newest] if "relinked" in state.marks else [old, new]), state.description
        seen.append(link)
    assert all(link in seen for link in (old, new, newest))


def test_letting_go_of_the_parent() -> None:
    """The disk reads the same at every moment while its content is pulled into the leaf."""
    disk = VhdDisk.create(MemoryFileSystem(), 5 * BLOCK + SECTOR, kind="differencing", block_size=BLOCK)
    disk.write(BLOCK // 2, pattern(1, BLOCK))
    content, paths = bytes(disk.contents[0]), list(disk.paths)
    files = recorded(disk)
    disk.detach()
    files.mark("detached")
    alone = 0
    for number, state in enumerate(crash_states(files, samples=100, exhaustive=4)):
        on_its_own = info_of(state.files, paths[0]).parent is None
        alone += on_its_own
        assert on_its_own or "detached" not in state.marks
        layers = paths[:1] if on_its_own else paths
        assert read_all(state, layers, repair=number % 2 == 0) == content, state.description
    assert alone


def test_zeros_take_the_place_of_a_parent_that_is_gone() -> None:
    """Without anything pulled: the leaf's own sectors stay, all others read as zeros, whatever a crash leaves."""
    disk = VhdDisk.create(MemoryFileSystem(), 3 * BLOCK, kind="differencing", block_size=BLOCK)
    disk.write(BLOCK + SECTOR, pattern(1, 4 * SECTOR))
    with_parent = bytes(disk.contents[0])
    alone = bytearray(3 * BLOCK)
    alone[BLOCK + SECTOR : BLOCK + 5 * SECTOR] = pattern(1, 4 * SECTOR)
    files = recorded(disk)
    disk.open.leaf.set_parent(None)
    files.mark("detached")
    disk.close()
    for number, state in enumerate(crash_states(files, samples=50, exhaustive=6)):
        if info_of(state.files, disk.paths[0]).parent is None:
            assert read_all(state, disk.paths[:1], repair=number % 2 == 0) == alone, state.description
        else:
            assert "detached" not in state.marks
            assert read_all(state, disk.paths, repair=number % 2 == 0) == with_parent, state.description


def test_merging() -> None:
    """At every moment the leaf reads as before, and merging again finishes."""
    disk = VhdDisk.create(MemoryFileSystem(), 5 * BLOCK, kind="differencing", block_size=BLOCK)
    disk.write(BLOCK // 2, pattern(1, 2 * BLOCK))
    disk.zero(3 * BLOCK, BLOCK)
    content, paths = bytes(disk.contents[0]), list(disk.paths)
    files = recorded(disk)
    disk.merge_down()
    files.mark("merged")
    for number, state in enumerate(crash_states(files, samples=120)):
        assert read_all(state, paths, repair=number % 2 == 0) == content, state.description
        if number % 3 == 0:
            again = VhdDisk(state.files, list(paths), [bytearray(content), bytearray(content)], BLOCK, 2)
            again.merge_down()
            again.check()


def tap_disk(kind: str, block: int) -> VhdDisk:
    """Of blktap, its first blocks full."""
    disk = VhdDisk.create(MemoryFileSystem(), 40 * block, block_size=block)
    disk.write(0, pattern(8, 40 * block))
    if kind == "differencing":
        disk.snapshot()
        disk.write(0, pattern(1, 5 * block))
        disk.write(20 * block + SECTOR, pattern(2, 3 * block))
    disk.close()
    made_by_blktap(disk.files, disk.paths[0])
    return disk


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
@pytest.mark.parametrize("after", [41, 300, pytest.param(5000, marks=pytest.mark.more)])
def test_a_file_of_blktap_grows(kind: str, after: int) -> None:
    """Old or new, and at every moment one that blktap opens, whose map calls nothing full that is not."""
    block = 4096
    disk = tap_disk(kind, block)
    old = bytes(disk.contents[0])
    files = recorded(disk)
    disk.resize(after * block)
    new = bytes(disk.contents[0])
    files.mark("resized")
    disk.close()
    files.mark("closed")
    sizes = set()
    for number, state in enumerate(crash_states(files, samples=60, exhaustive=2 * (after == 41))):
        left = file_bytes(state.files, disk.paths[0])
        assert broken_rules(left, at_rest="closed" in state.marks) == [], state.description
        content = read_all(state, disk.paths, repair=number % 2 == 0)
        sizes.add(len(content))
        assert content == (old if len(content) == len(old) else new), state.description
        assert "resized" not in state.marks or len(content) == len(new), state.description
        if number % 2 == 0:
            assert broken_rules(file_bytes(state.files, disk.paths[0]), at_rest=False) == [], state.description
    assert sizes == {len(old), len(new)}


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.more) for seed in range(3, 12))])
def test_no_block_of_blktap_is_called_full_that_is_not(kind: str, seed: int) -> None:
    """Blocks lose their place or sectors, and come back in part, in whatever order that becomes durable."""
    block, chance = 4096, random.Random(seed)
    disk = tap_disk(kind, block)
    files = recorded(disk)
    log = Log()
    log.note(files, bytes(disk.contents[0]), durable=True)
    sizes = {disk.size}
    for number in range(9):
        at = chance.randrange(disk.size // block) * block
        durable = False
        match chance.choice(["write", "write", "discard", "shrink", "grow", "flush", "compact", "reopen"]):
            case "write":
                disk.write(at + SECTOR, pattern(number + 9, chance.choice([1, 6]) * SECTOR))
            case "discard":
                disk.discard(at // block * block, min(7 * block, disk.size - at))
            case "shrink" if disk.size > 20 * block:
                disk.resize(disk.size - 8 * block - SECTOR)
            case "grow":
                disk.resize(disk.size + 3 * block)
            case "compact":
                disk.compact()
            case "flush":
                disk.open.flush()
                durable = True
            case _:
                disk.close()
                durable = True
        sizes.add(disk.size)
        log.note(files, bytes(disk.contents[0]), durable=durable)
    disk.close()
    log.note(files, bytes(disk.contents[0]), durable=True)
    for number, state in enumerate(crash_states(files, samples=40)):
        assert broken_rules(file_bytes(state.files, disk.paths[0]), at_rest=False) == [], state.description
        content = read_all(state, disk.paths, repair=number % 2 == 0)
        assert len(content) in sizes
        if number % 5 == 0:
            # Whoever goes on finds a file that can be put right.
            contents = [bytearray(content), *disk.contents[1:]]
            again = VhdDisk(state.files, list(disk.paths), contents, block, len(disk.paths))
            again.write(0, pattern(99, SECTOR))
            again.close()
            assert broken_rules(file_bytes(state.files, disk.paths[0])) == [], state.description


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_a_new_image_is_whole_once_it_is_closed(kind: str) -> None:
    files = RecordingFileSystem()
    base = VhdDisk.create(files, 3 * BLOCK, block_size=BLOCK)
    if kind == "differencing":
        base.snapshot()
    files.sync_directory("")
    files.mark("made")
    for state in crash_states(files, samples=100):
        if "made" in state.marks:
            assert read_all(state, base.paths, repair=True) == bytes(3 * BLOCK)


@pytest.mark.parametrize(("before", "after"), [(4, 9), (9, 4)])
@pytest.mark.parametrize("reserves", [False, True], ids=["writing zeros", "reserving"])
def test_a_fixed_image_changes_its_size(before: int, after: int, reserves: bool) -> None:
    """What may be left is what `FooterBehind.resize` lists; the disk up to the smaller size is never touched."""
    block = 8 << 10
    disk = VhdDisk.create(MemoryFileSystem(), before * block, kind="fixed")
    disk.write(0, pattern(1, before * block))
    files = recorded(disk)
    if not reserves:
        disk.files = WatchedFileSystem(files, Fault(0, Unsupported(), lasting=True, kinds=frozenset({"reserve"})))
    disk.resize(after * block)
    files.mark("resized")
    kept = pattern(1, before * block)[: after * block]
    for state in crash_states(files, samples=100, exhaustive=6):
        content = resized_fixed(state, disk.paths, kept, after * block)
        if "resized" in state.marks:
            assert content == kept.ljust(after * block, b"\0")


def resized_fixed(state: CrashState, paths: list[str], kept: bytes, size: int) -> bytes:
    """The disk after a stop in a change of size to *size*; nothing of *kept* may be lost. Empty: it needs repair."""
    try:
        content = read_all(state, paths, repair=False)
    except FormatError:
        assert not state.marks, state.description
        assert file_bytes(state.files, "0.vhd")[: len(kept)] == kept
        return b""
    assert content[: len(kept)] == kept, state.description
    rest = content[len(kept) :]
    grown = len(content) == size
    assert rest.count(0) == len(rest) or not grown or rest.startswith(b"conectix"), state.description
    return content


@pytest.mark.parametrize("at", range(3))
def test_a_fixed_image_without_space_to_grow(at: int) -> None:
    """At every moment no worse than in a growth that is done; afterwards, durably, exactly as before."""
    block = 8 << 10
    disk = VhdDisk.create(MemoryFileSystem(), 4 * block, kind="fixed")
    disk.write(0, pattern(1, 4 * block))
    files = recorded(disk)
    old = file_bytes(files, "0.vhd")
    disk.files = WatchedFileSystem(files, Fault(at, OutOfSpace("full"), kinds=frozenset({"write", "reserve"})))
    with pytest.raises(OutOfSpace):
        disk.resize(9 * block)
    assert file_bytes(files, "0.vhd") == old
    files.mark("refused")
    for state in crash_states(files, samples=100, exhaustive=6):
        resized_fixed(state, disk.paths, pattern(1, 4 * block), 9 * block)
        assert "refused" not in state.marks or file_bytes(state.files, "0.vhd") == old
