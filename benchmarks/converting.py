"""Raw to VHDX and back: against qemu-img convert and cp of the source.

The disk is three quarters data, in runs of 6 MiB with holes between them.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.content import MIB, every, write_raw
from benchmarks.measuring import Case, Contender
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine


def write_source(path: Path, size: int) -> None:
    """The raw disk of these cases."""
    write_raw(path, size, every(8 * MIB, 6 * MIB, size))


def convert(files: FileSystem, source: str, target: str) -> None:
    """Our verb, the formats taken from the names."""
    formats = {".raw": ImageFormat.RAW, ".vhdx": ImageFormat.VHDX}
    NativeEngine().convert(
        files,
        source,
        files,
        target,
        source_format=formats[Path(source).suffix],
        options=CreateOptions(format=formats[Path(target).suffix]),
    )


def cases(directory: Path, place: str, size: int, floor: float) -> Iterator[Case]:
    """Both directions in *directory*; *floor* is for qemu-img."""
    home = directory / "converting"
    home.mkdir()
    write_source(home / "disk.raw", size)
    convert(LocalFileSystem(home), "disk.raw", "disk.vhdx")
    for source, target in (("disk.raw", "made.vhdx"), ("disk.vhdx", "made.raw")):
        name = f"convert {size // MIB} MiB, {Path(source).suffix[1:]} to {Path(target).suffix[1:]}"
        contenders = [_ours(home, source, target), _theirs(home, source, target), _copy(home, source)]
        yield Case(name, place, contenders, {"qemu-img convert": floor})


def _ours(home: Path, source: str, target: str) -> Contender:
    files, made = LocalFileSystem(home), home / target

    def prepare() -> None:
        made.unlink(missing_ok=True)
        peers.settle(home)

    return Contender(
        "vhdx", lambda: convert(files, source, target), prepare, lambda: peers.same_disk(home / source, made)
    )


def _theirs(home: Path, source: str, target: str) -> Contender:
    made = home / f"theirs-{target}"
    formats = ["-f", Path(source).suffix[1:], "-O", made.suffix[1:]]

    def prepare() -> None:
        made.unlink(missing_ok=True)
        peers.settle(home)

    def run() -> None:
        peers.command("qemu-img", "convert", *peers.CACHE, *formats, home / source, made)
        peers.durable(made)

    return Contender("qemu-img convert", run, prepare, lambda: peers.same_disk(home / source, made))


def _copy(home: Path, source: str) -> Contender:
    made = home / f"copy-of-{source}"

    def prepare() -> None:
        made.unlink(missing_ok=True)
        peers.settle(home)

    def run() -> None:
        peers.command("cp", "--sparse=always", "--reflink=auto", home / source, made)
        peers.durable(made)

    return Contender("cp --sparse=always", run, prepare, lambda: peers.same_disk(home / source, made))
