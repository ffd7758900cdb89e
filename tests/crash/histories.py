"""Histories of disks on recorded files: every verb changes a model along with the files, and says what it promises.

A history is made without record until `History.record`; from there on each event is one that a crash may follow. The
format and the shape of the images are the caller's choice.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from uuid import UUID

from tests.crash.stories import Content, Nothing, Story, Version
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from vhdx.chain.chain import Chain
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

SECTOR = 512
VHDX = CreateOptions(block_size=MIB)
VHD = CreateOptions(format=ImageFormat.VHD, block_size=MIB)
Verb = Callable[[NativeEngine, FileSystem], object]
Opener = Callable[[NativeEngine, FileSystem, str], Chain]


@dataclass(frozen=True, slots=True)
class Act:
    """One verb at work: the events it began and ended with, and how to do it again."""

    name: str
    first: int
    last: int
    again: Verb


def open_for_writing(engine: NativeEngine, files: FileSystem, path: str) -> Chain:
    """The usual way; a test may bring another that does something wrong."""
    return engine.open_chain(files, path, writable=1, orphan=True)


def ids(start: int = 1) -> Callable[[], UUID]:
    """GUIDs that come out the same in every run, and differ where names under construction look, at the front."""
    numbers = count(start)
    return lambda: UUID(int=next(numbers) << 96 | 0x8000_0000_0000_0000)


def marked(seed: int, offset: int, length: int) -> bytes:
    """Bytes that no other sector and no other seed has."""
    first = offset // SECTOR
    return b"".join((seed << 20 | first + number).to_bytes(4, "little") * 128 for number in range(length // SECTOR))


class History:
    """A chain of images, leaf first in *paths*, and what each of them reads as."""

    def __init__(self, seed: int = 0, options: CreateOptions = VHDX, opener: Opener = open_for_writing) -> None:
        self.chance = random.Random(seed)
        self.options = options
        self.engine = NativeEngine(new_id=ids())
        self.base = MemoryFileSystem()
        self.recorder: RecordingFileSystem | None = None
        self.paths: list[str] = []
        self.contents: dict[str, bytes] = {}
        self.stories: dict[str, Story] = {}
        self.made: list[str] = []
        self.acts: list[Act] = []
        self.announced: dict[tuple[str, UUID], Version] = {}
        self._opener = opener
        self._chain: Chain | None = None
        self._writes = 0

    @property
    def files(self) -> FileSystem:
        return self.recorder or self.base

    @property
    def events(self) -> int:
        return len(self.recorder.events) if self.recorder else 0

    @property
    def leaf(self) -> str:
        return self.paths[0]

    @property
    def size(self) -> int:
        return len(self.contents[self.leaf])

    @property
    def chain(self) -> Chain:
        """The leaf, open for writing."""
        if self._chain is None:
            self._chain = self._opener(self.engine, self.files, self.leaf)
        return self._chain

    def close(self) -> None:
        """Close the leaf: everything is durable."""
        if self._chain is not None:
            self._chain.close()
            self._chain = None
            self._settle({self.leaf: self.contents[self.leaf]})

    def record(self) -> None:
        """From here on every event is recorded; what is there counts as durable."""
        self.close()
        self.recorder = RecordingFileSystem(self.base)
        self.stories = {path: Story([Version(0, self.contents[path])]) for path in self.paths}

    def _begin(self, changes: Mapping[str, Content]) -> None:
        if self.recorder is not None:
            for path, content in changes.items():
                story = self.stories.setdefault(path, Story([Version(0, Nothing.ABSENT)]))
                story.begun.append(Version(self.events, content))

    def _settle(self, changes: Mapping[str, Content]) -> None:
        if self.recorder is not None:
            self.recorder.mark("settled")
            for path, content in changes.items():
                self.stories[path].settled.append(Version(self.events, content))

    @contextmanager
    def _acting(
        self, name: str, again: Verb, during: Mapping[str, Content], after: Mapping[str, Content]
    ) -> Iterator[None]:
        self.close()
        first = self.events
        self._begin({**during, **{path: content for path, content in after.items() if path not in during}})
        yield
        self._settle(after)
        self.acts.append(Act(name, first, self.events, again))

    def perform(
        self, name: str, verb: Verb, after: Mapping[str, Content], during: Mapping[str, Content] | None = None
    ) -> None:
        """Run *verb*: it may leave *during* or *after* when it stops, and leaves *after*, durably, when it returns."""
        with self._acting(name, verb, during or {}, after):
            verb(self.engine, self.files)

    def new_path(self) -> str:
        """A name that no file of the history had."""
        path = f"{len(self.made)}.{self.options.format.value}"
        self.made.append(path)
        return path

    def create(self, size: int) -> None:
        """The first image; or one more, that becomes the history's only one."""
        path = self.new_path()

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            with suppress(FileExistsError):
                engine.create(files, path, size, self.options)

        self.perform("create", verb, {path: bytes(size)})
        self.paths.insert(0, path)
        self.contents[path] = bytes(size)

    def snapshot(self, size: int | None = None) -> None:
        """An empty child over the leaf."""
        parent, path = self.leaf, self.new_path()
        content = self.contents[parent] if size is None else self.contents[parent][:size].ljust(size, b"\0")

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            with suppress(FileExistsError):
                engine.create_child(files, path, parent, size=size, any_size=True)

        self.perform("create_child", verb, {path: content})
        self.paths.insert(0, path)
        self.contents[path] = content

    def revert(self) -> None:
        """A fresh empty child in the place of the leaf."""
        path, parent = self.paths[:2]
        content = self.contents[parent]

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            engine.create_child(files, path, parent, replace=True)

        self.perform("create_child", verb, {path: content})
        self.contents[path] = content

    def write(self, offset: int, length: int) -> None:
        """New bytes into the leaf."""
        self._writes += 1
        data = marked(self._writes, offset, length)
        self._change(self.chain.write, offset, data)

    def zero(self, offset: int, length: int) -> None:
        """Zeros into the leaf."""
        self._change(lambda offset, data: self.chain.zero(offset, len(data)), offset, bytes(length))

    def write_zeros(self, offset: int, length: int) -> None:
        """Zeros that are written like any bytes."""
        self._change(self.chain.write, offset, bytes(length))

    def discard(self, offset: int, length: int) -> None:
        """Whole blocks of the leaf given up, where its format can say so: a VHD over a parent keeps them."""
        block = self.chain.leaf.info.block_size
        assert block is not None
        if self.options.format is ImageFormat.VHD and len(self.paths) > 1:
            self._change(lambda _, __: self.chain.discard(offset, length), 0, b"")
            return
        first = -(-offset // block) * block
        last = self.size if offset + length == self.size else (offset + length) // block * block
        if first < last:
            self._change(lambda _, __: self.chain.discard(offset, length), first, bytes(last - first))

    def _change(self, action: Callable[[int, bytes], object], offset: int, data: bytes) -> None:
        chain = self.chain  # opening it may write, and is no part of the change
        assert chain.size == self.size
        old = self.contents[self.leaf]
        content = old[:offset] + data + old[offset + len(data) :]
        self.contents[self.leaf] = content
        self._begin({self.leaf: content})
        action(offset, data)

    def flush(self) -> None:
        """Everything written is durable."""
        if self._chain is not None:
            self._chain.flush()
            self._settle({self.leaf: self.contents[self.leaf]})

    def reopen(self) -> None:
        """The leaf closed and opened again."""
        self.close()
        assert self.chain

    def resize(self, size: int) -> None:
        """Another size for the leaf."""
        path = self.leaf
        content = self.contents[path][:size].ljust(size, b"\0")
        self.perform(
            "resize",
            lambda engine, files: engine.resize(files, path, size, shrink=Shrink.FORCE, orphan=True, any_size=True),
            {path: content},
        )
        self.contents[path] = content

    def compact(self) -> None:
        """The leaf's file made small."""
        path = self.leaf
        self.perform("compact", lambda engine, files: engine.compact(files, path), {path: self.contents[path]})

    def merge(self, top: int, target: int) -> None:
        """A run of layers into the lowest of them; what stands above is relinked, what was merged is removed."""
        top_path, target_path, between = self.paths[top], self.paths[target], self.paths[top + 1 : target]
        above, content = (self.paths[top - 1] if top else None), self.contents[top_path]

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            if above is None or top_path in engine.layers(files, above):
                engine.merge(files, top_path, target_path, shrink=Shrink.FORCE)

        self._announce(target_path)
        lost = dict.fromkeys([*between, target_path], Nothing.ANYTHING)
        self.perform("merge", verb, {target_path: content, **dict.fromkeys(between, Nothing.ANYTHING)}, lost)
        if above:
            self.relink(above, target_path)
        self.remove([top_path, *between])
        self.contents[target_path] = content
        self.paths[top:target] = []

    def merge_and_remove(self, top: int, target: int) -> None:
        """The same in one call, which relinks and removes by itself."""
        top_path, target_path, between = self.paths[top], self.paths[target], self.paths[top + 1 : target]
        content = self.contents[top_path]

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            # Once the top is removed everything is merged, and no call can name it any more.
            if top_path in files.list(""):
                engine.merge(files, top_path, target_path, shrink=Shrink.FORCE, remove=True)

        self._announce(target_path)
        lost = dict.fromkeys([*between, target_path], Nothing.ANYTHING)
        rest = dict.fromkeys(between, Nothing.ANYTHING)
        self.perform("merge", verb, {target_path: content, top_path: Nothing.ABSENT, **rest}, lost)
        self.remove(between)
        self.contents[target_path] = content
        self.paths[top:target] = []

    def _announce(self, path: str) -> None:
        """Note what a VHDX reads as by its present linkage: other children go by it, so other content has another."""
        self.close()
        linkage = self.engine.info(self.files, path).linkage
        if self.options.format is ImageFormat.VHDX and linkage is not None:
            self.announced[path, linkage] = Version(self.events, self.contents[path])

    def merge_up(self, top: int, target: int) -> None:
        """A run of layers into the highest of them; the others stay as they were, beside the chain."""
        path, lowest = self.paths[top], self.paths[target]

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            if lowest in engine.layers(files, path):
                engine.merge(files, path, lowest, direction=Direction.UP)

        self.perform("merge up", verb, {path: self.contents[path]})
        self.remove(self.paths[top + 1 : target + 1])
        self.paths[top + 1 : target + 1] = []

    def relink(self, child: str, parent: str) -> None:
        """The parent of *child* recorded anew."""
        self.perform(
            "relink",
            lambda engine, files: engine.relink(files, child, parent, merged=True),
            {child: self.contents[child]},
        )

    def remove(self, paths: list[str]) -> None:
        """Files removed, durably."""

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            for path in paths:
                with suppress(FileNotFoundError):
                    files.remove(path)
            files.sync_directory("")

        # The lower files of a run are in nobody's way, but no disk once those above are gone.
        gone: dict[str, Content] = dict.fromkeys(paths, Nothing.ABSENT)
        self.perform("remove", verb, gone, dict.fromkeys(paths, Nothing.ANYTHING))

    def convert(self, options: CreateOptions, size: int | None = None) -> None:
        """The leaf's disk in a file of its own."""
        source, path = self.leaf, self.new_path()
        content = self.contents[source]

        def verb(engine: NativeEngine, files: FileSystem) -> None:
            with suppress(FileExistsError):
                engine.convert(files, source, files, path, options=options, size=size)

        self.perform("convert", verb, {path: content.ljust(size or 0, b"\0")})


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a history is made of."""

    least: int = MIB + SECTOR
    most: int = 3 * MIB
    layers: int = 4
    steps: int = 8


def some_size(chance: random.Random, sizes: Sizes) -> int:
    """A size of a disk, often an odd one."""
    whole = chance.randrange(sizes.least // MIB, sizes.most // MIB + 1) * MIB
    return max(sizes.least, min(sizes.most, whole + chance.choice((0, 0, SECTOR, -SECTOR, 9 * SECTOR))))


def some_range(chance: random.Random, size: int) -> tuple[int, int]:
    """Whole sectors somewhere on a disk; short ones, and such as cover blocks."""
    if chance.random() < 0.4:
        first = chance.randrange(-(-size // MIB))
        return first * MIB, min(chance.choice((1, 1, 2)) * MIB, size - first * MIB)
    length = min(size, chance.choice((SECTOR, 4096, 12288, 65536, MIB // 2, MIB + 4096)))
    offset = chance.choice((chance.randrange(size // SECTOR) * SECTOR, chance.randrange(1 + size // MIB) * MIB, 0))
    return min(offset, (size - length) // SECTOR * SECTOR), length


def layered(history: History, layers: int, sizes: Sizes) -> None:
    """A chain whose layers overlap in every way, with zeros over data and sizes that differ."""
    chance = history.chance
    history.create(some_size(chance, sizes))
    if chance.random() < 0.7:
        # What wrongly comes through is seen only where there is something to come through.
        history.write(0, history.size)
    for number in range(layers):
        if number:
            history.snapshot(some_size(chance, sizes) if chance.random() < 0.3 else None)
        for _ in range(chance.randrange(1, 4)):
            (history.zero if chance.random() < 0.25 else history.write)(*some_range(chance, history.size))
    history.close()
