"""A directory with an image of every kind, sound and otherwise, the same in every run but for its place.

GUIDs are counted, so that what the commands print of the images can be kept and compared.
"""

import struct
from pathlib import Path
from uuid import UUID

from tests.image.forge import Forge, writer
from tests.support.disks import MIB, counting_ids, pattern
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

SIZE = 8 * MIB
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
SOUND = [
    "dynamic.vhdx",
    "fixed.vhdx",
    "sectors.vhdx",
    "base.vhdx",
    "middle.vhdx",
    "leaf.vhdx",
    "sibling.vhdx",
    "dirty.vhdx",
    "dynamic.vhd",
    "fixed.vhd",
    "child.vhd",
]
"""Images that open, with all of their parents."""
BROKEN = {
    "orphan.vhdx": "the parent was not found",
    "stale.vhdx": "the file at the recorded path is not, or is no longer, the parent",
}
"""Images that open, but not their disks."""
RAW = "plain.raw"
DAMAGED = "damaged.vhdx"
RUBBISH = "rubbish.vhdx"
LEAKING = "leaking.vhdx"


def paint(directory: Path) -> None:
    """Make all of them in an empty directory."""
    files = LocalFileSystem(directory)
    engine = NativeEngine(new_id=counting_ids())
    _alone(engine, files)
    _chain(engine, files)
    _vhds(engine, files)
    _broken(engine, files)
    _dirty(engine, files)
    _damaged(directory, files)
    (directory / RAW).write_bytes(pattern(9, MIB) + bytes(MIB) + pattern(10, 512))
    (directory / RUBBISH).write_bytes(pattern(11, 3 * MIB))


def _write(engine: NativeEngine, files: LocalFileSystem, path: str, *pieces: tuple[int, bytes]) -> None:
    with engine.open_chain(files, path, writable=1) as chain:
        for offset, data in pieces:
            chain.write(offset, data)


def _alone(engine: NativeEngine, files: LocalFileSystem) -> None:
    engine.create(files, "dynamic.vhdx", SIZE, CreateOptions(block_size=MIB))
    _write(engine, files, "dynamic.vhdx", (0, pattern(1, MIB + 512)), (SIZE - 512, pattern(2, 512)))
    engine.create(files, "fixed.vhdx", SIZE, CreateOptions(fixed=True))
    _write(engine, files, "fixed.vhdx", (MIB, pattern(3, 4096)))
    engine.create(files, "sectors.vhdx", SIZE, CreateOptions(block_size=2 * MIB, logical_sector_size=4096))
    _write(engine, files, "sectors.vhdx", (3 * MIB, pattern(4, 8192)))


def _chain(engine: NativeEngine, files: LocalFileSystem) -> None:
    engine.create(files, "base.vhdx", SIZE, CreateOptions(block_size=2 * MIB))
    _write(engine, files, "base.vhdx", (0, pattern(5, 4 * MIB)))
    engine.create_child(files, "middle.vhdx", "base.vhdx")
    _write(engine, files, "middle.vhdx", (MIB, pattern(6, 4096)))
    engine.create_child(files, "leaf.vhdx", "middle.vhdx")
    _write(engine, files, "leaf.vhdx", (MIB + 1024, pattern(7, 1024)), (5 * MIB, pattern(8, 2048)))
    engine.create_child(files, "sibling.vhdx", "middle.vhdx")


def _vhds(engine: NativeEngine, files: LocalFileSystem) -> None:
    for name, fixed in (("dynamic.vhd", False), ("fixed.vhd", True)):
        engine.create(files, name, SIZE, CreateOptions(format=ImageFormat.VHD, fixed=fixed))
        _write(engine, files, name, (2 * MIB, pattern(12, 4096)))
    engine.create_child(files, "child.vhd", "dynamic.vhd")
    _write(engine, files, "child.vhd", (512, pattern(13, 512)))


def _broken(engine: NativeEngine, files: LocalFileSystem) -> None:
    for name in ("orphan.vhdx", "stale.vhdx"):
        engine.create(files, f"under-{name}", SIZE, CreateOptions(block_size=MIB))
        engine.create_child(files, name, f"under-{name}")
    files.remove("under-orphan.vhdx")
    with engine.open_chain(files, "under-stale.vhdx", writable=1, orphan=True) as chain:
        chain.write(0, pattern(14, 512))


def _dirty(engine: NativeEngine, files: LocalFileSystem) -> None:
    """What was written last is in the log alone."""
    engine.create(files, "dirty.vhdx", SIZE, CreateOptions(block_size=MIB))
    image = writer(files, "dirty.vhdx")
    for number in range(3):
        with image.allocate([Range(number * MIB, 4096)]) as places:
            for place in places:
                assert place.file_offset is not None
                image.storage.write([(place.file_offset, pattern(number + 20, place.length))])
        image.flush()
    image.abandon()
    assert Forge(files, "dirty.vhdx").spoil_logged_pages()


def _damaged(directory: Path, files: LocalFileSystem) -> None:
    for name in (DAMAGED, LEAKING):
        (directory / name).write_bytes((directory / "dynamic.vhdx").read_bytes())
    damaged = Forge(files, DAMAGED)
    damaged.set_entry(1, damaged.entry(0))  # two blocks in one place
    leaking = Forge(files, LEAKING)
    leaking.set_entry(1, 0)  # a block that nothing refers to any more


def sectors_of(forge: Forge) -> tuple[int, int, int]:
    """Virtual size, block size and sector size of a VHDX, read from its metadata by the specification."""
    table = forge.read(forge.metadata, 2048)
    items = {}
    for number in range(struct.unpack_from("<H", table, 10)[0]):
        guid, offset, length = struct.unpack_from("<16sII", table, 32 + 32 * number)
        items[guid[:4]] = forge.read(forge.metadata + offset, length)
    block = struct.unpack_from("<I", items[bytes.fromhex("3767a1ca")])[0]
    size = struct.unpack("<Q", items[bytes.fromhex("2442a52f")])[0]
    sector = struct.unpack("<I", items[bytes.fromhex("1dbf4181")])[0]
    return size, block, sector
