"""Several threads on one disk in an order that a seed decides: what they read, and what a crash leaves of it all."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.support.cells import FIRST, SECTOR, Barrier, Cells, cells_of, filled, values
from tests.support.crash import crash_states
from tests.support.disks import MIB, counting_ids
from tests.support.interleaving import Interleaving
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from vhdx.chain.chain import Chain
from vhdx.check import Severity, check_storage
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.vhd import table as vhd_table
from vhdx.image.vhdx import pages as vhdx_pages
from vhdx.storage.base import Access
from vhdx.storage.watched import WatchedFileSystem
from vhdx.verbs.engine import NativeEngine

VHDX, VHD, RAW = ImageFormat
LOOKED_AT = 24 * SECTOR
"""So much of the start of each block is in use; the rest of it stays as it was made."""
MIXED = ["write"] * 6 + ["part", "part", "zero", "zero block", "discard", "flush"]
CHURNING = ["write", "write", "write", "zero block", "discard", "flush", "flush"]
"""Space changes hands all the time."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A disk: its format, whether it lies over a parent, and what a block is."""

    format: ImageFormat
    over_parent: bool = False
    block: int = MIB
    blocks: int = 4

    @property
    def options(self) -> CreateOptions:
        return CreateOptions(format=self.format, block_size=None if self.format is RAW else self.block)


KINDS = {
    "vhdx": Kind(VHDX),
    "vhdx-over-parent": Kind(VHDX, over_parent=True),
    "vhd": Kind(VHD, block=256 << 10),
    "vhd-over-parent": Kind(VHD, over_parent=True, block=256 << 10),
    "raw": Kind(RAW),
}


class Story:
    """Threads at work on one disk of *kind*."""

    def __init__(self, kind: Kind, seed: int, *, closely: tuple[str, ...] = (), mix: list[str] = MIXED) -> None:
        self.kind = kind
        self.mix = mix
        self.run = Interleaving(seed, closely)
        self.chance = random.Random(seed)
        self.recorder = RecordingFileSystem(self._made())
        self.cells = Cells(kind.block * kind.blocks // SECTOR * 2)
        self._values = 0
        files = WatchedFileSystem(self.recorder, lambda _: self.run.pause())
        engine = NativeEngine(new_id=counting_ids(500))
        with self.run.locks():
            self.chain = engine.open_chain(files, self.path, writable=1, format=kind.format)

    @property
    def path(self) -> str:
        return "child" if self.kind.over_parent else "disk"

    def _made(self) -> MemoryFileSystem:
        files, kind = MemoryFileSystem(), self.kind
        engine = NativeEngine(new_id=counting_ids(1))
        engine.create(files, "disk", kind.block * kind.blocks, kind.options)
        if kind.over_parent:
            with engine.open_chain(files, "disk", writable=1, format=kind.format) as chain:
                chain.write(kind.block, bytes(kind.block))  # zeros that are there
            engine.create_child(files, "child", "disk", parent_format=kind.format)
        return files

    def place(self, chance: random.Random) -> tuple[int, int]:
        start = chance.randrange(self.kind.blocks) * self.kind.block
        first = chance.randrange(LOOKED_AT // SECTOR)
        length = chance.randrange(1, LOOKED_AT // SECTOR - first + 1)
        return start + first * SECTOR, length * SECTOR

    def writer(self, seed: int, count: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def work() -> None:
            for _ in range(count):
                self._act(chance, chance.choice(self.mix))

        return work

    def _act(self, chance: random.Random, act: str) -> None:
        kind, chain = self.kind, self.chain
        offset, length = self.place(chance)
        block = offset // kind.block * kind.block
        match act:
            case "write":
                self._values += 1
                value = self._values
                self._change(value, offset, length, lambda: chain.write(offset, filled(value, length)))
            case "part":
                self._values += 1
                value = self._values
                self._change(value, offset, FIRST, lambda: chain.write(offset, filled(value, FIRST)))
            case "zero":
                self._change(0, offset, length, lambda: chain.zero(offset, length))
            case "zero block":
                self._change(0, block, kind.block, lambda: chain.zero(block, kind.block))
            case "discard":
                self._change(0, block, kind.block, lambda: chain.discard(block, kind.block), is_optional=True)
            case "flush":
                begin = self.cells.tick()
                chain.flush()
                self.recorder.mark("flushed")
                self.cells.barriers.append(Barrier(begin, len(self.recorder.events)))

    def _change(
        self, value: int, offset: int, length: int, work: Callable[[], None], *, is_optional: bool = False
    ) -> None:
        cells = cells_of(offset, length)
        change = self.cells.begin(value, cells, len(self.recorder.events), is_optional=is_optional)
        work()
        self.cells.done(change)

    def reader(self, seed: int, count: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def work() -> None:
            for _ in range(count):
                offset, length = self.place(chance)
                begin = self.cells.tick()
                data = self.chain.read(offset, length)
                end = self.cells.tick()
                for number, value in enumerate(values(data), cells_of(offset, length).start):
                    assert value in self.cells.seen(number, begin, end), f"cell {number} shows {value}"

        return work

    def restructurer(self, seed: int, count: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def work() -> None:
            leaf = self.chain.leaf
            for _ in range(count):
                match chance.choice(["pack", "grow", "verify", "checkpoint"]):
                    case "pack" if self.kind.format is not RAW:
                        leaf.pack(lambda done, total: None)
                    case "grow":
                        leaf.resize(leaf.virtual_size + self.kind.block)
                    case "checkpoint":
                        leaf.checkpoint()
                    case _:
                        leaf.verify()

        return work

    def look(self, chain: Chain, allowed: Callable[[int], set[int]]) -> str:
        """What is wrong with what is there; empty when nothing is."""
        for block in range(self.kind.blocks):
            start = block * self.kind.block
            for number, value in enumerate(values(chain.read(start, LOOKED_AT)), cells_of(start, LOOKED_AT).start):
                if value not in allowed(number):
                    return f"cell {number} shows {value}, and may show {sorted(allowed(number))}"
            rest = self.kind.block - LOOKED_AT
            if chain.read(start + LOOKED_AT, rest).count(0) != rest:
                return f"block {block} shows what nobody wrote"
        return ""


def finished(
    kind: Kind, seed: int, *, closely: tuple[str, ...] = (), count: int = 12, mix: list[str] = MIXED, shape: int = 2
) -> Story:
    story = Story(kind, seed, closely=closely, mix=mix)
    work = [story.writer(seed * 10 + number, count) for number in range(3)]
    story.run.run(*work, story.reader(seed * 10 + 7, count), story.restructurer(seed * 10 + 8, shape))
    now = story.cells.tick()
    fault = story.look(story.chain, lambda cell: story.cells.seen(cell, now, now))
    assert not fault, fault
    return story


def judge(story: Story, seed: int, samples: int) -> None:
    """Every state that a crash may leave: sound, and each cell shows what it may."""
    for state in crash_states(story.recorder, samples=samples, seed=seed):
        if story.kind.format is not RAW:
            storage = state.files.open(story.path, Access.READ)
            found = [finding for finding in check_storage(storage) if finding.severity is Severity.ERROR]
            storage.close()
            assert not found, f"{state.description}: {found[0]}"
        engine = NativeEngine(new_id=counting_ids(900))
        with engine.open_chain(state.files, story.path, format=story.kind.format) as chain:
            fault = story.look(chain, lambda cell, event=state.event_index: story.cells.left(cell, event))  # type: ignore[misc]
            assert not fault, f"{state.description}: {fault}"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_threads_and_crashes(kind: Kind, seed: int) -> None:
    story = finished(kind, seed)
    judge(story, seed, samples=40)
    story.chain.close()


CROWDED = {name: replace(kind, blocks=2) for name, kind in KINDS.items() if name != "raw"}


def churned(kind: Kind, seeds: range) -> None:
    for seed in seeds:
        finished(kind, seed, count=40, mix=CHURNING, shape=0).chain.close()


@pytest.mark.parametrize("kind", CROWDED.values(), ids=CROWDED)
def test_space_changes_hands(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (vhdx_pages, vhd_table):  # nothing is kept of the tables but what is on its way into them
        monkeypatch.setattr(module, "_KEPT", 0)
    churned(kind, range(12))


LINES = ("image/gate.py", "image/blocks.py", "vhd/blocks.py", "chain/chain.py")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_threads_line_by_line(kind: Kind, seed: int) -> None:
    """Every line of these modules is a step after which another may come in between."""
    finished(kind, 100 + seed, closely=LINES, count=6).chain.close()
