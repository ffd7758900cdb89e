"""Disks to be damaged, what they held, and what has to hold of a salvage of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.check import vhd_images
from tests.check.catalogue import checked_chain, child, dirty, grandchild, plain
from tests.image import forge
from tests.image.forge import Forge
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.check import Severity
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.salvage.report import Salvaged
from vhdx.verbs.engine import NativeEngine

TARGET = "salvaged.vhdx"
LARGEST = 64 * MIB


def vhd_dynamic() -> MemoryFileSystem:
    """Made here: blocks of 512 KiB, some absent."""
    return _vhd("disk.vhdx", fixed=False)


def vhd_fixed() -> MemoryFileSystem:
    return _vhd("disk.vhdx", fixed=True)


def _vhd(path: str, *, fixed: bool) -> MemoryFileSystem:
    files = MemoryFileSystem()
    options = CreateOptions(format=ImageFormat.VHD, fixed=fixed, block_size=None if fixed else MIB // 2)
    forge.engine(100).create(files, path, 5 * MIB, options)
    with forge.disk(files, path, writable=1) as chain:
        chain.write(700 * 1024, pattern(1, 2 * MIB))
        chain.write(4 * MIB + 512, pattern(2, 5000))
    return files


def vhd_chain() -> MemoryFileSystem:
    """A differencing VHD over a dynamic one, with partial blocks."""
    files = _vhd("base.vhd", fixed=False)
    forge.engine(200).create_child(files, "disk.vhdx", "base.vhd")
    with forge.disk(files, writable=1) as chain:
        chain.write(512, pattern(3, 4096))
        chain.write(2 * MIB - 2048, pattern(4, 9000))
    return files


STARTS = (
    *(plain, child, grandchild, dirty),
    *(vhd_dynamic, vhd_fixed, vhd_chain, vhd_images.dynamic, vhd_images.chained, vhd_images.mapped),
)


@dataclass(frozen=True)
class Good:
    """The files of a disk and what it holds."""

    pages: dict[str, Pages]
    content: bytes

    def files(self) -> MemoryFileSystem:
        return MemoryFileSystem({path: pages.copy() for path, pages in self.pages.items()})


@cache
def good(start: Callable[[], MemoryFileSystem]) -> Good:
    files = start()
    return Good(files.snapshot(), read(files, leaf(files)))


def leaf(files: MemoryFileSystem) -> str:
    return "leaf.vhdx" if "leaf.vhdx" in files.paths() else "disk.vhdx"


def engine(start: int = 3000) -> NativeEngine:
    return NativeEngine(new_id=counting_ids(start))


def read(files: MemoryFileSystem, path: str) -> bytes:
    with engine().open_chain(files, path) as chain:
        return chain.read(0, min(chain.size, LARGEST))


def refuses(files: MemoryFileSystem, path: str, format: ImageFormat | None = None) -> bool:
    """Whether the disk cannot be opened by the rules."""
    try:
        engine().open_chain(files, path, format=format).close()
    except Error:
        return True
    return False


def salvage(files: MemoryFileSystem, path: str, **options: object) -> Salvaged | None:
    """The report, or None where it was refused; then nothing is left of a new image."""
    try:
        return engine(4000).salvage(files, path, files, TARGET, **options)  # type: ignore[arg-type]
    except Error as error:
        assert str(error)
        assert "\n" not in str(error)
        assert not [name for name in files.paths() if name.startswith(TARGET)]
        return None


def hold(files: MemoryFileSystem, report: Salvaged, content: bytes) -> None:
    """Outside of the lost ranges the new image is *content*, there it is zeros; and it keeps the rules."""
    expected = bytearray(content)
    end = 0
    for lost in report.lost:
        assert lost.offset >= end
        assert lost.length > 0
        assert lost.reason
        end = lost.end
        expected[lost.offset : end] = bytes(max(min(end, len(expected)) - lost.offset, 0))
    assert end <= report.size
    assert not report.unlisted
    assert report.lost_bytes == sum(lost.length for lost in report.lost)
    made = read(files, TARGET)
    if report.size != len(content):
        assert not report.complete, "another size, and nobody is told"
    common = min(len(made), len(expected))
    if made[:common] != expected[:common]:
        wrong = next(at for at in range(common) if made[at] != expected[at])
        raise AssertionError(f"a wrong byte at {wrong} that nobody is told of: {report}")
    errors = [str(found) for found in checked_chain(files, TARGET) if found.severity is Severity.ERROR]
    assert not errors


def without_log(report: Salvaged) -> bool:
    """Whether the salvage says that it had to do without a log that may have been in use."""
    return any(note.on_trust and "its changes are missing" in note.message for note in report.notes)


def forges(files: MemoryFileSystem) -> list[Forge]:
    return [Forge(files, path) for path in sorted(files.paths())]
