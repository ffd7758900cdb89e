"""Doing and undoing repairs, and what has to hold."""

from collections.abc import Iterator
from contextlib import closing

from tests.repair.damages import DAMAGES, Damage
from tests.support.disks import Disk, counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.check import Finding, Severity, check_storage
from vhdx.errors import Error
from vhdx.extents import Presence
from vhdx.image.base import ImageFormat
from vhdx.repair.fix import Fix
from vhdx.repair.verb import plan_repair, repair
from vhdx.repair.verb import undo as take_back
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import NativeEngine

Held = dict[int, bytes]


def plan(files: FileSystem, path: str, format: ImageFormat | None = None) -> list[Fix]:
    return plan_repair(files, path, new_id=counting_ids(300), format=format, reclaim=True)


def do(files: FileSystem, path: str, format: ImageFormat | None = None, undo: str = "undo") -> list[Fix]:
    return repair(files, path, undo=undo, new_id=counting_ids(400), format=format, reclaim=True)


def back(files: FileSystem, path: str, undo: str = "undo") -> None:
    take_back(files, path, undo)


def findings(files: FileSystem, path: str) -> list[Finding]:
    with closing(files.open(path, Access.READ)) as storage:
        return list(check_storage(storage))


def errors(files: FileSystem, path: str) -> list[str]:
    return [str(finding) for finding in findings(files, path) if finding.severity is Severity.ERROR]


def held(files: FileSystem, path: str) -> Held:
    """What the disk holds that is not zeros, by sector; as a reader sees it through all layers."""
    with NativeEngine(new_id=counting_ids(900)).open_chain(files, path) as chain:
        return {offset: data for offset, data in _sectors(chain) if data.strip(b"\0")}


def readable(files: FileSystem, path: str) -> Held | None:
    """The same of an image that may be too damaged to be read."""
    try:
        return held(files, path)
    except (Error, FileNotFoundError):
        return None


def _sectors(chain: Chain) -> Iterator[tuple[int, bytes]]:
    for _, extent in chain.extents(0, chain.size):
        if extent.presence is Presence.DATA:
            data = chain.read(extent.offset, extent.length)
            for at in range(0, len(data), 4096):
                yield extent.offset + at, data[at : at + 4096]


def content(disk: Disk, files: FileSystem) -> None:
    """The disk holds what the model says."""
    with NativeEngine(new_id=counting_ids(900)).open_chain(files, disk.paths[0]) as chain:
        if disk.contents[0]:
            assert chain.read(0, chain.size) == bytes(disk.contents[0])


def made(name: str) -> tuple[Damage, Disk, MemoryFileSystem, str]:
    damage = DAMAGES[name]
    disk = damage.make()
    disk.close()
    assert isinstance(disk.files, MemoryFileSystem)
    return damage, disk, disk.files, disk.paths[0]
