"""Every operation that changes a volume, on recorded shares, and what each file of it is called in a list."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from smbfs_driver.volumes import moving
from smbfs_driver.volumes.moving import Destination
from smbfs_driver.volumes.names import DiskFormat, FileKind, parse
from smbfs_driver.volumes.shape import DYNAMIC_VHDX, Shape
from smbfs_driver.volumes.volumes import ForeignImage
from tests.driver.kits import OTHER, SIZE, VOLUME, A, B, Bench, C
from tests.driver.ledger import Record
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.image.base import ImageFormat
from vhdx.verbs.engine import NativeEngine

FOREIGN = "foreign image.vhdx"
"""No volume can have this name."""
VHD, FIXED = Shape(DiskFormat.VHD), Shape(fixed=True)


def _volume(bench: Bench) -> None:
    bench.volumes.create(VOLUME, SIZE)
    bench.write(0, 1)
    bench.write(1, 1)


def _snapshots(*ids: str) -> Callable[[Bench], None]:
    """A volume with these snapshots, oldest first, each layer of which masks some of the one below."""

    def prepare(bench: Bench) -> None:
        _volume(bench)
        for number, snapshot in enumerate(ids, start=2):
            bench.volumes.create_snapshot(VOLUME, snapshot)
            bench.write(1, number)
            bench.write(number, number)

    return prepare


def _of_snapshot(bench: Bench) -> None:
    bench.volumes.create_from_snapshot(OTHER, VOLUME, A, SIZE)


def _grown(bench: Bench) -> None:
    _snapshots(A)(bench)
    bench.volumes.extend(VOLUME, 2 * SIZE)
    bench.write(20, 9)


def _documented(bench: Bench) -> None:
    """A volume without snapshots that has a document, since it had one."""
    _snapshots(A)(bench)
    bench.volumes.delete_snapshot(VOLUME, A)


def _fixed(bench: Bench) -> None:
    bench.volumes.create(VOLUME, SIZE, FIXED)


def _vhd(bench: Bench) -> None:
    bench.volumes.create(VOLUME, SIZE, VHD)


def _foreign(bench: Bench) -> None:
    bench.kit.engine.create(bench.files, FOREIGN, SIZE)


def _load(bench: Bench) -> None:
    # File systems in memory number their files: this one's must not be taken for one of the share's.
    elsewhere = MemoryFileSystem({f"{number}": Pages() for number in range(8)})
    engine = NativeEngine()
    engine.create(elsewhere, "image", SIZE)
    with closing(engine.open_chain(elsewhere, "image", writable=1)) as chain:
        chain.write(0, b"image".ljust(512))
    image = ForeignImage(elsewhere, "image", ImageFormat.VHDX)
    bench.volumes.load(VOLUME, image, SIZE, DYNAMIC_VHDX)


@dataclass(frozen=True)
class Case:
    """A share as *prepare* makes it, and an operation on it, which may use a second share.

    *promises*: the intent says what is to be done after a stop, as there is something to be done.
    """

    prepare: Callable[[Bench], None]
    operate: Callable[[Bench, Bench], None]
    promises: bool = True


def _reshape(shape: Shape) -> Callable[[Bench, Bench], None]:
    return lambda here, _: moving.reshape(here.volumes.shelf, VOLUME, shape)


def _move(here: Bench, there: Bench) -> None:
    destination = Destination("//server/second", there.volumes.shelf)
    moving.move(here.volumes.shelf, VOLUME, destination, owner="owner", shape=DYNAMIC_VHDX, entered=lambda: None)


CASES = {
    "create": Case(lambda _: None, lambda b, _: b.volumes.create(VOLUME, SIZE), promises=False),
    "create-vhd": Case(lambda _: None, lambda b, _: b.volumes.create(VOLUME, SIZE, VHD), promises=False),
    "snapshot-first": Case(_volume, lambda b, _: b.volumes.create_snapshot(VOLUME, A)),
    "snapshot-second": Case(_snapshots(A), lambda b, _: b.volumes.create_snapshot(VOLUME, B)),
    "snapshot-vhd": Case(_vhd, lambda b, _: b.volumes.create_snapshot(VOLUME, A)),
    "extend": Case(_volume, lambda b, _: b.volumes.extend(VOLUME, 2 * SIZE), promises=False),
    "extend-with-snapshot": Case(_snapshots(A), lambda b, _: b.volumes.extend(VOLUME, 2 * SIZE), promises=False),
    "extend-vhd": Case(_vhd, lambda b, _: b.volumes.extend(VOLUME, 2 * SIZE), promises=False),
    "revert": Case(_snapshots(A, B), lambda b, _: b.volumes.revert(VOLUME, B), promises=False),
    "clone": Case(_snapshots(A), lambda b, _: b.volumes.clone(OTHER, VOLUME, 2 * SIZE), promises=False),
    "from-snapshot": Case(_snapshots(A), lambda b, _: _of_snapshot(b), promises=False),
    "delete": Case(_snapshots(A, B), lambda b, _: b.volumes.delete(VOLUME)),
    "delete-snapshot-only": Case(_snapshots(A), lambda b, _: b.volumes.delete_snapshot(VOLUME, A)),
    "delete-snapshot-latest": Case(_snapshots(A, B, C), lambda b, _: b.volumes.delete_snapshot(VOLUME, C)),
    "delete-snapshot-middle": Case(_snapshots(A, B, C), lambda b, _: b.volumes.delete_snapshot(VOLUME, B)),
    "delete-snapshot-first": Case(_snapshots(A, B, C), lambda b, _: b.volumes.delete_snapshot(VOLUME, A)),
    "delete-snapshot-grown": Case(_grown, lambda b, _: b.volumes.delete_snapshot(VOLUME, A)),
    "rename": Case(_volume, lambda b, _: b.volumes.rename(VOLUME, OTHER), promises=False),
    "rename-with-info": Case(_documented, lambda b, _: b.volumes.rename(VOLUME, OTHER), promises=False),
    "rename-snapshot": Case(_snapshots(A), lambda b, _: b.volumes.rename_snapshot(VOLUME, A, B)),
    "load": Case(_volume, lambda b, _: _load(b), promises=False),
    "adopt": Case(_foreign, lambda b, _: b.volumes.adopt(VOLUME, FOREIGN, DiskFormat.VHDX), promises=False),
    "adopt-and-grow": Case(
        _foreign, lambda b, _: b.volumes.adopt(VOLUME, FOREIGN, DiskFormat.VHDX, 3 * SIZE), promises=False
    ),
    "reshape-to-fixed": Case(_volume, _reshape(FIXED), promises=False),
    "reshape-from-fixed": Case(_fixed, _reshape(DYNAMIC_VHDX), promises=False),
    "reshape-to-vhd": Case(_documented, _reshape(VHD)),
    "move": Case(_documented, _move),
}


def run(case: str) -> Record:
    """A fresh record of the operation."""
    prepared = MemoryFileSystem()
    CASES[case].prepare(Bench.on(prepared, "native"))
    record = Record(prepared, MemoryFileSystem())
    here, there = (Bench.on(files, "native", start=(number + 1) << 16) for number, files in enumerate(record.files))
    CASES[case].operate(here, there)
    return record


@cache
def recorded(case: str) -> Record:
    """As `run`, once for all."""
    return run(case)


def group(share: int, path: str) -> tuple[int, str, str]:
    """The share, volume and format that a file belongs to: what is changed under one intent."""
    parsed = parse(path)
    return (share, parsed.names.volume, parsed.names.format.value) if parsed is not None else (share, "", "")


def role(share: int, path: str) -> str:
    """What a file is to the operation."""
    words = ["there"] if share else []
    if not path:
        return " ".join(words)
    if path == FOREIGN:
        return "foreign"
    building = 0
    while path.endswith(".tmp"):
        path = path.removesuffix(".tmp").rpartition(".")[0]
        building += 1
    parsed = parse(path)
    if parsed is None:
        return path
    if parsed.names.volume == OTHER:
        words.append("other")
    if parsed.names.format is DiskFormat.VHD:
        words.append("vhd")
    words.append(parsed.kind.value)
    if parsed.kind is FileKind.SNAPSHOT:
        words += [letter for letter, ident in zip("ABC", (A, B, C), strict=True) if ident in path]
    return " ".join(words) + "-temporary" * building
