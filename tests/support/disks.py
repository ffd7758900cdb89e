"""The dumbest possible disk, to compare the real one with: a list of byte strings, one per layer, newest first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from vhdx.chain.chain import Chain
from vhdx.image.base import CreateOptions, DiskType, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import Direction, NativeEngine, Shrink

MIB = 1 << 20


def counting_ids(start: int = 1) -> Callable[[], UUID]:
    """GUIDs that come out the same in every run."""
    numbers = count(start)
    return lambda: UUID(int=next(numbers) << 64 | 0x8000_0000_0000_0000)


def pattern(seed: int, length: int) -> bytes:
    """Bytes that differ from sector to sector and from seed to seed."""
    unit = b"".join(((seed * 7919 + number) & 0xFFFFFFFF).to_bytes(4, "little") * 128 for number in range(64))
    return (unit * (length // len(unit) + 1))[:length]


def holds(chain: Chain, content: bytearray) -> bool:
    """Whether the disk reads so; compared piece by piece, since many tests have large ones."""
    pieces = range(0, len(content), 4 * MIB)
    return all(chain.read(at, min(4 * MIB, len(content) - at)) == content[at : at + 4 * MIB] for at in pieces)


@dataclass
class Disk:
    """A chain of files and its model, changed together. Layer 0 is the leaf."""

    files: FileSystem
    engine: NativeEngine
    paths: list[str] = field(default_factory=list)
    contents: list[bytearray] = field(default_factory=list)
    made: int = 0
    chain: Chain | None = None
    format: ImageFormat = ImageFormat.VHDX

    @classmethod
    def create(cls, files: FileSystem, size: int, *, block_size: int = MIB, sector_size: int = 512) -> "Disk":
        return cls.shaped(files, size, CreateOptions(block_size=block_size, logical_sector_size=sector_size))

    @classmethod
    def shaped(cls, files: FileSystem, size: int, options: CreateOptions) -> "Disk":
        disk = cls(files, NativeEngine(new_id=counting_ids()), format=options.format)
        path = f"0.{options.format}"
        disk.engine.create(files, path, size, options)
        disk.paths, disk.contents, disk.made = [path], [bytearray(size)], 1
        return disk

    @property
    def open(self) -> Chain:
        if self.chain is None:
            self.chain = self.engine.open_chain(self.files, self.paths[0], writable=1)
        return self.chain

    @property
    def size(self) -> int:
        return len(self.contents[0])

    def close(self) -> None:
        if self.chain is not None:
            self.chain.close()
            self.chain = None

    def write(self, offset: int, data: bytes) -> None:
        self.open.write(offset, data)
        self.contents[0][offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        self.open.zero(offset, length)
        self.contents[0][offset : offset + length] = bytes(length)

    def discard(self, offset: int, length: int) -> None:
        self.open.discard(offset, length)
        info = self.open.leaf.info
        block = info.block_size
        # A fixed image keeps all it has, and a VHD cannot hide a parent.
        if block is None or info.type is DiskType.FIXED or (self.format is ImageFormat.VHD and info.parent):
            return
        for start in range(-(-offset // block) * block, self.size, block):
            end = min(start + block, self.size)
            if end <= offset + length:
                self.contents[0][start:end] = bytes(end - start)

    def snapshot(self, size: int | None = None) -> None:
        self.close()
        path = f"{self.made}.{self.format}"
        self.made += 1
        self.engine.create_child(self.files, path, self.paths[0], size=size, any_size=True)
        below = self.contents[0]
        content = bytearray(below if size is None else below[:size].ljust(size, b"\0"))
        self.paths.insert(0, path)
        self.contents.insert(0, content)

    def resize(self, size: int) -> None:
        self.close()
        self.engine.resize(self.files, self.paths[0], size, shrink=Shrink.FORCE, any_size=True)
        self.contents[0] = bytearray(self.contents[0][:size].ljust(size, b"\0"))

    def merge(self, top: int, target: int) -> None:
        self.close()
        self.engine.merge(self.files, self.paths[top], self.paths[target], shrink=Shrink.FORCE)
        if top:
            self.engine.relink(self.files, self.paths[top - 1], self.paths[target], merged=True)
        for path in self.paths[top:target]:
            self.files.remove(path)
        self.paths[top:target] = []
        self.contents[top + 1 : target + 1] = []

    def pull(self, top: int, target: int) -> None:
        """Merge upward."""
        self.close()
        self.engine.merge(self.files, self.paths[top], self.paths[target], direction=Direction.UP)
        for path in self.paths[top + 1 : target + 1]:
            self.files.remove(path)
        self.paths[top + 1 : target + 1] = []
        self.contents[top + 1 : target + 1] = []

    def compact(self, layer: int) -> None:
        self.close()
        self.engine.compact(self.files, self.paths[layer])

    def check(self) -> None:
        """Every layer, read as a disk of its own, holds what the model says."""
        self.close()
        for path, content in zip(self.paths, self.contents, strict=True):
            with self.engine.open_chain(self.files, path) as chain:
                assert chain.size == len(content)
                assert holds(chain, content), f"{path} differs"
