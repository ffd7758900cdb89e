"""Stopped anywhere, a repair can be taken back or done again, and so can taking it back."""

import pytest

from tests.format.raw import MIB
from tests.repair.cases import back, content, do, errors, made, plan
from tests.repair.damages import DAMAGES, SIZE, Damage, files_of, vhd
from tests.support.crash import crash_states
from tests.support.disks import Disk
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from vhdx.errors import Error
from vhdx.image.base import ImageFormat
from vhdx.verbs.engine import Shrink


def twin(files: MemoryFileSystem) -> MemoryFileSystem:
    return MemoryFileSystem(files.snapshot())


def judge(files: MemoryFileSystem, disk: Disk, damage: Damage, before: int, *, undoing: bool) -> None:
    """*files* is what a stop left. Taking back can always be finished; until then a repair may have to refuse."""
    path = disk.paths[0]
    again = twin(files)
    if "undo" in files.paths():
        back(files, path)
    assert files.fingerprint(path) == before
    try:
        do(again, path, damage.format, "second")
    except Error:
        assert undoing
        return
    content(disk, again)
    assert not errors(again, path)
    for undo in ("second", "undo"):
        if undo in again.paths():
            back(again, path, undo)
    assert again.fingerprint(path) == before, "each undo file takes its part back"


@pytest.mark.parametrize("samples", [5, pytest.param(30, marks=pytest.mark.more)])
@pytest.mark.parametrize("name", DAMAGES)
def test_in_a_repair_or_in_taking_it_back(name: str, samples: int) -> None:
    damage, disk, files, path = made(name)
    before = files.fingerprint(path)
    done = RecordingFileSystem(files)
    do(done, path, damage.format)
    undone = RecordingFileSystem(done.files)
    back(undone, path)
    seen = set()
    for recorder in (done, undone):
        for state in crash_states(recorder, samples=samples, seed=len(name)):
            key = frozenset(state.fingerprints.items())
            if key not in seen:
                seen.add(key)
                try:
                    judge(state.files, disk, damage, before, undoing=recorder is undone)
                except BaseException as error:
                    error.add_note(state.description)
                    raise


@pytest.mark.parametrize("size", [8, 5])
def test_a_fixed_vhd_whose_resizing_was_stopped(size: int) -> None:
    """Every state that opens is right as it is; one that does not is put right, and holds what the disk held."""
    disk = vhd(fixed=True)
    path, content = disk.paths[0], bytes(disk.contents[0])
    recorder = RecordingFileSystem(files_of(disk))
    disk.engine.resize(recorder, path, size * MIB, shrink=Shrink.FORCE)
    repaired = 0
    for state in crash_states(recorder, samples=60):
        try:
            plan(state.files, path)
        except Error:
            assert do(state.files, path, ImageFormat.VHD)
            repaired += 1
        with disk.engine.open_chain(state.files, path) as chain:
            held = chain.read(0, chain.size)
        assert len(held) in (SIZE, size * MIB), state.description
        assert held[: min(SIZE, size * MIB)] == content[: min(SIZE, size * MIB)]
    assert bool(repaired) == (size * MIB > SIZE)
