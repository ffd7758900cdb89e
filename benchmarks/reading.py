"""Random reads of 4 KiB through one and through eight layers: against libvhdi (C) and dissect.hypervisor (Python).

The images are open and the file is in the page cache; what is timed is finding the place and fetching the bytes.
"""

import importlib.util
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.content import KIB, MIB, every, scattered, write_image
from benchmarks.measuring import Case, Contender, WrongResult
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

LENGTH = 4 * KIB
READS = 20_000
Read = Callable[[int], bytes]


def cases(directory: Path, place: str, size: int) -> Iterator[Case]:
    """One layer that holds everything; eight, where each of the upper ones holds 64 KiB in every 512 on average."""
    home = directory / "reading"
    home.mkdir()
    names = _write_chain(home, size)
    offsets = [number * LENGTH for number in random.Random(2).choices(range(size // LENGTH), k=READS)]
    for depth in (1, len(names)):
        with ExitStack() as stack:
            chain = [home / name for name in names[:depth]][::-1]
            contenders = _contenders(chain, offsets, stack)
            words = "one layer" if depth == 1 else f"{depth} layers"
            floors = {"libvhdi": 2.0, "dissect.hypervisor": 1.0}
            yield Case(f"random 4 KiB reads, {words}", place, contenders, floors, READS)


def _write_chain(home: Path, size: int) -> list[str]:
    """Eight layers, the lowest first."""
    engine, files = NativeEngine(), LocalFileSystem(home)
    names = [f"{number}.vhdx" for number in range(8)]
    engine.create(files, names[0], size)
    write_image(files, names[0], every(MIB, MIB, size))
    for number, name in enumerate(names[1:], 1):
        engine.create_child(files, name, names[number - 1])
        write_image(files, name, scattered(size // (512 * KIB), 64 * KIB, size, seed=number))
    return names


def missing() -> str | None:
    """Which peer is not installed, in words, or None."""
    modules = {"pyvhdi": "libvhdi-python", "dissect.hypervisor": "dissect.hypervisor"}
    absent = [package for module, package in modules.items() if not _importable(module)]
    return f"{' and '.join(absent)} not installed" if absent else None


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _contenders(chain: Sequence[Path], offsets: Sequence[int], stack: ExitStack) -> list[Contender]:
    readers: dict[str, Read] = {
        "vhdx": _ours(chain, stack),
        "libvhdi": _libvhdi(chain, stack),
        "dissect.hypervisor": _dissect(chain, stack),
    }

    def run(read: Read) -> None:
        for offset in offsets:
            read(offset)

    def verify(name: str, read: Read) -> None:
        reference = readers["vhdx"]
        for offset in offsets:
            if read(offset) != reference(offset):
                raise WrongResult(f"{name} and vhdx do not agree on {LENGTH} bytes at {offset} of {chain[0]}")

    return [
        Contender(name, partial(run, read), verify=partial(verify, name, read)) for name, read in readers.items()
    ]


def _ours(chain: Sequence[Path], stack: ExitStack) -> Read:
    disk = stack.enter_context(NativeEngine().open_chain(LocalFileSystem(chain[0].parent), chain[0].name))
    return lambda offset: disk.read(offset, LENGTH)


def _libvhdi(chain: Sequence[Path], stack: ExitStack) -> Read:
    import pyvhdi  # noqa: PLC0415  a peer that need not be installed

    files: list[Any] = []
    for path in chain:
        file = pyvhdi.file()
        file.open(str(path))
        stack.callback(file.close)
        files.append(file)
    for child, parent in pairwise(files):
        child.set_parent(parent)
    top = files[0]
    return lambda offset: top.read_buffer_at_offset(LENGTH, offset)


def _dissect(chain: Sequence[Path], stack: ExitStack) -> Read:
    from dissect.hypervisor.disk.vhdx import VHDX  # noqa: PLC0415  a peer that need not be installed

    disk = VHDX(chain[0])
    layer: Any = disk
    while layer is not None:
        stack.callback(layer.fh.close)
        layer = layer.parent

    def read(offset: int) -> bytes:
        disk.seek(offset)
        return bytes(disk.read(LENGTH))

    return read
