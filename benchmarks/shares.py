"""Merging and converting on a real SMB3 share: inside the server, against the same work through the client.

The server is a private smbd on this machine. Across the loopback interface the way through the client is faster than on
most networks, so the merge is measured over a link of 1 Gbit/s in each direction, too.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import converting, merging, peers
from benchmarks.content import MIB
from benchmarks.links import link
from benchmarks.measuring import Case, Contender
from tests.support.mounts import CannotMountError, mounted
from tests.support.smbd import Smbd, unavailable
from vhdx.storage.base import FileSystem, Unsupported
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.storage.watched import Operation, WatchedFileSystem
from vhdx.verbs.engine import NativeEngine

FLOOR = 0.25
GIGABIT = 1e9
INSIDE, THROUGH = "vhdx, inside the server", "vhdx, through the client"


def missing() -> str | None:
    """Why there is no share here, or None."""
    return unavailable() or peers.missing("qemu-img")


def _refuse_copies(operation: Operation) -> None:
    if operation.kind == "copy":
        raise Unsupported("everything goes through the client")


@contextmanager
def _share(directory: Path, bits_per_second: float | None = None) -> Iterator[FileSystem]:
    with Smbd() as server, SmbPool() as pool, ExitStack() as stack:
        server.add_share("bench", directory)
        credentials = Credentials(server.user, server.password)
        port = server.port
        if bits_per_second:
            port = stack.enter_context(link(server.host, port, bits_per_second))
        yield pool.share(server.host, "bench", port=port, credentials=credentials)


def cases(directory: Path, size: int) -> Iterator[Case]:
    """A share on the file system of *directory*, and one on an XFS, which can share blocks."""
    plain = directory / "plain"
    plain.mkdir()
    with _share(plain) as files:
        yield from _merges(plain, files, "smb", size, {})
        yield from _conversions(plain, files, "smb", size)
    with _share(plain, GIGABIT) as files:
        yield from _merges(plain, files, "smb, 1 Gbit/s", size, {THROUGH: FLOOR})
    try:
        with mounted("xfs", 16 * size + (1 << 30), directory) as point, _share(point) as files:
            yield from _merges(point, files, "smb on xfs", size, {THROUGH: FLOOR})
            yield from _conversions(point, files, "smb on xfs", size)
    except CannotMountError as error:
        print(f"share: no XFS under it, {error}", file=sys.stderr)


def _merges(directory: Path, files: FileSystem, place: str, size: int, floors: dict[str, float]) -> Iterator[Case]:
    """The floor is for the merge of large extents; small ones are there to be looked at."""
    ways = {INSIDE: files, THROUGH: WatchedFileSystem(files, _refuse_copies)}
    for layers, limits in ((merging.dense(size), floors), (merging.sparse(size), {})):
        merging.aside(directory).mkdir(exist_ok=True)
        layers.write_merged(merging.merged(directory))
        merging.write_layers(LocalFileSystem(directory), layers)
        peers.fresh_copy(directory / "base.vhdx", merging.aside(directory) / "base.vhdx")
        contenders = [_merge(directory, name, way) for name, way in ways.items()]
        yield Case(layers.name, place, contenders, limits)
        for path in directory.glob("*.vhdx"):
            path.unlink()


def _conversions(directory: Path, files: FileSystem, place: str, size: int) -> Iterator[Case]:
    ways = {INSIDE: files, THROUGH: WatchedFileSystem(files, _refuse_copies)}
    converting.write_source(directory / "disk.raw", size)
    name = f"convert {size // MIB} MiB, raw to vhdx"
    yield Case(name, place, [_convert(directory, way_name, way) for way_name, way in ways.items()])


def _merge(home: Path, name: str, files: FileSystem) -> Contender:
    def prepare() -> None:
        peers.fresh_copy(merging.aside(home) / "base.vhdx", home / "base.vhdx")
        peers.settle(home)

    def run() -> None:
        NativeEngine().merge(files, "leaf.vhdx", "base.vhdx")

    return Contender(name, run, prepare, lambda: peers.same_disk(home / "base.vhdx", merging.merged(home)))


def _convert(home: Path, name: str, files: FileSystem) -> Contender:
    made = home / "made.vhdx"

    def prepare() -> None:
        made.unlink(missing_ok=True)
        peers.settle(home)

    return Contender(
        name,
        lambda: converting.convert(files, "disk.raw", made.name),
        prepare,
        lambda: peers.same_disk(home / "disk.raw", made),
    )
