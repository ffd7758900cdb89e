"""In use is in use for everybody on this machine: qemu's locks, and writers that lock nothing, in both orders."""

import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

import vhdx
from tests.conftest import connect
from tests.support.disks import MIB, pattern
from tests.support.mounts import CannotMountError, mounted
from tests.support.smbd import Smbd
from vhdx import Access, CreateOptions, ImageFormat, InUse, LocalFileSystem, NativeEngine, SmbPool
from vhdx.storage.local import linux, locking
from vhdx.storage.local.file import LocalStorage
from vhdx.storage.transfer import pread

FLOCK = struct.Struct("hhqqi0q")
_WRITES = Access.WRITE, Access.OWN
HELD = {Access.INSPECT: set(), Access.READ: {100, 201, 203}} | {way: {100, 101, 103, 201, 203} for way in _WRITES}
CLASHES = {Access.INSPECT: set(), Access.READ: {101, 103, 200}} | {way: {101, 103, 200, 201, 203} for way in _WRITES}
BYTES = range(100, 204)
CIFS = 0xFF534D42

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of open file descriptions")


@pytest.fixture
def files(tmp_path: Path) -> LocalFileSystem:
    (tmp_path / "file").write_bytes(bytes(4096))
    return LocalFileSystem(tmp_path)


def lock(fd: int, kind: int, start: int, length: int = 1) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, start, length, 0))


def locked(fd: int) -> set[int]:
    """The bytes of qemu's that others have locked."""
    asked = (fcntl.fcntl(fd, fcntl.F_OFD_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0)) for at in BYTES)
    return {at for at, found in zip(BYTES, asked, strict=True) if FLOCK.unpack(found)[0] != fcntl.F_UNLCK}


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """A descriptor for reading, as a program has it that only locks."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


# --- the bytes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", Access)
def test_bytes_that_are_locked_and_that_must_not_be(files: LocalFileSystem, tmp_path: Path, access: Access) -> None:
    with reading(tmp_path / "file") as other:
        with closing(files.open("file", access)):
            assert locked(other) == HELD[access]
        assert locked(other) == set()
        for at in (0, 99, *range(100, 105), *range(199, 205)):
            lock(other, fcntl.F_RDLCK, at)
            if at in CLASHES[access]:
                with pytest.raises(InUse, match="/file: in use"):
                    files.open("file", access)
            else:
                files.open("file", access).close()
            assert locked(other) == set(), "nothing is left of a claim that failed"
            lock(other, fcntl.F_UNLCK, at)


def test_a_closed_descriptor_of_the_same_file_drops_nothing(files: LocalFileSystem, tmp_path: Path) -> None:
    with reading(tmp_path / "file") as other, closing(files.open("file", Access.WRITE)):
        (tmp_path / "file").read_bytes()
        files.open("file", Access.INSPECT).close()
        assert locked(other) == HELD[Access.WRITE]


def test_a_new_file_is_held_from_the_start(files: LocalFileSystem, tmp_path: Path) -> None:
    with closing(files.create("new")), reading(tmp_path / "new") as other:
        assert locked(other) == HELD[Access.WRITE]


@pytest.mark.parametrize("at", sorted(CLASHES[Access.WRITE]))
def test_names_of_files_in_use_stay(files: LocalFileSystem, tmp_path: Path, at: int) -> None:
    (tmp_path / "new").write_bytes(b"new")
    with reading(tmp_path / "file") as other:
        lock(other, fcntl.F_RDLCK, at)
        for change in (
            lambda: files.remove("file"),
            lambda: files.rename("file", "moved", replace=False),
            lambda: files.rename("new", "file", replace=True),
        ):
            with pytest.raises(InUse, match="/file: in use"):
                change()
    assert files.list("") == ["file", "new"]
    files.rename("new", "file", replace=True)


# --- what file systems give ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_byte_locks_flock_has_to_do(
    files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(fd: int, command: int, *_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locking.fcntl, "fcntl", refuse)
    with closing(files.open("file", Access.WRITE)), pytest.raises(InUse):
        files.open("file", Access.READ)
    files.open("file", Access.READ).close()


def range_flock(fd: int, kind: int) -> None:
    """`flock` as NFS makes it: a range lock over the whole file, of the same owner as the byte locks."""
    command = {fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}
    lock(fd, command[kind & ~fcntl.LOCK_NB], 0, 0)


@pytest.mark.parametrize("mine", [Access.READ, Access.WRITE])
def test_where_flock_is_a_range_lock_ours_do_not_conflict_with_it(
    files: LocalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: Access
) -> None:
    """The bytes that both lock are shared afterwards; all others are as flock left them, so it goes on excluding."""
    monkeypatch.setattr(locking.fcntl, "flock", range_flock)
    monkeypatch.setattr(locking, "_WITH_LEASES", frozenset())
    with reading(tmp_path / "file") as other:
        with closing(files.open("file", mine)):
            for second in (Access.READ, Access.WRITE):
                if (mine, second) == (Access.READ, Access.READ):
                    files.open("file", second).close()
                    continue
                with pytest.raises(InUse):
                    files.open("file", second)
            with pytest.raises(InUse):
                files.remove("file")
            assert locked(other) >= HELD[mine]
            if tool := shutil.which("qemu-io"):
                command = [tool, "-f", "raw", "-c", "write 0 512", str(tmp_path / "file")]
                assert "Failed to get" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
        assert locked(other) == set()
    with closing(files.open("file", Access.WRITE)):
        pass


def test_where_byte_locks_bind_their_owner_there_are_none(
    files: LocalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CIFS, whose `flock` has an error of its own, too."""

    def denied(fd: int, kind: int) -> None:
        try:
            flock(fd, kind)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from error

    flock = fcntl.flock
    monkeypatch.setattr(locking.fcntl, "flock", denied)
    monkeypatch.setattr(linux, "file_system", lambda fd: CIFS)
    with reading(tmp_path / "file") as other:
        with closing(files.open("file", Access.WRITE)):
            assert locked(other) == set()
            with pytest.raises(InUse):
                files.open("file", Access.READ)
        with closing(files.open("file", Access.READ)), closing(files.open("file", Access.READ)):
            assert locked(other) == set()
            with pytest.raises(InUse):
                files.open("file", Access.WRITE)


def test_the_kind_of_a_file_system_is_known(tmp_path: Path) -> None:
    with reading(Path("/proc/self/status")) as fd:
        assert linux.file_system(fd) == 0x9FA0
    assert linux.file_system(-1) is None


# --- writers that lock nothing ---------------------------------------------------------------------------------------


def leases(path: Path) -> bool:
    """Whether read leases are granted there, and tell of writers."""
    with reading(path) as fd:
        return linux.file_system(fd) in locking._WITH_LEASES


@pytest.fixture
def leased(files: LocalFileSystem, tmp_path: Path) -> Path:
    if not leases(tmp_path / "file"):
        pytest.skip("this file system has no leases of its own, so writers that lock nothing cannot be seen")
    return tmp_path / "file"


def test_a_writer_that_locks_nothing_is_seen_and_a_reader_is_none(files: LocalFileSystem, leased: Path) -> None:
    with leased.open("r+b"):
        for attempt in (lambda: files.open("file", Access.WRITE), lambda: files.remove("file")):
            with pytest.raises(InUse, match="/file: in use by this or another process: it is open for writing"):
                attempt()
        files.open("file", Access.READ).close()
    with leased.open("rb"):
        files.open("file", Access.WRITE).close()
    writer = subprocess.Popen(["sleep", "60"], stdout=leased.open("ab"), close_fds=True)
    try:
        with pytest.raises(InUse, match=rf"in use by sleep \(process {writer.pid}\): it is open for writing"):
            files.open("file", Access.WRITE)
    finally:
        writer.kill()
        writer.wait()
    files.open("file", Access.WRITE).close()


def test_no_lease_is_left_and_none_is_waited_for_long(files: LocalFileSystem, leased: Path) -> None:
    with closing(files.open("file", Access.WRITE)), reading(leased) as fd:
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    with reading(leased) as fd:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        with pytest.raises(InUse):
            files.open("file", Access.WRITE)
        # As soon as the lease is let go, whoever waits for it gets the file.
        opened: list[LocalStorage] = []
        waiting = threading.Thread(target=lambda: opened.append(eager(files)))
        waiting.start()
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        waiting.join(30)
    opened[0].close()


def eager(files: LocalFileSystem) -> LocalStorage:
    while True:
        with suppress(InUse):
            storage = files.open("file", Access.WRITE)
            assert isinstance(storage, LocalStorage)
            return storage


def test_many_who_want_a_file_do_not_harm_each_other(files: LocalFileSystem, leased: Path) -> None:
    """Leases that are asked for and broken by each other end no process, and each gets its turn."""
    turns: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with closing(eager(files)):
                turns.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(turns) == sorted([0, 1, 2, 3] * 20)


# --- file systems ----------------------------------------------------------------------------------------------------


@contextmanager
def overlaid(place: Path) -> Iterator[Path]:
    """An overlay, as containers have it."""
    for name in ("lower", "upper", "work", "merged"):
        (place / name).mkdir()
    layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    command = ["mount", "-t", "overlay", "overlay", "-o", layers, str(place / "merged")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield place / "merged"
    finally:
        subprocess.run(["umount", "-l", str(place / "merged")], check=False)


@contextmanager
def in_memory(place: Path) -> Iterator[Path]:
    """The tmpfs that every Linux has."""
    if not os.access("/dev/shm", os.W_OK):
        raise CannotMountError("/dev/shm cannot be written to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.parametrize(
    ("kind", "seen"), [("ext4", True), ("xfs", True), ("tmpfs", True), ("overlay", False)]
)
def test_each_file_system_gives_what_the_documents_say(tmp_path: Path, kind: str, seen: bool) -> None:
    makers = {"tmpfs": in_memory, "overlay": overlaid}
    with ExitStack() as stack:
        try:
            make = makers.get(kind, lambda place: mounted(kind, 400 * MIB, place))
            directory = stack.enter_context(make(tmp_path))
        except CannotMountError as error:
            pytest.skip(f"no {kind} here: {error}")
        files = LocalFileSystem(directory)
        files.create("file").close()
        with closing(files.open("file", Access.WRITE)), reading(directory / "file") as other:
            assert locked(other) == HELD[Access.WRITE]
            with pytest.raises(InUse):
                files.open("file", Access.READ)
        with reading(directory / "file") as other:
            lock(other, fcntl.F_RDLCK, 101)
            with pytest.raises(InUse):
                files.open("file", Access.READ)
        with (directory / "file").open("r+b"):
            if seen:
                with pytest.raises(InUse, match="it is open for writing"):
                    files.open("file", Access.WRITE)
            else:
                files.open("file", Access.WRITE).close()


# --- qemu ------------------------------------------------------------------------------------------------------------

SHAPES = {
    "vhdx": (CreateOptions(block_size=MIB), "vhdx"),
    "vhd": (CreateOptions(format=ImageFormat.VHD), "vpc"),
    "raw": (CreateOptions(format=ImageFormat.RAW), "raw"),
}


def qemu(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def served_by_qemu(path: Path, driver: str, *, writable: bool) -> Iterator[None]:
    """qemu-nbd with the image open."""
    socket = path.with_suffix(".sock")
    mode = [] if writable else ["-r"]
    server = subprocess.Popen(["qemu-nbd", *mode, "-f", driver, "-k", str(socket), "-t", str(path)])
    try:
        deadline = time.monotonic() + 30
        while qemu("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", f"nbd+unix:///?socket={socket}").returncode:
            assert server.poll() is None
            assert time.monotonic() < deadline
        yield
    finally:
        server.terminate()
        server.wait()
        socket.unlink(missing_ok=True)


@pytest.fixture(params=SHAPES)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, ImageFormat, str]:
    for program in ("qemu-io", "qemu-nbd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} not found")
    options, driver = SHAPES[request.param]
    path = tmp_path / f"disk.{request.param}"
    vhdx.create(path, 8 * MIB, options=options)
    with vhdx.open(path, writable=True, format=options.format) as disk:
        disk.write(0, pattern(1, MIB))
    return path, options.format, driver


def test_what_we_hold_qemu_does_not_get(image: tuple[Path, ImageFormat, str]) -> None:
    path, format, driver = image
    for writable in (True, False):
        with vhdx.open(path, writable=writable, format=format) as disk:
            refused = qemu("qemu-io", "-f", driver, "-c", "write 0 4k", str(path))
            assert 'Failed to get "write" lock' in refused.stderr
            copied = qemu("qemu-img", "convert", "-f", driver, "-O", "raw", str(path), f"{path}.copy")
            assert ('Failed to get shared "write" lock' in copied.stderr) == writable
            assert qemu("qemu-img", "info", "-U", "-f", driver, str(path)).returncode == 0
            assert disk.read(0, MIB) == pattern(1, MIB)
    assert qemu("qemu-io", "-f", driver, "-c", "write 0 4k", str(path)).returncode == 0


def test_what_qemu_holds_we_do_not_get(image: tuple[Path, ImageFormat, str]) -> None:
    path, format, driver = image
    files, engine = LocalFileSystem(path.parent), NativeEngine()
    before = path.read_bytes()
    (path.parent / "other").write_bytes(b"other")
    with served_by_qemu(path, driver, writable=True):
        attempts: list[Callable[[], object]] = [
            lambda: vhdx.open(path, format=format),
            lambda: engine.convert(files, path.name, files, "copy.vhdx", source_format=format),
        ]
        refused = changes(path, format, files) + attempts
        for attempt in refused:
            with pytest.raises(InUse, match=rf"{path.name}: in use by qemu-nbd \(process \d+\)"):
                attempt()
        assert engine.info(files, path.name, format=format).virtual_size == 8 * MIB
        for command in (["img", "write", "-f", str(format), str(path), "0"], ["img", "compact", str(path)]):
            ended = cli(*command)
            assert (ended.returncode, "qemu-nbd" in ended.stderr) == (5, True), ended.stderr
    with served_by_qemu(path, driver, writable=False):
        with vhdx.open(path, format=format) as disk:
            assert disk.read(0, MIB) == pattern(1, MIB)
        for attempt in changes(path, format, files):
            with pytest.raises(InUse, match=r"in use by qemu-nbd \(process \d+\)"):
                attempt()
    assert path.read_bytes() == before
    assert sorted(files.list("")) == sorted([path.name, "other"])
    vhdx.open(path, writable=True, format=format).close()


def changes(path: Path, format: ImageFormat, files: LocalFileSystem) -> list[Callable[[], object]]:
    """What changes the file or its name."""
    return [
        lambda: vhdx.open(path, writable=True, format=format),
        lambda: NativeEngine().resize(files, path.name, 16 * MIB, format=format),
        lambda: NativeEngine().create(files, path.name, MIB, replace=True),
        lambda: files.rename(path.name, "moved", replace=False),
        lambda: files.rename("other", path.name, replace=True),
        lambda: files.remove(path.name),
    ]


def cli(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"from vhdx.cli.{program} import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, input="data", timeout=60)


@pytest.mark.parametrize("name", ["vhdx", "vhd"])
def test_a_merge_waits_for_qemu_to_let_go(tmp_path: Path, name: str) -> None:
    """Nothing of a chain is merged while a guest has the parent open, or the child."""
    if shutil.which("qemu-nbd") is None:
        pytest.skip("qemu-nbd not found")
    options, driver = SHAPES[name]
    files, engine = LocalFileSystem(tmp_path), NativeEngine()
    base, top = f"base.{name}", f"top.{name}"
    engine.create(files, base, 8 * MIB, options)
    engine.create_child(files, top, base)
    with engine.open_chain(files, top, writable=1) as chain:
        chain.write(0, pattern(2, MIB))
    before = (tmp_path / base).read_bytes()
    with served_by_qemu(tmp_path / base, driver, writable=False), pytest.raises(InUse, match="qemu-nbd"):
        engine.merge(files, top, base)
    assert (tmp_path / base).read_bytes() == before
    engine.merge(files, top, base)
    with closing(files.open(base, Access.READ)) as storage:
        assert pread(storage, 0, 8)


# --- Samba -----------------------------------------------------------------------------------------------------------


@pytest.mark.smb
def test_what_a_client_of_samba_writes_is_not_written_here(
    smbd: Smbd, smb_pool: SmbPool, leased: Path, files: LocalFileSystem
) -> None:
    share = connect(smbd, smb_pool, leased.parent)
    with closing(share.open("file", Access.WRITE)):
        for attempt in (lambda: files.open("file", Access.WRITE), lambda: files.remove("file")):
            with pytest.raises(InUse, match=r"in use by smbd\S* \(process \d+\): it is open for writing"):
                attempt()
    for access in (Access.READ, Access.INSPECT):
        with closing(share.open("file", access)):
            files.open("file", Access.WRITE).close()
    # The other way round nothing can be done: smbd asks for no lock that is known here, so it opens what we hold.
    with closing(files.open("file", Access.WRITE)):
        share.open("file", Access.READ).close()
