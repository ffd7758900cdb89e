"""The watched file system tells of everything, and a fault strikes where it is told to."""

import errno

import pytest

from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import DATA_CHANGES, Fault, Tally, WatchedFileSystem
from vhdx.errors import OutOfSpace
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.transfer import pread, pwrite


def work(files: FileSystem) -> None:
    storage = files.create("temporary")
    storage.write([(0, b"abc"), (10, b"de")])
    storage.flush()
    storage.close()
    files.rename("temporary", "file", replace=True)
    files.sync_directory("")


def test_a_tally_counts_calls_pieces_and_bytes() -> None:
    tally = Tally()
    work(WatchedFileSystem(MemoryFileSystem(), tally))
    assert (tally.calls["write"], tally.pieces["write"], tally.bytes["write"]) == (1, 2, 5)
    assert tally.calls == {
        "create": 1, "write": 1, "flush": 1, "close": 1, "rename": 1, "sync_directory": 1
    }  # fmt: skip
    tally.clear()
    assert not tally.calls


def test_every_change_can_fail_and_what_went_before_stands() -> None:
    seen = []
    for at in range(10):
        inner = MemoryFileSystem()
        fault = Fault(at, OSError(errno.EIO, "broken"))
        try:
            work(WatchedFileSystem(inner, fault))
        except OSError:
            assert fault.fired
            seen.append(inner.list(""))
        else:
            assert not fault.fired
            break
    assert seen == [[], ["temporary"], ["temporary"], ["temporary"], ["file"]]
    assert fault.seen == len(seen)


def test_a_fault_passes_or_lasts() -> None:
    for lasting in (False, True):
        storage = WatchedFileSystem(MemoryFileSystem(), Fault(1, OutOfSpace("full"), lasting, DATA_CHANGES)).create(
            "file"
        )
        pwrite(storage, 0, b"one")
        with pytest.raises(OutOfSpace):
            pwrite(storage, 0, b"two")
        if lasting:
            with pytest.raises(OutOfSpace):
                storage.flush()
        else:
            storage.flush()
        assert pread(storage, 0, 3) == b"one"


def test_reading_never_fails() -> None:
    inner = MemoryFileSystem()
    work(inner)
    files = WatchedFileSystem(inner, Fault(0, OSError(errno.EIO, "broken"), lasting=True))
    assert pread(files.open("file", Access.READ), 0, 3) == b"abc"
