"""Merging a layer into the one below it: against qemu-img commit on qcow2 with the same content, and cp of the layer.

Before every run the lower layer is put back as it was, so that each merge has the same blocks to allocate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.content import KIB, MIB, Run, every, scattered, write_image, write_raw
from benchmarks.measuring import Case, Contender
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine


@dataclass(frozen=True, slots=True)
class Layers:
    """A base and a leaf over it. The base holds 1 MiB in every 16."""

    name: str
    disk_size: int
    leaf: Sequence[Run]

    @property
    def base(self) -> Iterator[Run]:
        return every(16 * MIB, MIB, self.disk_size, seed=7)

    def write_merged(self, path: Path) -> None:
        """The disk that the merge has to make, as a raw file."""
        write_raw(path, self.disk_size, [*self.base, *self.leaf])


def dense(size: int) -> Layers:
    """*size* bytes in extents of 1 MiB, each followed by a gap of 1 MiB."""
    return Layers(f"merge {size // MIB} MiB in 1 MiB extents", 2 * size, list(every(2 * MIB, MIB, 2 * size)))


def sparse(size: int) -> Layers:
    """An extent of 4 KiB for every 32 KiB of *size*, all over a disk four times as large."""
    count = size // (32 * KIB)
    return Layers(f"merge {count} extents of 4 KiB", 4 * size, scattered(count, 4 * KIB, 4 * size, seed=1))


def write_layers(files: FileSystem, layers: Layers) -> None:
    """Make ``base.vhdx`` and ``leaf.vhdx``."""
    engine = NativeEngine()
    engine.create(files, "base.vhdx", layers.disk_size)
    write_image(files, "base.vhdx", layers.base)
    engine.create_child(files, "leaf.vhdx", "base.vhdx")
    write_image(files, "leaf.vhdx", layers.leaf)


def aside(home: Path) -> Path:
    """Where what belongs to no contender lies."""
    return home / "aside"


def merged(home: Path) -> Path:
    """The disk that every merge in *home* has to make, as a raw file."""
    return aside(home) / "merged.raw"


def cases(
    directory: Path, place: str, size: int, *, dense_floor: float, sparse_floor: float | None
) -> Iterator[Case]:
    """Both shapes of a merge in *directory*; the floors are for either kind of qcow2."""
    for layers, floor in ((dense(size), dense_floor), (sparse(size), sparse_floor)):
        home = directory / f"merge-{len(layers.leaf)}"
        # Apart from the images: whoever merges looks at everything that lies beside them.
        aside(home).mkdir(parents=True)
        layers.write_merged(merged(home))
        theirs = [_theirs(home, layers, clusters) for clusters in ("64k", "4k")]
        ours = _ours(home, layers)
        floors = {} if floor is None else {contender.name: floor for contender in theirs}
        yield Case(layers.name, place, [ours, *theirs, _copy(home)], floors)


def _ours(home: Path, layers: Layers) -> Contender:
    files = LocalFileSystem(home)
    write_layers(files, layers)
    before = aside(home) / "base.vhdx"
    peers.fresh_copy(home / "base.vhdx", before)

    def prepare() -> None:
        peers.fresh_copy(before, home / "base.vhdx")
        peers.settle(home)

    def run() -> None:
        NativeEngine().merge(files, "leaf.vhdx", "base.vhdx")

    return Contender("vhdx", run, prepare, lambda: peers.same_disk(home / "base.vhdx", merged(home)))


def _theirs(home: Path, layers: Layers, clusters: str) -> Contender:
    base, leaf = home / f"base-{clusters}.qcow2", home / f"leaf-{clusters}.qcow2"
    before = aside(home) / base.name
    options = ["-q", "-f", "qcow2", "-o", f"cluster_size={clusters}"]
    peers.command("qemu-img", "create", *options, base, str(layers.disk_size))
    peers.write_qcow2(base, layers.base)
    peers.command("qemu-img", "create", *options, "-b", base.name, "-F", "qcow2", leaf)
    peers.write_qcow2(leaf, layers.leaf)
    peers.fresh_copy(base, before)

    def prepare() -> None:
        peers.fresh_copy(before, base)
        peers.settle(home)

    def run() -> None:
        # Without -d it would empty the leaf, which we do not do either.
        peers.command("qemu-img", "commit", "-q", "-d", *peers.CACHE, leaf)
        peers.durable(base)

    name = f"qemu-img commit ({clusters} clusters)"
    return Contender(name, run, prepare, lambda: peers.same_disk(base, merged(home)))


def _copy(home: Path) -> Contender:
    target = aside(home) / "leaf.vhdx"

    def prepare() -> None:
        target.unlink(missing_ok=True)
        peers.settle(home)

    def run() -> None:
        peers.command("cp", "--sparse=always", "--reflink=auto", home / "leaf.vhdx", target)
        peers.durable(target)

    return Contender("cp of the layer", run, prepare)
