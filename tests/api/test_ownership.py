"""What is open belongs to the process that opened it, and is given back whole, whoever forgets to close it.

The laws hold for every kind of image and every transport: a fork changes nothing for the parent and gives the child
nothing; what is dropped, or open at the exit of the interpreter, warns, loses nothing and is held no longer; what is
closed is closed, in every thread.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import vhdx
from tests.support.disks import MIB, pattern
from tests.support.kinds import KINDS
from tests.support.smbd import Smbd
from tests.support.wrappers import WatchedFileSystem
from vhdx import Access, CreateOptions, Credentials, Disk, DiskFile, Error, ImageFormat, NativeEngine, SmbPool
from vhdx.chain.chain import Chain
from vhdx.extents import Range
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import channel
from vhdx.storage.transfer import pread, pwrite

SIZE = 8 * MIB
NAMES = [*KINDS, "raw"]
FIRST, SECOND = pattern(1, 3 * MIB), pattern(2, MIB)
BEFORE = b"from before"
OFTEN = {"vhdx-dynamic", "vhd-differencing", "raw"}
"""What every run tries on a share; the rest is the same code over the same transport."""

SHARE = pytest.mark.smb
EVERYWHERE = pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("local", name) for name in NAMES),
        *(pytest.param("smb", name, marks=[SHARE] if name in OFTEN else [SHARE, pytest.mark.more]) for name in NAMES),
    ],
    indirect=["where"],
)


@dataclass
class Where:
    """A directory, reached over one transport."""

    files: FileSystem
    root: str
    directory: Path
    auth: Credentials | None = None
    pool: SmbPool | None = None

    def make(self, name: str) -> str:
        """An image of a kind with `BEFORE` at its start; its location."""
        kind, engine = KINDS.get(name), NativeEngine()
        format = ImageFormat.RAW if kind is None else kind.format
        path = f"disk.{format}"
        block = MIB if format is ImageFormat.VHDX else 2 * MIB
        options = CreateOptions(format=format, fixed=kind is not None and kind.fixed, block_size=block)
        first = f"base.{format}" if kind is not None and kind.differencing else path
        engine.create(self.files, first, SIZE, options)
        with engine.open_chain(self.files, first, writable=1, format=format) as chain:
            chain.write(0, BEFORE)
        if first != path:
            engine.create_child(self.files, path, first)
        return f"{self.root}/{path}"

    def open(self, location: str, *, writable: bool = True) -> Disk:
        format = ImageFormat.RAW if location.endswith(".raw") else None
        return vhdx.open(location, writable=writable, format=format, auth=self.auth, pool=self.pool)

    def check(self, location: str, expected: dict[int, bytes]) -> None:
        """The image can be had for writing, holds *expected* and has no fault."""
        with self.open(location) as disk:
            for offset, data in expected.items():
                assert disk.read(offset, len(data)) == data, offset
        if not location.endswith(".raw"):
            found = NativeEngine().check(self.files, location.rsplit("/", 1)[1], deep=True)
            assert [finding for finding in found if finding.severity is not vhdx.Severity.INFO] == []


@pytest.fixture(params=["local", pytest.param("smb", marks=pytest.mark.smb)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    if request.param == "local":
        return Where(LocalFileSystem(tmp_path), str(tmp_path), tmp_path)
    files = request.getfixturevalue("smb_files")
    server: Smbd = request.getfixturevalue("smbd")
    directory: Path = request.getfixturevalue("share_directory")
    auth = Credentials(server.user, server.password)
    return Where(files, files.describe("").rstrip("/"), directory, auth, request.getfixturevalue("smb_pool"))


# --- fork ------------------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], None]) -> None:
    """Do *work* in a forked process, which has nobody to wait for but half a minute."""
    child = os.fork()
    if not child:
        signal.alarm(30)
        try:
            work()
        except BaseException:  # noqa: BLE001  must not get into the test run that this is a copy of
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "see what the child printed"


def refuses(*uses: Callable[[], object]) -> None:
    """Each use raises an Error that tells what is wrong."""
    for number, use in enumerate(uses):
        with pytest.raises(Error, match=f"opened by process {os.getppid()} before a fork"):
            raise AssertionError(f"use {number} came back with {use()!r}")


def uses(disk: Disk, view: DiskFile) -> list[Callable[[], object]]:
    """Every way to use a disk, its chain and its storage."""
    chain: Chain = disk._chain
    storage = chain.leaf.storage
    return [
        lambda: disk.read(0, 5),
        lambda: disk.read(SIZE - 5, 5),
        lambda: disk.readinto(0, bytearray(512)),
        lambda: disk.write(0, b"child"),
        lambda: disk.zero(0, SIZE),
        lambda: disk.discard(0, SIZE),
        disk.flush,
        lambda: list(disk.extents()),
        lambda: chain.read(0, 5),
        lambda: chain.extents(0, 512),
        lambda: pread(storage, 0, 512),
        lambda: pwrite(storage, 0, bytes(512)),
        lambda: storage.truncate(0),
        lambda: storage.zero([(0, 512)]),
        lambda: storage.reserve([(0, 512)]),
        lambda: list(storage.allocated(0, 512)),
        storage.size,
        storage.flush,
        lambda: storage.copy(storage, [(0, 512, 512)]),  # type: ignore[list-item]
        lambda: view.read(5),
        lambda: view.seek(0, os.SEEK_END) and view.read(5),
        lambda: view.write(b"child"),
        view.flush,
    ]


@EVERYWHERE
def test_a_fork_changes_nothing_for_the_parent_and_gives_the_child_nothing(where: Where, name: str) -> None:
    location = where.make(name)
    disk = where.open(location)
    disk.write(MIB, FIRST)
    view = disk.file()

    def child() -> None:
        refuses(*uses(disk, view))
        if where.pool is not None:
            pool, files = where.pool, where.files
            refuses(lambda: files.list(""), lambda: files.stat("x"), lambda: where.open(location))
            pool.close()
        disk.close()
        gc.collect()

    in_child(child)
    disk.write(5 * MIB, SECOND)
    with pytest.raises(vhdx.InUse):
        where.open(location)
    disk.flush()
    assert disk.read(MIB, len(FIRST)) == FIRST
    disk.close()
    where.check(location, {0: BEFORE, MIB: FIRST, 5 * MIB: SECOND})


def test_a_child_waits_for_no_lock_that_another_thread_held(tmp_path: Path) -> None:
    for name in ("vhdx-dynamic", "vhd-dynamic", "vhd-fixed", "raw"):
        where = Where(LocalFileSystem(tmp_path), str(tmp_path), tmp_path)
        disk = where.open(where.make(name))
        inside, done = threading.Event(), threading.Event()

        def hold(disk: Disk = disk, inside: threading.Event = inside, done: threading.Event = done) -> None:
            with disk._chain.leaf.allocate([Range(0, 512)]):
                inside.set()
                assert done.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        assert inside.wait(30)

        def child(disk: Disk = disk) -> None:
            refuses(lambda: disk.write(0, b"child"), disk.flush, lambda: disk.read(0, 5))
            disk.close()

        in_child(child)
        done.set()
        holder.join()
        disk.close()
        for path in tmp_path.iterdir():
            path.unlink()


def test_the_children_of_multiprocessing_are_children(tmp_path: Path) -> None:
    where = Where(LocalFileSystem(tmp_path), str(tmp_path), tmp_path)
    with where.open(where.make("vhdx-dynamic")) as disk:
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()

        def work() -> None:
            try:
                disk.write(0, b"child")
            except Error as error:
                answers.put(str(error))

        process = context.Process(target=work)
        process.start()
        process.join(30)
        assert process.exitcode == 0
        assert f"opened by process {os.getpid()}" in answers.get()
        assert disk.read(0, len(BEFORE)) == BEFORE


def test_a_file_is_given_back_though_a_child_still_has_its_descriptor(tmp_path: Path) -> None:
    where = Where(LocalFileSystem(tmp_path), str(tmp_path), tmp_path)
    location = where.make("vhdx-dynamic")
    for writable in (True, False):
        disk = where.open(location, writable=writable)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        try:
            disk.close()
            where.check(location, {0: BEFORE})
        finally:
            os.close(read)
            os.close(write)
            os.waitpid(child, 0)


# --- dropped ---------------------------------------------------------------------------------------------------------


@contextmanager
def unclosed(name: str) -> Iterator[None]:
    """What is dropped in here warns, by the name of its file, and fails in nothing."""
    failures: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, failures.append
    try:
        with pytest.warns(ResourceWarning, match=f"{name}.*never closed"):
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert failures == []


@EVERYWHERE
def test_a_disk_that_is_dropped_warns_and_loses_nothing(where: Where, name: str) -> None:
    location = where.make(name)
    with unclosed("disk"):
        disk: Disk | None = where.open(location)
        assert disk is not None
        disk.write(MIB, FIRST)
        disk = None
    where.check(location, {0: BEFORE, MIB: FIRST})
    with unclosed("disk"):
        disk = where.open(location)
        disk.write(5 * MIB, SECOND)
        circle: list[object] = [disk]
        circle.append(circle)
        disk = None
        del circle
    where.check(location, {0: BEFORE, MIB: FIRST, 5 * MIB: SECOND})


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE])
def test_a_storage_that_is_dropped_warns_and_is_free(where: Where, access: Access) -> None:
    pwrite(storage := where.files.create("file"), 0, b"content")
    storage.close()
    del storage
    with unclosed("file"):
        where.files.open("file", access)
    storage = where.files.open("file", Access.WRITE)
    assert pread(storage, 0, 7) == b"content"
    storage.close()


@pytest.mark.parametrize("name", ["vhdx-dynamic", "vhd-differencing", "vhd-fixed", "raw"])
def test_nothing_is_flushed_of_what_failed_or_was_abandoned(tmp_path: Path, name: str) -> None:
    files = LocalFileSystem(tmp_path)
    where = Where(files, str(tmp_path), tmp_path)
    path = where.make(name).rsplit("/", 1)[1]
    failing = [""]

    def watch(operation: object) -> None:
        kind = getattr(operation, "kind", "")
        assert not failing[0].startswith("over") or kind == "close", f"{kind} of what is over"
        if kind == failing[0]:
            raise OSError(5, "planned")

    format = ImageFormat.RAW if name == "raw" else None
    for abandoned in (False, True):
        failing[0] = ""
        chain = NativeEngine().open_chain(WatchedFileSystem(files, watch), path, writable=1, format=format)
        chain.write(0, FIRST)
        if abandoned:
            chain.leaf.abandon()  # type: ignore[attr-defined]
        else:
            failing[0] = "flush"
            with pytest.raises(OSError, match="planned"):
                chain.flush()
        failing[0] = "over"
        failures: list[object] = []
        before, sys.unraisablehook = sys.unraisablehook, failures.append
        try:
            with warnings.catch_warnings(record=True):
                del chain
                gc.collect()
        finally:
            sys.unraisablehook = before
        assert failures == []
        files.open(path, Access.WRITE).close()


def test_what_is_dropped_inside_the_package_waits_for_nothing_there(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector finds it while this very thread holds the locks of the connection or of another image."""
    dropped, busy = where.make("vhdx-dynamic"), f"{where.root}/busy"
    vhdx.create(busy, SIZE, auth=where.auth, pool=where.pool)
    gc.collect()
    ripe = [False]

    def collect() -> None:
        if ripe[0]:
            ripe[0] = False
            gc.collect()

    send, pwritev = channel._send, os.pwritev
    monkeypatch.setattr(channel, "_send", lambda *arguments: (collect(), send(*arguments))[1])
    monkeypatch.setattr(os, "pwritev", lambda *arguments: (collect(), pwritev(*arguments))[1])
    with where.open(busy) as other, unclosed("disk"):
        gc.disable()
        try:
            circle: list[object] = [where.open(dropped)]
            disk = circle[0]
            assert isinstance(disk, Disk)
            disk.write(MIB, FIRST)
            circle.append(circle)
            del circle, disk
            ripe[0] = True
            other.write(0, SECOND)
            assert not ripe[0]
        finally:
            gc.enable()
        eventually(lambda: where.check(dropped, {0: BEFORE, MIB: FIRST}))
        assert other.read(0, MIB) == SECOND


def eventually(look: Callable[[], None]) -> None:
    """*look* succeeds at last: a thread of its own gives the file back."""
    deadline = time.monotonic() + 30
    while True:
        try:
            look()
        except vhdx.InUse:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.mark.parametrize("name", ["vhdx-dynamic", "vhd-dynamic", "vhd-fixed", "raw"])
def test_a_change_is_not_interrupted_by_another_of_the_same_thread(tmp_path: Path, name: str) -> None:
    """A buffered file that the collector finds, or a signal handler, comes between the steps of a change."""
    files = LocalFileSystem(tmp_path)
    path = Where(files, str(tmp_path), tmp_path).make(name).rsplit("/", 1)[1]
    interrupts: list[str] = []

    def watch(operation: object) -> None:
        if not interrupts and ready:
            for change in (lambda: chain.write(5, b"within"), lambda: chain.zero(0, SIZE), chain.flush):
                with pytest.raises(Error, match="this thread is changing it already") as found:
                    change()
                interrupts.append(str(found.value))

    ready = False
    format = ImageFormat.RAW if name == "raw" else None
    with NativeEngine().open_chain(WatchedFileSystem(files, watch), path, writable=1, format=format) as chain:
        for change in (lambda: chain.write(MIB, FIRST), lambda: chain.zero(MIB, 512), chain.flush):
            ready = True
            change()
            ready = False
            assert len(interrupts) == 3
            interrupts.clear()
        assert chain.read(MIB + 512, MIB) == FIRST[512 : MIB + 512]
        assert chain.read(0, len(BEFORE)) == BEFORE


@pytest.mark.smb
def test_the_connection_of_a_dropped_disk_ends(where: Where, smbd: Smbd) -> None:
    if where.pool is None:
        pytest.skip("files of this machine need no connection")
    location = where.make("vhdx-dynamic")
    gc.collect()
    before = threading.active_count()
    with unclosed("disk"):
        disk: Disk | None = vhdx.open(location, writable=True, auth=where.auth)
        assert disk is not None
        disk.write(MIB, FIRST)
        assert threading.active_count() > before
        disk = None
    deadline = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    where.check(location, {0: BEFORE, MIB: FIRST})


# --- at exit ---------------------------------------------------------------------------------------------------------

AT_EXIT = """
import os, sys
import vhdx
password, *locations = sys.stdin.read().split("\\n")
auth = vhdx.Credentials(sys.argv[1], password) if password else None
disks = [
    vhdx.open(place, writable=True, auth=auth, format=vhdx.ImageFormat.RAW if place.endswith(".raw") else None)
    for place in locations
]
for disk in disks:
    disk.write(1 << 20, b"written" * 1000)
if not os.fork():
    sys.exit(0)  # with all that an interpreter does at its end
os.wait()
for disk in disks:
    disk.write(3 << 20, b"after" * 1000)
disks[0].circle = disks
print("done")
"""


def test_what_is_open_when_the_interpreter_exits_is_whole(where: Where) -> None:
    locations = []
    for name in NAMES:
        location = where.make(name)
        beside = location.rsplit("/", 1)[1]
        target = f"{name}.{beside.rsplit('.', 1)[1]}"
        where.files.rename(beside, target, replace=False)
        locations.append(f"{where.root}/{target}")
    user, password = (where.auth.username, where.auth.password) if where.auth else ("", "")
    ended = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", AT_EXIT, user],
        input="\n".join([password, *locations]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
    for location in locations:
        assert ended.stderr.count(f"{location.rsplit('/', 1)[1]}: never closed") == 1
        where.check(location, {0: BEFORE, MIB: b"written" * 1000, 3 * MIB: b"after" * 1000})
    assert "Exception" not in ended.stderr


# --- closed, in every thread -----------------------------------------------------------------------------------------


@EVERYWHERE
def test_a_disk_that_another_thread_closes_is_closed_and_nothing_else(where: Where, name: str) -> None:
    location = where.make(name)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(4):
            close_under_way(where, location, number)
    finally:
        sys.setswitchinterval(before)
    where.check(location, {0: BEFORE})


def close_under_way(where: Where, location: str, number: int) -> None:
    """Close a disk while threads read and write it, then open others that could take its place."""
    disk = where.open(location)
    view, chain, storage = disk.file(), disk._chain, disk._chain.leaf.storage
    data = pattern(number, 4096)
    disk.write(MIB, data)
    wrong: list[object] = []
    started = threading.Barrier(5)

    def keep(use: Callable[[], object], *right: object) -> None:
        started.wait()
        try:
            while True:
                result = use()
                if right and result not in right:
                    wrong.append(result)
        except Error as error:
            if not str(error).endswith("closed; open it again"):
                wrong.append(error)
        except BaseException as error:  # noqa: BLE001  told by the test
            wrong.append(error)

    def look() -> bytes:
        view.seek(MIB)
        return view.read(4096) or b""

    jobs: list[tuple[Callable[[], object], tuple[object, ...]]] = [
        (lambda: chain.read(MIB, 4096), (data,)),
        (look, (data,)),
        (lambda: disk.write(2 * MIB, data), ()),
        (disk.flush, ()) if number % 2 else (lambda: storage.size() > 0, (True,)),
    ]
    threads = [threading.Thread(target=keep, args=(use, *right)) for use, right in jobs]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.005)
    disk.close()
    others = [where.files.create(f"other{count}") for count in range(4)]
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for count, other in enumerate(others):
        assert other.size() == 0
        other.close()
        where.files.remove(f"other{count}")
    assert wrong == []
    with pytest.raises(Error, match="closed; open it again"):
        view.read()
    with pytest.raises(Error, match="closed; open it again"):
        chain.read(0, 1)
