"""What a storage on a share says after something went wrong: the true length, the right file, and never success."""

import errno
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.support.mounts import CannotMountError, mounted
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from tests.support.wrappers import Tally, watched
from vhdx.errors import FormatError, OutOfSpace
from vhdx.storage.base import Access, Move
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool
from vhdx.storage.smb.messages import Command
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

MIB = 1 << 20


def put(files: SmbFileSystem, path: str, content: bytes) -> None:
    storage = files.create(path)
    pwrite(storage, 0, content)
    storage.close()


# --- the length after a failure --------------------------------------------------------------------------------------


@pytest.fixture
def small_directory(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    try:
        with mounted("ext4", 64 * MIB, tmp_path) as point:
            yield point
    except CannotMountError as error:
        pytest.skip(str(error))


def test_the_length_is_true_after_a_write_that_failed(smbd: Smbd, smb_pool: SmbPool, small_directory: Path) -> None:
    """Some of the pieces are there, and the file is as long as they made it."""
    files = connect(smbd, smb_pool, small_directory)
    storage = files.create("file")
    with pytest.raises(OutOfSpace):
        pwrite(storage, 0, random.Random(1).randbytes(80 * MIB))
    length = (small_directory / "file").stat().st_size
    assert length > 0
    assert storage.size() == length
    assert pread(storage, length - 1, 1)
    storage.truncate(MIB)
    pwrite(storage, MIB, b"more")
    assert storage.size() == MIB + 4 == (small_directory / "file").stat().st_size
    storage.close()


def test_the_length_is_true_after_a_copy_that_failed(
    smbd: Smbd, smb_pool: SmbPool, smb_files: SmbFileSystem, small_directory: Path
) -> None:
    source = smb_files.create("source")
    pwrite(source, 0, random.Random(1).randbytes(80 * MIB))
    target = connect(smbd, smb_pool, small_directory).create("target")
    with pytest.raises(OutOfSpace):
        target.copy(source, [Move(0, 0, 80 * MIB)])
    length = (small_directory / "target").stat().st_size
    assert length > 0
    assert target.size() == length
    target.close()
    source.close()


def test_the_length_when_many_threads_make_the_file_longer(smb_files: SmbFileSystem, share_directory: Path) -> None:
    storage = smb_files.create("file")

    def lengthen(part: int) -> None:
        for round_ in range(100):
            pwrite(storage, (round_ * 8 + part) * 512, bytes([part]) * 512)

    threads = [threading.Thread(target=lengthen, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.size() == 800 * 512 == (share_directory / "file").stat().st_size
    assert pread(storage, 799 * 512, 512) == bytes([7]) * 512
    storage.close()


# --- removal over a connection that is lost --------------------------------------------------------------------------


def test_a_removal_that_the_server_never_hears_of_is_no_success(
    smbd: Smbd, smb_files: SmbFileSystem, share_directory: Path
) -> None:
    """The file goes when its handle is closed, so a lost answer to that leaves open whether it went."""
    put(smb_files, "file", b"content")
    with Relay(smbd.port) as relay, SmbPool() as pool:
        account = Credentials(smbd.user, smbd.password)
        share = smb_files.name.rpartition("/")[2]
        files = pool.share("127.0.0.1", share, port=relay.port, credentials=account)

        def lose_the_close(frame: Frame) -> Verdict:
            return Verdict.CUT if frame.from_client and frame.command == Command.CLOSE else Verdict.PASS

        relay.rule = lose_the_close
        with pytest.raises(ConnectionError, match="file"):
            files.remove("file")


# --- a client that stands still --------------------------------------------------------------------------------------

_CLIENT = """
import sys, time
from vhdx.storage.base import Access
from vhdx.storage.smb import Credentials, SmbPool, SmbSettings
host, port, share, user = sys.argv[1:]
account = Credentials(user, sys.stdin.readline().strip())
with SmbPool() as pool:
    files = pool.share(host, share, port=int(port), credentials=account, settings=SmbSettings(timeout=2))
    storage = files.open("file", Access.READ)
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(1)
    room = bytearray(7)
    storage.read([(0, memoryview(room))])
    print(room.decode(), flush=True)
    storage.close()
"""


def test_a_client_that_was_stopped_for_a_while_does_not_blame_the_server(smbd: Smbd, smb_files: SmbFileSystem) -> None:
    """Nobody could answer while this side stood still; only an echo without an answer tells that a server is dead."""
    put(smb_files, "file", b"content")
    share = smb_files.name.rpartition("/")[2]
    arguments = [sys.executable, "-c", _CLIENT, smbd.host, str(smbd.port), share, smbd.user]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"{smbd.password}\n")
        client.stdin.flush()
        assert client.stdout.readline() == "ready\n"
        subprocess.run(["sh", "-c", f"sleep 1; kill -STOP {client.pid}; sleep 5; kill -CONT {client.pid}"], check=True)
        client.stdin.write("go on\n")
        client.stdin.flush()
        assert client.stdout.readline() == "content\n"


# --- errors say where ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "length"), [(99, 2), (100, 1), (5 * MIB, 3 * MIB), (1 << 40, 1)])
def test_a_read_past_the_end_says_where_whoever_keeps_the_length(
    smb_files: SmbFileSystem, offset: int, length: int
) -> None:
    put(smb_files, "file", b"x" * 100)
    for access in Access:
        storage = smb_files.open("file", access)
        with pytest.raises(FormatError) as caught:
            storage.read([(0, memoryview(bytearray(100))), (offset, memoryview(bytearray(length)))])
        assert caught.value.file == storage.name
        assert caught.value.offset is not None
        assert offset <= caught.value.offset < offset + length
        storage.close()


def test_a_copy_from_a_file_that_was_cut_says_where(smb_files: SmbFileSystem, share_directory: Path) -> None:
    put(smb_files, "source", b"x" * (4 * MIB))
    source, target = smb_files.open("source", Access.READ), smb_files.create("target")
    os.truncate(share_directory / "source", MIB)
    with pytest.raises(FormatError) as caught:
        target.copy(source, [Move(0, 0, MIB), Move(2 * MIB, MIB, 2 * MIB)])
    assert (caught.value.file, caught.value.offset) == (source.name, 2 * MIB)
    source.close()
    target.close()


@pytest.mark.parametrize("replace", [False, True])
def test_a_rename_into_a_directory_that_is_not_there_names_the_new_place(
    smb_files: SmbFileSystem, replace: bool
) -> None:
    put(smb_files, "file", b"content")
    with pytest.raises(FileNotFoundError, match="missing/new") as caught:
        smb_files.rename("file", "missing/new", replace=replace)
    assert caught.value.errno == errno.ENOENT
    assert smb_files.list("") == ["file"]


def test_a_copy_from_a_wrapped_storage_stays_on_the_server(smb_files: SmbFileSystem, smb_pool: SmbPool) -> None:
    put(smb_files, "source", random.Random(1).randbytes(4 * MIB))
    source, target = smb_files.open("source", Access.READ), smb_files.create("target")
    before = smb_pool.wire().total
    target.copy(watched(source, Tally()), [Move(0, 0, 4 * MIB)])
    assert smb_pool.wire().total - before < MIB
    assert pread(target, 0, 4 * MIB) == pread(source, 0, 4 * MIB)
    source.close()
    target.close()
