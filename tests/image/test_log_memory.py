"""A log in use costs no more memory than it is long, whoever looks at it; what it holds is read when it is needed."""

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tests.format.raw import PAGE, log_entry
from tests.image import forge
from tests.image.forge import Forge
from tests.support.disks import MIB, counting_ids, pattern
from vhdx.check import Severity, check_storage
from vhdx.dump import DumpPart, dump_storage
from vhdx.image.base import CreateOptions
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

GUID = UUID(int=0x10C)
LENGTH = 16 * MIB
DISK = "disk.vhdx"


def full_log(files: LocalFileSystem) -> bytes:
    """An image whose log is full of one sequence: every page of two blocks, again and again; what block 0 reads as."""
    options = CreateOptions(block_size=MIB, log_length=LENGTH)
    NativeEngine(new_id=counting_ids()).create(files, DISK, 4 * MIB, options)
    with forge.disk(files, writable=1) as chain:
        chain.write(0, pattern(1, 2 * MIB))
    image = Forge(files)
    block, last = image.entry(0) >> 20 << 20, image.size
    position = number = 0
    while position < LENGTH - 2 * MIB:
        content = pattern(number + 2, 254 * PAGE)
        pages = [(block + at, content[at : at + PAGE]) for at in range(0, len(content), PAGE)]
        entry = log_entry(GUID, number + 1, *pages, tail=0, flushed=last, last=last)
        image.write(image.number(image.current_header + 72) + position, entry)
        position, number = position + len(entry), number + 1
    image.change_header(48, GUID.bytes_le)
    return content + pattern(1, 2 * MIB)[len(content) : MIB]


def read(files: LocalFileSystem) -> None:
    with forge.disk(files) as chain:
        assert len(chain.read(0, MIB)) == MIB


def replay(files: LocalFileSystem) -> None:
    assert NativeEngine(new_id=counting_ids(900)).replay(files, DISK)


def repair(files: LocalFileSystem) -> None:
    fixes = NativeEngine(new_id=counting_ids(900)).repair(files, DISK, undo="undo")
    assert [fix.code for fix in fixes] == ["log-dirty"]


def check(files: LocalFileSystem) -> None:
    with closing(files.open(DISK, Access.READ)) as storage:
        assert Severity.ERROR not in {finding.severity for finding in check_storage(storage)}


def dump(files: LocalFileSystem) -> None:
    with closing(files.open(DISK, Access.READ)) as storage:
        assert sum(1 for _ in dump_storage(storage, list(DumpPart))) > 10





@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """An image with a log that is full, and what its first block reads as."""
    home = tmp_path_factory.mktemp("log")
    content = full_log(LocalFileSystem(home))
    return home / DISK, content


@pytest.mark.parametrize("act", [read, check, dump, repair, replay], ids=lambda act: act.__name__)
def test_a_log_costs_no_more_than_its_length(
    act: Callable[[LocalFileSystem], None], made: tuple[Path, bytes], tmp_path: Path
) -> None:
    (tmp_path / DISK).write_bytes(made[0].read_bytes())
    files = LocalFileSystem(tmp_path)
    read(files)  # what is imported or kept once and for all is not counted
    tracemalloc.start()
    try:
        act(files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= LENGTH // 2 + MIB
    with forge.disk(files) as chain:
        assert chain.read(0, MIB) == made[1]
