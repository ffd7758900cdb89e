"""The work of a backend in a process of its own, on a real server."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.receiving import Digest
from smbfs_driver.volumes.refusals import BadImage
from smbfs_driver.volumes.shape import DYNAMIC_VHDX, Shape
from smbfs_driver.worker.backend import Backend, GroupMember
from smbfs_driver.worker.frames import Frames
from smbfs_driver.worker.worker import REQUESTS_TO_STOP, Worker, _Child
from tests.driver.kits import OTHER, VOLUME, A, B
from tests.support.disks import MIB
from tests.support.smbd import Smbd, unavailable
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.storage.credentials import Credentials
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import SmbPool
from vhdx.verbs.engine import NativeEngine

pytestmark = pytest.mark.smb


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Smbd]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    directory = tmp_path / "share"
    directory.mkdir()
    with Smbd() as running:
        running.add_share("volumes", directory)
        yield running


@pytest.fixture
def share(server: Smbd) -> Share:
    return Share(server.host, "volumes", Credentials(server.user, server.password), server.port)


@pytest.fixture
def worker(share: Share) -> Iterator[Worker]:
    with closing(Worker([share])) as running:
        yield running


def pid_of(worker: Worker) -> int:
    child = worker._child
    assert child is not None
    return child._process.pid


def is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_volume_lives_over_there(worker: Worker, share: Share, tmp_path: Path) -> None:
    at = share.address
    worker.call(Backend.create, at, VOLUME, 4 * MIB, Shape())
    worker.call(Backend.create_snapshot, at, VOLUME, A)
    worker.call(Backend.clone, at, OTHER, VOLUME, size=8 * MIB, onto=at, shape=Shape(DiskFormat.VHD), snapshot_id=A)
    worker.call(Backend.export, at, OTHER, str(tmp_path / "out.raw"), CreateOptions(format=ImageFormat.RAW))
    assert (tmp_path / "out.raw").stat().st_size == 8 * MIB
    worker.call(Backend.delete_snapshot, at, VOLUME, A)
    assert worker.call(Backend.active, at, VOLUME) == f"{VOLUME}.vhdx"
    worker.call(Backend.delete, at, VOLUME)
    worker.call(Backend.delete, at, OTHER)
    assert list((tmp_path / "share").iterdir()) == []
    assert worker.call(Backend.capacity, at).total > 0


def test_what_is_raised_over_there_is_raised_here(worker: Worker, share: Share, tmp_path: Path) -> None:
    at = share.address
    with pytest.raises(Error, match="no such volume"):
        worker.call(Backend.extend, at, VOLUME, MIB)
    worker.call(Backend.create, at, VOLUME, MIB, Shape())
    (tmp_path / "rubbish").write_bytes(bytes(MIB))
    with pytest.raises(BadImage):
        worker.call(
            Backend.load, at, VOLUME, str(tmp_path / "rubbish"), ImageFormat.VHDX, size=MIB, fixed=False
        )
    with pytest.raises(Error, match="not in the list of shares"):
        worker.call(Backend.capacity, "//elsewhere/share")
    with SmbPool() as pool:
        files = pool.share(share.server, share.share, port=share.port, credentials=share.credentials)
        with closing(files.open(f"{VOLUME}.vhdx", Access.WRITE)), pytest.raises(InUse):
            worker.call(Backend.create_snapshot, at, VOLUME, A)


def test_an_image_is_fed(worker: Worker, share: Share, tmp_path: Path) -> None:
    NativeEngine().create(LocalFileSystem(tmp_path), "image.vhdx", 2 * MIB)
    data = (tmp_path / "image.vhdx").read_bytes()
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    wanted = {"format": DiskFormat.VHDX, "digest": digest, "size": 4 * MIB, "shape": Shape()}
    with worker.feed(Backend.receive, share.address, VOLUME, **wanted) as sink:  # type: ignore[arg-type]
        for at in range(0, len(data), 300_000):
            sink.write(data[at : at + 300_000])
    assert [path.name for path in (tmp_path / "share").iterdir()] == [f"{VOLUME}.vhdx"]
    with (
        pytest.raises(Error, match="delete that volume first"),
        worker.feed(Backend.receive, share.address, VOLUME, **wanted) as sink,  # type: ignore[arg-type]
    ):
        for _ in range(100):
            sink.write(data)
    with (
        pytest.raises(ZeroDivisionError),
        worker.feed(Backend.receive, share.address, OTHER, **wanted) as sink,  # type: ignore[arg-type]
    ):
        sink.write(data[:5000])
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "share").iterdir()] == [f"{VOLUME}.vhdx"]


def test_a_worker_that_dies_is_told_of_and_replaced(worker: Worker, share: Share) -> None:
    worker.call(Backend.create, share.address, VOLUME, MIB, Shape())
    os.kill(pid_of(worker), signal.SIGKILL)
    with suppress(ConnectionError):  # depending on who is quicker
        worker.call(Backend.active, share.address, VOLUME)
    for _ in range(100):
        with suppress(ConnectionError):
            assert worker.call(Backend.active, share.address, VOLUME) == f"{VOLUME}.vhdx"
            break
    else:
        pytest.fail("no worker came in its place")


def test_requests_to_stop_do_not_cut_running_work(worker: Worker, share: Share, tmp_path: Path) -> None:
    """They reach every process of a service that systemd stops, and the service then waits for its work."""
    NativeEngine().create(LocalFileSystem(tmp_path), "image.vhdx", 2 * MIB)
    data = (tmp_path / "image.vhdx").read_bytes()
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    wanted = {"format": DiskFormat.VHDX, "digest": digest, "size": 4 * MIB, "shape": Shape()}
    with worker.feed(Backend.receive, share.address, VOLUME, **wanted) as sink:  # type: ignore[arg-type]
        sink.write(data[:MIB])
        pid = pid_of(worker)
        for number in REQUESTS_TO_STOP:
            os.killpg(pid, number)
        sink.write(data[MIB:])
    assert worker.call(Backend.active, share.address, VOLUME) == f"{VOLUME}.vhdx"
    assert pid_of(worker) == pid


@pytest.mark.parametrize("number", REQUESTS_TO_STOP)
def test_a_request_to_stop_does_not_end_a_worker_that_starts(share: Share, number: signal.Signals) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    child = _Child([share])
    os.kill(child._process.pid, number)
    assert child.start("capacity", (share.address,), {}, fed=False).outcome().total > 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    child.end()


def test_snapshots_of_a_group_that_are_asked_for_twice_stay(worker: Worker, share: Share) -> None:
    for name in (VOLUME, OTHER):
        worker.call(Backend.create, share.address, name, 4 * MIB, DYNAMIC_VHDX)
    members = [GroupMember(share.address, VOLUME, A), GroupMember(share.address, OTHER, B)]
    worker.call(Backend.create_group_snapshot, members)
    with pytest.raises(Error, match="already exists"):
        worker.call(Backend.create_group_snapshot, members)
    assert worker.call(Backend.has_snapshot, share.address, VOLUME, A)
    assert worker.call(Backend.has_snapshot, share.address, OTHER, B)


def test_calls_run_side_by_side(worker: Worker, share: Share) -> None:
    names = [f"volume-{number}" for number in range(12)]
    threads = [
        threading.Thread(target=worker.call, args=(Backend.create, share.address, name, MIB, Shape()))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {worker.call(Backend.active, share.address, name) for name in names} == {f"{name}.vhdx" for name in names}


def test_no_password_is_in_what_others_can_see_of_the_process(worker: Worker, share: Share) -> None:
    worker.call(Backend.capacity, share.address)
    seen = Path(f"/proc/{pid_of(worker)}/cmdline").read_bytes() + Path(f"/proc/{pid_of(worker)}/environ").read_bytes()
    assert share.credentials.password.encode() not in seen


PARENT = """
    import os, pickle, sys
    from smbfs_driver.worker.backend import Backend, GroupMember
    from smbfs_driver.worker.worker import Worker
    share = pickle.load(sys.stdin.buffer)
    worker = Worker([share])
    worker.call(Backend.capacity, share.address)
    print(worker._child._process.pid, flush=True)
    sys.stdin.buffer.read()
    os.kill(os.getpid(), 9)
"""


def test_a_worker_ends_with_its_parent(share: Share) -> None:
    import pickle

    program = [sys.executable, "-c", textwrap.dedent(PARENT)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(pickle.dumps(share))
        parent.stdin.flush()
        pid = int(parent.stdout.readline())
        parent.stdin.close()
    assert parent.returncode == -signal.SIGKILL
    assert is_gone(pid)


def test_who_receives_hears_that_the_own_end_was_closed() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        frames = Frames(ours)
        frames.close()
        with pytest.raises(EOFError):
            frames.receive()


PLANTED = """
import pathlib
pathlib.Path({trace!r}).write_text(__name__)
"""


@pytest.mark.parametrize("path", [None, "", os.pathsep + "missing"], ids=["unset", "empty", "empty entry"])
def test_no_module_comes_from_the_working_directory(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    """Whoever can write there would be handed the passwords of the shares."""
    traces = []
    for name in ("socket", "pickle", "smbfs_driver", "vhdx", "smbprotocol", "sitecustomize"):
        traces.append(tmp_path / f"{name}.trace")
        (tmp_path / f"{name}.py").write_text(PLANTED.format(trace=str(traces[-1])))
    usual = os.environ.get("PYTHONPATH", "")
    if path is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", usual + path)
    monkeypatch.chdir(tmp_path)
    with closing(Worker([share])) as worker:
        assert worker.call(Backend.capacity, share.address).total
    assert [trace.name for trace in traces if trace.exists()] == []
