"""Small sound images of every kind, leaf first in their chains: what the lies are told to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from tests.image.forge import Forge, writer
from tests.support.disks import MIB, Disk, pattern
from tests.support.kinds import KINDS
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, ImageFormat

KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Subject:
    """A disk in files: their bytes, the paths of its layers, and what each layer reads as."""

    format: ImageFormat
    files: dict[str, Pages]
    paths: tuple[str, ...]
    contents: dict[str, bytes]

    def copy(self, *, optional: bool = True) -> MemoryFileSystem:
        """Files of one's own; not *optional*: that refuse whatever the contract lets them refuse."""
        return MemoryFileSystem({path: pages.copy() for path, pages in self.files.items()}, optional=optional)

    def bytes_of(self, path: str) -> bytes:
        pages = self.files[path]
        return pages.read(0, pages.size)


def _filled(disk: Disk, seed: int, block: int) -> None:
    """Blocks whole, in part, of zeros, and absent."""
    sector = disk.open.leaf.logical_sector_size
    disk.write(0, pattern(seed, block + 3 * sector))
    disk.write(block * 2 + sector * seed, pattern(seed + 50, 5 * sector))
    disk.open.flush()
    disk.zero(block, 2 * sector)
    disk.write(disk.size - 20 * sector, pattern(seed + 90, sector))


def _made(kind: str, sector: int = 512) -> Disk:
    shape = KINDS[kind]
    vhdx = shape.format is ImageFormat.VHDX
    block = MIB if vhdx else 128 * KIB
    size = 3 * block + (5 * sector if not shape.fixed else 0)
    disk = Disk.shaped(
        MemoryFileSystem(),
        size,
        CreateOptions(format=shape.format, fixed=shape.fixed, block_size=block, logical_sector_size=sector),
    )
    _filled(disk, 1, block)
    for seed in (2, 3) if shape.differencing else ():
        disk.snapshot()
        _filled(disk, seed, block)
    return disk


def _dirty() -> Disk:
    """A differencing VHDX of which the last changes are in the log alone."""
    disk = _made("vhdx-differencing")
    disk.close()
    image = writer(disk.files, disk.paths[0], start=600)
    for number in range(2):
        data = pattern(number + 9, 4096)
        with image.allocate([Range(number * MIB + 8192, 4096)]) as places:
            for place in places:
                assert place.file_offset is not None
                image.storage.write([(place.file_offset, data[: place.length])])
        disk.contents[0][number * MIB + 8192 : number * MIB + 8192 + 4096] = data
        image.flush()
    image.abandon()
    assert Forge(disk.files, disk.paths[0]).spoil_logged_pages()
    return disk


MAKERS: dict[str, Callable[[], Disk]] = {
    **{kind: partial(_made, kind) for kind in KINDS},
    "vhdx-dirty": _dirty,
    "vhdx-4096": partial(_made, "vhdx-differencing", 4096),
}


@cache
def subject(name: str) -> Subject:
    """A sound disk; the same in every run."""
    disk = MAKERS[name]()
    disk.check()
    assert isinstance(disk.files, MemoryFileSystem)
    contents = {path: bytes(content) for path, content in zip(disk.paths, disk.contents, strict=True)}
    return Subject(disk.format, disk.files.snapshot(), tuple(disk.paths), contents)
