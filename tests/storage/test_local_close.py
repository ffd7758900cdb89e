"""Closing a file that other threads are at work on never leads them to another file."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vhdx.errors import Error, InUse
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.local.file import LocalStorage
from vhdx.storage.transfer import pread

PAGE = 4096


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("kind", [pytest.param("read", marks=pytest.mark.more), "write"])
def test_no_call_meets_the_file_that_is_opened_next(tmp_path: Path, kind: str) -> None:
    files = LocalFileSystem(tmp_path)
    for name in "ab":
        storage = files.create(name)
        storage.write([(0, name.encode() * PAGE)])
        storage.close()
    current = [files.open("a", Access.WRITE)]
    stop, wrong = threading.Event(), []

    def work() -> None:
        buffer = bytearray(PAGE)
        while not stop.is_set():
            with contextlib.suppress(OSError, Error):
                if kind == "write":
                    current[0].write([(0, b"a" * PAGE)])
                else:
                    current[0].read([(0, memoryview(buffer))])
                    wrong.extend(buffer[:1] if buffer[:1] != b"a" else b"")

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(1000):
            current[0].close()
            other = files.open("b", Access.WRITE)
            time.sleep(0.0002)
            assert pread(other, 0, PAGE) == b"b" * PAGE
            other.close()
            current[0] = reopened(files)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert wrong == []
    assert (tmp_path / "b").read_bytes() == b"b" * PAGE


def reopened(files: LocalFileSystem) -> LocalStorage:
    """The file again; a call that is still under way in the system holds it for a moment."""
    while True:
        with contextlib.suppress(InUse):
            return files.open("a", Access.WRITE)


def test_a_closed_file_is_given_back_at_once_and_its_number_with_the_object(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    storage = files.create("a")
    storage.write([(0, bytes(PAGE))])
    storage.close()
    files.open("a", Access.WRITE).close()
    with pytest.raises(Error, match=r"/a: closed; open it again"):
        storage.read([(0, memoryview(bytearray(8)))])
    del storage
    first = files.open("a", Access.READ)
    first.close()
    del first
    free = os.dup(0)
    os.close(free)
    for _ in range(50):
        files.open("a", Access.READ).close()
    again = os.dup(0)
    os.close(again)
    assert again == free, "no number was kept"
