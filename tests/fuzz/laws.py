"""What has to hold of an image whatever its bytes say, and how much work may be done to find it out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from tests.support.disks import MIB, counting_ids
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Operation, WatchedFileSystem
from vhdx.check import Finding, Severity
from vhdx.errors import Error
from vhdx.image.base import ImageFormat
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import NativeEngine

REFUSALS = (Error, FileNotFoundError, FileExistsError)
"""What an image with a lie in it may be answered with. Anything else that is raised is a fault of the package."""
LARGEST = 16 * MIB
"""A disk up to this size is read as a whole; of a larger one, what lies where is gone through."""
Contents = dict[str, bytes | None]


@dataclass(slots=True)
class Budget:
    """A watch that fails once more is asked of the storage than the size of the files can explain."""

    bytes_left: int
    calls_left: int

    @classmethod
    def of(cls, files: MemoryFileSystem, *, writing: bool = False) -> "Budget":
        size = sum(files.stat(path).size for path in files.paths())
        return cls((8 if writing else 4) * size + 64 * MIB, size // 512 + 20_000)

    def __call__(self, operation: Operation) -> None:
        if operation.kind in ("read", "write", "copy"):
            self.bytes_left -= operation.length
        self.calls_left -= operation.pieces
        if self.bytes_left < 0 or self.calls_left < 0:
            self._fail(operation)

    def _fail(self, operation: Operation) -> NoReturn:
        raise AssertionError(f"more work than the files can explain, at {operation}: {self}")


def engine(start: int = 5000) -> NativeEngine:
    """An engine whose GUIDs are its own and always the same."""
    return NativeEngine(new_id=counting_ids(start))


@contextmanager
def refusing() -> Iterator[None]:
    """Let the answers through that a bad image may be given."""
    with suppress(*REFUSALS):
        yield


def content(files: FileSystem, path: str, access: Access = Access.READ) -> bytes | None:
    """All of a disk; None for one that is too large. Raises what reading it raises."""
    with engine().open_chain(files, path, access=access) as chain:
        covered = 0
        for _, extent in chain.extents(0, chain.size):
            assert extent.offset == covered
            assert extent.length > 0
            covered = extent.end
        assert covered == chain.size
        return chain.read(0, chain.size) if chain.size <= LARGEST else None


def readable(files: FileSystem, path: str) -> bytes | None:
    """All of a disk, None where it cannot be read."""
    try:
        return content(files, path)
    except REFUSALS:
        return None


def contents(files: MemoryFileSystem) -> Contents:
    """What every file reads as, by itself, through its chain."""
    return {path: readable(files, path) for path in files.paths()}


def prints(files: MemoryFileSystem) -> dict[str, int]:
    return {path: files.fingerprint(path) for path in files.paths()}


def inspected(files: MemoryFileSystem, path: str) -> list[Finding]:
    """Everything that only looks, done once; no file is changed and little work is done."""
    before = prints(files)
    watched = WatchedFileSystem(files, Budget.of(files))
    looks: list[Callable[[], object]] = [
        lambda: engine().info(watched, path),
        lambda: engine().layers(watched, path),
        lambda: engine().children(watched, path),
        lambda: content(watched, path, Access.INSPECT),
        lambda: content(watched, path),
        lambda: engine().plan_repair(watched, path),
        lambda: engine().plan_repair(watched, path, reclaim=True),
    ]
    for look in looks:
        with refusing():
            look()
    findings = list(engine().check(WatchedFileSystem(files, Budget.of(files)), path, deep=True))
    assert all(str(finding) for finding in findings)
    told_what_it_is(files, path)
    assert prints(files) == before, "looking changed a file"
    return findings


def told_what_it_is(files: MemoryFileSystem, path: str) -> None:
    """Looking at a file that is said to be of some format, which it may not be."""
    watched = WatchedFileSystem(files, Budget.of(files))
    for format in ImageFormat:
        with refusing():
            engine().info(watched, path, format=format)
        list(engine().check(watched, path, format=format))


def is_sound(findings: list[Finding]) -> bool:
    return not any(finding.severity is Severity.ERROR for finding in findings)


def space_claimed(files: MemoryFileSystem) -> int:
    """Bytes that all files are long."""
    return sum(files.stat(path).size for path in files.paths())


def opened_for_writing(files: MemoryFileSystem, path: str) -> None:
    """Opening a disk for writing and closing it again: the log is replayed, the disk stays as it was."""
    before, size = prints(files), space_claimed(files)
    watched = WatchedFileSystem(files, Budget.of(files, writing=True))
    try:
        with engine().open_chain(watched, path, writable=1, orphan=True):
            pass
    finally:
        assert {**prints(files), path: None} == {**before, path: None}, "another file was changed"
        assert space_claimed(files) <= size + 64 * MIB, "the file grew without a reason"
