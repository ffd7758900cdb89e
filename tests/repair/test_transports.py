"""Repairs on real files and shares, and what happens when these fail or run full."""

from pathlib import Path

import pytest

from tests.image.full import FullFileSystem
from tests.repair.cases import back, content, do, made, plan
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.errors import OutOfSpace
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pread

NAMES = ("everything", "gap", "moved parent", "vhd, all checksums", "fixed vhd, growing stopped")
SMB = pytest.param("smb", marks=pytest.mark.smb)


def bytes_of(files: FileSystem, path: str) -> bytes:
    storage = files.open(path, Access.INSPECT)
    try:
        return pread(storage, 0, storage.size())
    finally:
        storage.close()


@pytest.mark.parametrize("kind", ["local", SMB])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_done_and_taken_back(kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    damage, disk, memory, path = made(name)
    files: FileSystem = LocalFileSystem(tmp_path) if kind == "local" else request.getfixturevalue("smb_files")
    for each in memory.paths():
        storage = files.create(each)
        storage.write([(0, bytes_of(memory, each))])
        storage.close()
    before = bytes_of(files, path)
    planned = plan(files, path, damage.format)
    assert [fix.code for fix in planned] == list(damage.codes)
    assert do(files, path, damage.format) == planned
    with disk.engine.open_chain(files, path) as chain:
        assert chain.read(0, chain.size) == bytes(disk.contents[0])
    back(files, path)
    assert bytes_of(files, path) == before


@pytest.mark.parametrize("name", [*NAMES, "padding", "tail", "vhd, header checksum and end"])
def test_whatever_fails_it_can_be_taken_back_or_done_again(name: str) -> None:
    damage, disk, start, path = made(name)
    before = start.fingerprint(path)
    for at in range(100):
        files = MemoryFileSystem(start.snapshot())
        fault = Fault(at, OSError("the disk is gone"), lasting=True)
        try:
            do(WatchedFileSystem(files, fault), path, damage.format)
        except OSError:
            again = MemoryFileSystem(files.snapshot())
            do(again, path, damage.format, "second")
            content(disk, again)
        if "undo" in files.paths():
            back(files, path)
        assert files.fingerprint(path) == before
        if not fault.fired:
            return
    raise AssertionError("it does not come to an end")


@pytest.mark.parametrize("room", range(12))
def test_a_full_disk(room: int) -> None:
    damage, _, files, path = made("everything")
    before = files.fingerprint(path)
    try:
        do(FullFileSystem(files, room=room), path, damage.format)
    except OutOfSpace:
        assert room or "undo" not in files.paths(), "what covers nothing does not stay"
    if "undo" in files.paths():
        back(files, path)
    assert files.fingerprint(path) == before
