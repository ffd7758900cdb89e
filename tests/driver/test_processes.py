"""Two processes on one share: who recovers never disturbs who is at work, and takes over from the dead."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver.kits import VOLUME, B, Bench
from tests.driver.scenarios import outcomes, prepared
from vhdx.errors import InUse
from vhdx.storage.local import LocalFileSystem

CHILD = """
import sys
from tests.driver.kits import B, VOLUME, Bench
from tests.support.wrappers import WatchedFileSystem
from vhdx.storage.local import LocalFileSystem

writes = 0

def pause(operation):
    global writes
    writes += operation.kind == "write" and operation.name.endswith(".vhdx")
    if writes == 3:
        writes += 1
        print("merging", flush=True)
        sys.stdin.readline()

files = WatchedFileSystem(LocalFileSystem(sys.argv[1]), pause)
Bench.on(files, sys.argv[2], start=1 << 16).volumes.delete_snapshot(VOLUME, B)
print("done", flush=True)
"""


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def files(kit_name: str, tmp_path: Path) -> LocalFileSystem:
    """A share with a volume that has two snapshots."""
    for path, pages in prepared(kit_name, "delete latest").snapshot().items():
        (tmp_path / path).write_bytes(pages.read(0, pages.size))
    return LocalFileSystem(tmp_path)


@pytest.fixture
def merging(files: LocalFileSystem, kit_name: str, tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process in the middle of a merge, until a line is written to it."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), kit_name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert answer(process) == "merging"
        yield process
        process.kill()


def test_a_running_operation_is_left_alone(
    files: LocalFileSystem, merging: "subprocess.Popen[str]", kit_name: str
) -> None:
    bench = Bench.on(files, kit_name, start=1 << 20)
    temporary = f"{VOLUME}.vhdx.info.0a1b2c3d.tmp"
    files.create(temporary).close()
    before = files.list("")
    report = bench.volumes.recover()
    assert report.running == [VOLUME]
    assert files.list("") == before
    with pytest.raises(InUse):
        bench.volumes.extend(VOLUME, 1 << 20)
    with pytest.raises(InUse):
        bench.volumes.delete(VOLUME)
    assert merging.stdin is not None
    merging.stdin.write("\n")
    merging.stdin.flush()
    assert answer(merging) == "done"
    assert merging.wait() == 0
    assert bench.volumes.recover().removed == [temporary]
    assert bench.picture() == outcomes(kit_name, "delete latest")[1][0]
    assert bench.strays() == set()


def test_the_operation_of_a_killed_process_is_finished(
    files: LocalFileSystem, merging: "subprocess.Popen[str]", kit_name: str
) -> None:
    merging.kill()
    merging.wait()
    bench = Bench.on(files, kit_name, start=1 << 20)
    report = bench.volumes.recover()
    assert report.settled == [VOLUME]
    assert bench.picture() == outcomes(kit_name, "delete latest")[1][0]
    assert B not in (bench.picture() or {})
    assert bench.strays() == set()
