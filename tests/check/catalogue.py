"""Good images, and what it takes to plant one lie into one of them and say what has to be found."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from uuid import UUID

from tests.format.raw import MIB, log_entry
from tests.image import forge
from tests.image.forge import Forge, disk, writer
from tests.support.disks import counting_ids, pattern
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.check import Finding, Severity, check_chain, check_storage
from vhdx.extents import Range
from vhdx.image.base import CreateOptions
from vhdx.storage.base import Access

E, W, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
SIZE = 8 * MIB
LOG, METADATA, BAT, DATA = MIB, 2 * MIB, 3 * MIB, 4 * MIB
TABLES = forge.REGION_TABLES
ITEMS = METADATA + 65536
LOG_GUID = UUID(int=0x1234)
CHUNK = 4096
"""Blocks of `plain` that share a sector bitmap: the index of its entry."""
CHILD_CHUNK = 2048


def plain() -> MemoryFileSystem:
    """A dynamic image: blocks 0 to 2 at 4 to 6 MiB, block 3 zero, the rest not present."""
    files = MemoryFileSystem()
    forge.create(files, SIZE)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB + 5000))
        chain.write(3 * MIB, b"x" * MIB)
        chain.flush()
        chain.zero(3 * MIB, MIB)
    return files


def fixed() -> MemoryFileSystem:
    files = MemoryFileSystem()
    options = CreateOptions(fixed=True, block_size=MIB)
    forge.engine(100).create(files, "disk.vhdx", SIZE, options)
    return files


def child() -> MemoryFileSystem:
    """A differencing image with blocks of 2 MiB: 0 partial, 1 absent, 2 present, 3 zero; its bitmap block is first."""
    files = MemoryFileSystem()
    forge.create(files, SIZE, "base.vhdx")
    with disk(files, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 5 * MIB))
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(2, 3000))
        chain.write(4 * MIB, pattern(3, 2 * MIB))
        chain.zero(6 * MIB, 2 * MIB)
    return files


def grandchild() -> MemoryFileSystem:
    """`child` under another one, which has nothing of its own."""
    files = child()
    forge.engine(60).create_child(files, "leaf.vhdx", "disk.vhdx")
    return files


def short_child() -> MemoryFileSystem:
    """A differencing image whose disk ends inside its only, partially present, block."""
    files = MemoryFileSystem()
    forge.create(files, MIB, "base.vhdx")
    forge.engine(50).create_child(files, "disk.vhdx", "base.vhdx")
    with disk(files, writable=1) as chain:
        chain.write(512, pattern(2, 3000))
    return files


def ragged() -> MemoryFileSystem:
    """A dynamic image whose disk ends inside its second block."""
    files = MemoryFileSystem()
    forge.create(files, MIB + 4096)
    with disk(files, writable=1) as chain:
        chain.write(0, pattern(1, MIB + 4096))
    return files


def dirty() -> MemoryFileSystem:
    """`child` with changes in the log alone."""
    files = child()
    image = writer(files, start=600)
    for number in range(3):
        with image.allocate([Range(number * MIB + 8192, 4096)]) as places:
            for place in places:
                assert place.file_offset is not None
                image.storage.write([(place.file_offset, pattern(number + 9, place.length))])
        image.flush()
    image.abandon()
    assert Forge(files).spoil_logged_pages()
    return files


Start = Callable[[], MemoryFileSystem]


@cache
def _snapshot(start: Start) -> dict[str, Pages]:
    return start().snapshot()


def good(start: Start) -> MemoryFileSystem:
    """A copy of a start of one's own."""
    return MemoryFileSystem({path: pages.copy() for path, pages in _snapshot(start).items()})


@dataclass(frozen=True)
class Defect:
    """A lie told to a good image, and what is found of it; *implies* are codes that cannot but follow."""

    plant: Callable[[Forge], None]
    code: str
    severity: Severity
    structure: str
    offset: int | None
    start: Start
    implies: frozenset[str]
    deep: bool
    chain: str  # the file that a chain starts from; empty for the check of one file
    also: tuple[int | None, ...] = ()  # the offsets of further findings of the same code

    @property
    def name(self) -> str:
        return f"{self.code}:{self.plant.__name__}"


CATALOGUE: list[Defect] = []
Plant = Callable[[Forge], None]


def defect(
    code: str,
    severity: Severity,
    structure: str,
    offset: int | None,
    *,
    start: Start = plain,
    implies: tuple[str, ...] = (),
    deep: bool = False,
    chain: str = "",
    also: tuple[int | None, ...] = (),
) -> Callable[[Plant], Plant]:
    """Enter a function that plants a lie into the catalogue."""

    def enter(plant: Plant) -> Plant:
        CATALOGUE.append(Defect(plant, code, severity, structure, offset, start, frozenset(implies), deep, chain, also))
        return plant

    return enter


def check(files: MemoryFileSystem, path: str = "disk.vhdx", *, deep: bool = False) -> list[Finding]:
    """What is found in one file."""
    storage = files.open(path, Access.READ)
    try:
        return list(check_storage(storage, deep=deep))
    finally:
        storage.close()


def checked_chain(files: MemoryFileSystem, path: str = "disk.vhdx") -> list[Finding]:
    """What is found in a chain."""
    return list(check_chain(files, path, new_id=counting_ids()))


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def brief(findings: list[Finding]) -> list[Finding]:
    """Findings without what people read, to be compared."""
    return [replace(finding, message="", file="", section="") for finding in findings]


def forged_log(image: Forge, *changes: tuple[int, bytes | int], last: int | None = None, flushed: int = DATA) -> None:
    """Put the log into use, with one entry."""
    end = image.size if last is None else last
    image.write(LOG, log_entry(LOG_GUID, 7, *changes, last=end, flushed=flushed))
    image.change_header(48, LOG_GUID.bytes_le)


def item_entry(number: int) -> int:
    """Where metadata entry *number* lies in the file, in the order of file parameters, size, sectors, id, locator."""
    return METADATA + 32 + 32 * number


def seal_regions(image: Forge, place: int, data: bytes) -> None:
    """Change both region tables alike."""
    for table in TABLES:
        image.change_sealed(table, 65536, place, data)
