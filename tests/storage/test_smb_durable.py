"""That a flush reaches the disk: what the server's processes ask of their kernel, as strace sees it."""

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.support.signals import interruptible
from tests.support.smbd import Smbd
from vhdx.storage.smb import SmbPool
from vhdx.storage.transfer import pwrite

pytestmark = pytest.mark.smb


@contextlib.contextmanager
def traced(server: Smbd, log: Path) -> Iterator[None]:
    """Note in *log* every sync that the server does meanwhile."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not found")
    processes = [word for pid in server.pids() for word in ("-p", str(pid))]
    command = [strace, "-f", "-y", "-o", str(log), "-e", "trace=fsync,fdatasync,pwrite64", *processes]
    tracer = subprocess.Popen(interruptible(command), stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    attached = 0
    while attached < len(server.pids()):
        line = tracer.stderr.readline()
        attached += "attached" in line
        if not line or "not permitted" in line:
            tracer.kill()
            pytest.skip(f"strace may not watch the server: {line.strip()}")
    try:
        yield
        time.sleep(0.2)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()


def events(log: Path, directory: Path) -> list[str]:
    """The calls on files in *directory*, in their order."""
    calls = re.findall(r"(fsync|fdatasync|pwrite64)\(\d+<([^>]*)>", log.read_text())
    return [
        f"{call} {path.removeprefix(str(directory)) or '/'}" for call, path in calls if path.startswith(str(directory))
    ]


def test_flush_is_an_fsync_after_the_write(own_smbd: Smbd, share_directory: Path, tmp_path: Path) -> None:
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory)
        storage = files.create("file")
        with traced(own_smbd, tmp_path / "log"):
            pwrite(storage, 0, b"content")
            storage.flush()
        storage.close()
    assert events(tmp_path / "log", share_directory) == ["pwrite64 /file", "fsync /file"]


def test_a_write_alone_is_no_barrier(own_smbd: Smbd, share_directory: Path, tmp_path: Path) -> None:
    """Were it one, every write would cost what a flush costs."""
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory)
        storage = files.create("file")
        with traced(own_smbd, tmp_path / "log"):
            pwrite(storage, 0, b"content")
        storage.close()
    assert events(tmp_path / "log", share_directory) == ["pwrite64 /file"]


@pytest.mark.parametrize("directory", ["", "directory"])
def test_names_are_synced_with_their_directory(
    own_smbd: Smbd, share_directory: Path, tmp_path: Path, directory: str
) -> None:
    (share_directory / "directory").mkdir()
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory)
        with traced(own_smbd, tmp_path / "log"):
            files.sync_directory(directory)
    assert events(tmp_path / "log", share_directory) == [f"fsync /{directory}"]
