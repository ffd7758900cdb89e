"""Files of this machine: what the kernel adds to the contract, and what it may do to us."""

import contextlib
import errno
import fcntl
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from vhdx.errors import Error, FormatError, InUse, OutOfSpace
from vhdx.storage import transfer
from vhdx.storage.base import Access, Move, Storage, Unsupported
from vhdx.storage.local import LocalFileSystem, linux
from vhdx.storage.transfer import pread, pwrite

MIB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> LocalFileSystem:
    return LocalFileSystem(tmp_path)


def refusal(code: int) -> Callable[..., int]:
    """A system call that fails with *code*."""

    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


# --- what is opened --------------------------------------------------------------------------------------------------


def make_directory(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [make_directory, os.mkfifo, make_socket])
@pytest.mark.parametrize("access", Access)
def test_only_regular_files_are_opened(
    files: LocalFileSystem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    access: Access,
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path("thing"))
    for operation in (lambda: files.open("thing", access), lambda: files.stat("thing")):
        with pytest.raises(Error, match=r"thing: not a regular file"):
            operation()
    assert files.list("") == []


@pytest.mark.parametrize("access", Access)
def test_devices_are_refused(files: LocalFileSystem, access: Access) -> None:
    with pytest.raises(Error, match="/dev/null: not a regular file"):
        files.open("/dev/null", access)


def test_links_are_followed_to_regular_files(files: LocalFileSystem, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    for name in ("file", "directory", "nothing"):
        (tmp_path / f"to-{name}").symlink_to(name)
    assert files.list("") == ["file", "to-file"]
    assert pread(files.open("to-file", Access.INSPECT), 0, 7) == b"content"
    assert files.stat("to-file").identity == files.stat("file").identity
    with pytest.raises(FileNotFoundError):
        files.open("to-nothing", Access.READ)


def test_removing_or_renaming_a_link_leaves_what_it_points_to(files: LocalFileSystem, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    for name in ("one", "two"):
        (tmp_path / name).symlink_to("file")
    files.rename("one", "three", replace=False)
    files.remove("two")
    assert files.list("") == ["file", "three"]


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_impossible_names_are_an_error_of_the_request(files: LocalFileSystem, path: str) -> None:
    for operation in (
        lambda: files.open(path, Access.READ),
        lambda: files.create(path),
        lambda: files.stat(path),
        lambda: files.remove(path),
        lambda: files.rename(path, "new", replace=False),
        lambda: files.list(path),
    ):
        with pytest.raises(Error, match="invalid file name"):
            operation()


def test_paths_are_relative_to_the_root_and_absolute_ones_stand_for_themselves(
    files: LocalFileSystem, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    files.create("sub/file").close()
    assert files.list("sub") == ["file"]
    assert files.describe("sub/file") == str(tmp_path / "sub" / "file")
    assert LocalFileSystem().stat(str(tmp_path / "sub" / "file")).size == 0
    with pytest.raises(FileNotFoundError):
        files.list("elsewhere")


def test_a_read_only_file_system_is_a_permission_error(files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refusal(errno.EROFS))
    with pytest.raises(PermissionError, match="file"):
        files.create("file")


# --- who holds what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE])
def test_other_processes_are_kept_out(files: LocalFileSystem, tmp_path: Path, access: Access) -> None:
    files.create("file").close()
    script = (
        "import sys; from vhdx.storage.local import *; from vhdx.storage.base import Access\n"
        f"held = LocalFileSystem({str(tmp_path)!r}).open('file', Access({access.value!r}))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InUse, match=str(tmp_path / "file")):
            files.open("file", Access.WRITE)
        files.open("file", Access.INSPECT).close()
        other.stdin.close()
    assert other.returncode == 0
    files.open("file", Access.WRITE).close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_a_file_that_lost_its_name_while_it_was_opened_is_not_taken_for_the_new_one(
    files: LocalFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "other").write_bytes(b"new")
    lock = fcntl.flock

    def replace_and_lock(fd: int, kind: int) -> None:
        if (tmp_path / "other").exists():
            (tmp_path / "other").replace(tmp_path / "file")
        lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", replace_and_lock)
    storage = files.open("file", Access.WRITE)
    assert pread(storage, 0, 3) == b"new"
    storage.close()


def test_no_descriptor_is_left_open_by_a_refusal(files: LocalFileSystem) -> None:
    holder = files.create("file")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(InUse):
            files.open("file", Access.WRITE)
        with pytest.raises(InUse):
            files.remove("file")
        with pytest.raises(InUse):
            files.rename("file", "new", replace=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    holder.close()


def test_rename_without_help_from_the_kernel(files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise Unsupported("renameat2")

    monkeypatch.setattr(linux, "rename_no_replace", refuse)
    files.create("one").close()
    files.rename("one", "two", replace=False)
    assert files.list("") == ["two"]
    files.create("one").close()
    with pytest.raises(FileExistsError):
        files.rename("one", "two", replace=False)
    assert files.list("") == ["one", "two"]


# --- system calls that do less than asked ----------------------------------------------------------------------------


def test_short_reads_and_writes_are_gone_on_with(files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_read, whole_write, whole_copy = os.preadv, os.pwritev, os.copy_file_range

    def short_copy(source: int, target: int, length: int, start: int, to: int) -> int:
        return whole_copy(source, target, min(length, 11), start, to)

    def short(buffers: Sequence[memoryview]) -> list[memoryview]:
        return [buffers[0][:7]] if len(buffers[0]) > 7 else list(buffers[:2])

    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: whole_read(fd, short(buffers), offset))
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: whole_write(fd, short(buffers), offset))
    monkeypatch.setattr(os, "copy_file_range", short_copy)
    data = bytes(range(256))
    storage = files.create("file")
    storage.write([(0, data[:100]), (100, data[100:103]), (103, data[103:])])
    transfer.copy(storage, storage, [Move(0, 1000, 256)])
    parts = [memoryview(bytearray(length)) for length in (3, 50, 203)]
    storage.read([(1000, parts[0]), (1003, parts[1]), (1053, parts[2])])
    assert b"".join(parts) == data
    with pytest.raises(FormatError):
        pread(storage, 1200, 57)
    storage.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_out_of_space(files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    storage = files.create("file")
    monkeypatch.setattr(os, "pwritev", refusal(code))
    with pytest.raises(OutOfSpace, match=r"file: .*free space"):
        pwrite(storage, 0, b"x")
    storage.close()


def test_a_file_as_large_as_it_may_be_is_out_of_space(files: LocalFileSystem) -> None:
    storage = files.create("file")
    ways: Sequence[Callable[[], None]] = (lambda: pwrite(storage, MIB, b"x"), lambda: storage.truncate(2 * MIB))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        for grow in ways:
            with pytest.raises(OutOfSpace, match="file: exceeds the largest file size"):
                grow()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    storage.close()


def test_a_broken_disk_stays_an_os_error_that_names_the_file(
    files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = files.create("file")
    monkeypatch.setattr(os, "fdatasync", refusal(errno.EIO))
    with pytest.raises(OSError, match="file") as caught:
        storage.flush()
    assert caught.value.errno == errno.EIO
    storage.close()


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_where_the_kernel_cannot_copy_memory_does(
    files: LocalFileSystem, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "copy_file_range", refusal(code))
    storage = files.create("file")
    pwrite(storage, 0, b"content")
    with pytest.raises(Unsupported):
        storage.copy(storage, [Move(0, 100, 7)])
    transfer.copy(storage, storage, [Move(0, 100, 7)])
    assert pread(storage, 100, 7) == b"content"
    storage.close()


# --- holes -----------------------------------------------------------------------------------------------------------


def sparse(files: LocalFileSystem) -> Storage:
    """8 MiB with data in the third; ends the test where the file system has no holes."""
    storage = files.create("file")
    storage.truncate(8 * MIB)
    pwrite(storage, 2 * MIB, b"x" * MIB)
    storage.flush()
    if files.stat("file").allocated >= 8 * MIB:
        pytest.skip("this file system keeps no holes")
    return storage


def test_holes_are_told_from_data(files: LocalFileSystem) -> None:
    storage = sparse(files)
    assert list(storage.allocated(0, 8 * MIB)) == [(2 * MIB, MIB)]
    assert list(storage.allocated(2 * MIB + 5, 10)) == [(2 * MIB + 5, 10)]
    assert list(storage.allocated(3 * MIB, 100 * MIB)) == []
    storage.close()


def test_zeroing_gives_space_back_and_never_grows_the_file(files: LocalFileSystem) -> None:
    storage = sparse(files)
    before = files.stat("file").allocated
    storage.zero([(2 * MIB, MIB), (8 * MIB - 10, 100)])
    assert storage.size() == 8 * MIB
    assert files.stat("file").allocated < before
    storage.close()


def test_reserving_fills_holes_and_leaves_data(files: LocalFileSystem) -> None:
    storage = sparse(files)
    storage.reserve([(0, 9 * MIB)])
    assert storage.size() == 9 * MIB
    assert files.stat("file").allocated >= 9 * MIB
    assert pread(storage, 0, 9 * MIB) == bytes(2 * MIB) + b"x" * MIB + bytes(6 * MIB)
    storage.close()


# --- other systems ---------------------------------------------------------------------------------------------------


def test_the_module_loads_where_there_is_no_fcntl() -> None:
    script = """
import contextlib, ctypes, pathlib, sys
import vhdx.errors, vhdx.extents, vhdx.storage.base
sys.platform = "win32"
sys.modules["fcntl"] = None
from vhdx.storage.local import LocalFileSystem
try:
    LocalFileSystem().open("file", vhdx.storage.base.Access.READ)
except vhdx.errors.Error as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
    assert "POSIX" in done.stdout


def test_of_many_who_create_and_remove_one_name_only_one_holds_it(tmp_path: Path) -> None:
    """A lock file made by exclusive creation must not be taken away while its maker thinks it holds it."""
    files, holders, overlaps = LocalFileSystem(tmp_path), [0], []

    def contend() -> None:
        for _ in range(300):
            try:
                held = files.create("intent")
            except (FileExistsError, InUse):
                with contextlib.suppress(FileNotFoundError, InUse):
                    files.remove("intent")
                continue
            holders[0] += 1
            if holders[0] != 1 or not (tmp_path / "intent").exists():
                overlaps.append(holders[0])
            holders[0] -= 1
            held.close()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
