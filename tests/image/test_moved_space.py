"""Crashes while space that held metadata gets another use: an old table, a freed bitmap, freed blocks.

What a log entry of before would write there must never reach the new owner.
"""

from collections.abc import Callable

import pytest

from tests.image import forge
from tests.image.forge import disk
from tests.support.crash import crash_states
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from vhdx.chain.chain import Chain
from vhdx.verbs.engine import NativeEngine

GIB = 1 << 30
Watched = dict[int, list[bytes]]
"""By offset: what the 4096 bytes there hold, oldest first."""


class Run:
    """Changes to a disk and what a crash after each may show of it."""

    def __init__(self, files: RecordingFileSystem, chain: Chain, watched: Watched) -> None:
        self.files, self.chain = files, chain
        self.history = {offset: [(0, content) for content in contents] for offset, contents in watched.items()}
        self.flushes: list[tuple[int, dict[int, int]]] = [(0, {})]

    def write(self, offset: int, data: bytes) -> None:
        before = self.chain.read(offset, 4096)
        self.history.setdefault(offset, [(0, before)]).append((len(self.files.events), data))
        self.chain.write(offset, data)

    def resized(self, size: int) -> None:
        self.chain.leaf.resize(size)
        self.flush()

    def flush(self) -> None:
        self.chain.flush()
        durable = {offset: len(contents) - 1 for offset, contents in self.history.items()}
        self.flushes.append((len(self.files.events), durable))

    def allowed(self, offset: int, events: int) -> list[bytes]:
        """What may be at *offset* after a crash when *events* events were done."""
        durable = max((flush for flush in self.flushes if flush[0] <= events), key=lambda flush: flush[0])[1]
        first = durable.get(offset, 0)
        return [content for at, content in self.history[offset][first:] if at <= events]


def wide(files: MemoryFileSystem) -> Watched:
    """A dynamic disk of 8 MiB, full."""
    forge.create(files)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 8 * MIB))
    return {offset: [pattern(1, 8 * MIB)[offset : offset + 4096]] for offset in range(0, 8 * MIB, MIB // 2)}


def outgrow(run: Run) -> None:
    """The table moves; the place of the old one gets payload, more than once."""
    run.write(4096, pattern(50, 4096))
    run.flush()
    run.resized(200 * GIB)
    for number in range(6):
        run.write((100 + number) * GIB, pattern(60 + number, 4096))
        if number % 2:
            run.flush()
    run.write(0, pattern(70, 4096))


def tall(files: MemoryFileSystem) -> Watched:
    """A child of 20 GiB with partial blocks in three chunks over a base with data."""
    forge.create(files, 20 * GIB, "base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 4 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        for place in (0, 5 * GIB, 9 * GIB):
            chain.write(place + 8192, pattern(place >> 30, 4096))
    return {8192: [pattern(0, 4096)], 0: [pattern(1, 4096)], 2 * MIB: [pattern(1, 4 * MIB)[2 * MIB : 2 * MIB + 4096]]}


def cut(run: Run) -> None:
    """Bitmaps and blocks of two chunks are freed in the session that staged bits in them, and used again."""
    run.chain.write(5 * GIB + 65536, pattern(80, 4096))
    run.chain.write(9 * GIB + 65536, pattern(81, 4096))
    run.flush()
    run.chain.write(9 * GIB + 4 * MIB + 4096, pattern(82, 4096))
    run.resized(4 * GIB)
    for number in range(6):
        run.write(number * 600 * MIB + 16384, pattern(90 + number, 4096))
        if number % 3 == 1:
            run.flush()
    run.write(0, pattern(99, 4096))


@pytest.mark.parametrize(("prepare", "change"), [(wide, outgrow), (tall, cut)])
def test_a_crash_anywhere(prepare: Callable[[MemoryFileSystem], Watched], change: Callable[[Run], None]) -> None:
    start = MemoryFileSystem()
    watched = prepare(start)
    files = RecordingFileSystem(start)
    run = Run(files, NativeEngine(new_id=counting_ids(9000)).open_chain(files, "disk.vhdx", writable=1), watched)
    change(run)
    run.flush()
    run.chain.close()
    tried = 0
    for state in crash_states(files, samples=600, seed=3):
        tried += 1
        if tried % 2:
            NativeEngine(new_id=counting_ids(20000)).open_chain(state.files, "disk.vhdx", writable=1).close()
        with disk(state.files) as chain:
            for offset in run.history:
                found = chain.read(offset, 4096) if offset < chain.size else b""
                options = run.allowed(offset, state.event_index) + ([b""] if offset >= 8 * MIB else [])
                sectors = range(0, len(found), 512)
                fits = all(any(found[at : at + 512] == one[at : at + 512] for one in options) for at in sectors)
                assert fits, f"{state.description}: at {offset}"
    assert tried > 100
