"""Run by `test_memory`: images of many GiB that claim much, looked at and opened with little memory.

``python -m tests.fuzz.starved BYTES SECONDS``; prints how many lies were told.
"""

import resource
import sys
from collections.abc import Iterator

from tests.fuzz.anatomy import Anatomy, anatomy
from tests.fuzz.laws import content, engine, refusing
from tests.fuzz.lies import Lie
from tests.fuzz.subjects import Subject, subject
from tests.support.memory import MemoryFileSystem
from vhdx.storage.base import Access

GIB = 1 << 30
LARGE = ("length", "size", "count", "entries", "last", "item", "bat", "leading", "trailing", "offset", "space")
SIZE = 6 * GIB
KINDS = ("vhdx-dirty", "vhd-fixed", "vhd-dynamic", "vhd-differencing")


def lies(path: str, body: Anatomy) -> Iterator[Lie]:
    """Every field that says how much there is of something says that it is a great deal."""
    for structure in body.structures:
        told = [structure, *(other for other in body.structures if other.offset == structure.twin)]
        if structure.twin is not None and structure.twin < structure.offset:
            continue
        for field in structure.fields:
            if not any(word in field.name for word in LARGE) or field.length > 8:
                continue
            bits = 8 * field.length
            most = (1 << bits) - 1
            for number in sorted({most, most & 0xFFF00000, most & 100 << 20}):
                data = number.to_bytes(field.length, body.byte_order)
                puts = tuple((one.offset + field.offset - structure.offset, data) for one in told)
                sealed = tuple(one for one in told if one.seal is not None)
                yield Lie(f"{field.name} in the {structure.name}", path, puts, sealed)


def look(made: Subject, files: MemoryFileSystem) -> None:
    """Everything that goes through what an image claims."""
    with refusing():
        engine().info(files, made.paths[0])
    with refusing():
        content(files, made.paths[0], Access.INSPECT)
    list(engine().check(files, made.paths[0]))
    with refusing():
        engine().plan_repair(files, made.paths[0])
    with refusing(), engine().open_chain(files, made.paths[0], writable=1, orphan=True):
        pass


def main(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    count = 0
    for name in KINDS:
        made = subject(name)
        path = made.paths[0]
        for lie in lies(path, anatomy(name, path)):
            files = made.copy()
            lie.tell(files)
            longer(made, files)
            try:
                look(made, files)
            except BaseException:
                sys.stdout.write(f"{name}: {lie}\n")
                raise
            count += 1
    sys.stdout.write(f"{count}\n")


def longer(made: Subject, files: MemoryFileSystem) -> None:
    """Make the leaf SIZE bytes long, with a VHD's footer at the end."""
    path = made.paths[0]
    storage = files.open(path, Access.WRITE)
    last = bytearray(512)
    storage.read([(storage.size() - 512, memoryview(last))])
    storage.truncate(SIZE)
    if last[:8] == b"conectix":
        storage.write([(SIZE - 512, bytes(last))])
    storage.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
