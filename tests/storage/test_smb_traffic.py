"""What goes over the wire: credits shared by many threads, signatures, encryption, counts."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import connect, patiently
from tests.support.relay import Frame, Relay
from tests.support.smbd import Smbd
from vhdx.storage.base import Access
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings, Wire
from vhdx.storage.smb.messages import Command
from vhdx.storage.smb.status import NtStatus
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

MIB = 1 << 20
THREADS = 16
UNPROTECTED = {0, Command.SESSION_SETUP}  # the negotiation, and the log-on that makes the keys
PAYLOAD = b"a sentence that must not be read on its way " * 1000


@pytest.fixture
def relay(smbd: Smbd) -> Iterator[Relay]:
    with Relay(smbd.port) as relay:
        yield relay


def behind(relay: Relay, smbd: Smbd, pool: SmbPool, share: str, settings: SmbSettings) -> SmbFileSystem:
    account = Credentials(smbd.user, smbd.password)
    return pool.share("127.0.0.1", share, port=relay.port, credentials=account, settings=settings)


# --- credits ---------------------------------------------------------------------------------------------------------


def work(files: SmbFileSystem, number: int) -> None:
    """Write, read, list and copy, and see that every byte is right."""
    storage = files.create(f"file{number}")
    data = random.Random(number).randbytes(MIB)
    for place in range(4):
        pwrite(storage, place * MIB, data)
    storage.write([(4 * MIB + at * 300, data[at : at + 100]) for at in range(0, 2000, 100)])
    for place in range(4):
        assert pread(storage, place * MIB, MIB) == data
    assert f"file{number}" in files.list("")
    assert pread(storage, 0, 4 * MIB) == data * 4
    storage.flush()
    storage.close()
    assert files.stat(f"file{number}").size == 4 * MIB + 1900 * 300 + 100


@pytest.mark.parametrize("credits", [8192, 64, 32, 16, 4, 2, 1])
def test_many_threads_share_one_connection(own_smbd: Smbd, share_directory: Path, credits: int) -> None:
    own_smbd.configure(f"smb2 max credits = {credits}")
    with SmbPool() as pool, ThreadPoolExecutor(THREADS) as threads:
        files = connect(own_smbd, pool, share_directory)
        for done in [threads.submit(work, files, number) for number in range(THREADS)]:
            done.result(120)
        assert len(files.list("")) == THREADS


def test_many_threads_on_one_file(smb_files: SmbFileSystem) -> None:
    storage = smb_files.create("file")
    storage.truncate(THREADS * MIB)

    def fill(number: int) -> None:
        data = bytes([number + 1]) * MIB
        pwrite(storage, number * MIB, data)
        assert pread(storage, number * MIB, MIB) == data

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(fill, range(THREADS)))
    assert storage.size() == THREADS * MIB
    assert pread(storage, 0, storage.size()) == b"".join(bytes([number + 1]) * MIB for number in range(THREADS))
    storage.close()


def test_threads_that_come_together_make_one_connection(smbd: Smbd, relay: Relay, smb_files: SmbFileSystem) -> None:
    share, start = smb_files.name.rpartition("/")[2], threading.Barrier(THREADS)
    with SmbPool() as pool, ThreadPoolExecutor(THREADS) as threads:

        def use(number: int) -> None:
            start.wait()
            behind(relay, smbd, pool, share, SmbSettings()).create(str(number)).close()

        list(threads.map(use, range(THREADS)))
        assert relay.connections == 1
        trees = [frame for frame in relay.seen if frame.command == Command.TREE_CONNECT and frame.from_client]
        assert len(trees) == 1
    assert len(smb_files.list("")) == THREADS


def test_accounts_and_settings_have_connections_of_their_own(
    smbd: Smbd, relay: Relay, smb_files: SmbFileSystem
) -> None:
    share = smb_files.name.rpartition("/")[2]
    with SmbPool() as pool:
        for settings in (SmbSettings(), SmbSettings(encrypt=True), SmbSettings()):
            behind(relay, smbd, pool, share, settings)
        assert relay.connections == 2


# --- signatures and encryption ---------------------------------------------------------------------------------------


def use(files: SmbFileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, PAYLOAD)
    assert pread(storage, 0, len(PAYLOAD)) == PAYLOAD
    storage.flush()
    storage.zero([(0, 100)])
    storage.close()
    files.rename("file", "renamed", replace=True)
    assert files.list("") == ["renamed"]
    files.space()
    files.sync_directory("")
    with pytest.raises(FileNotFoundError):
        files.open("missing", Access.READ)


def after_log_on(relay: Relay) -> list[Frame]:
    return [frame for frame in relay.seen if frame.command not in UNPROTECTED]


def test_every_message_is_signed(smbd: Smbd, relay: Relay, smb_files: SmbFileSystem) -> None:
    with SmbPool() as pool:
        use(behind(relay, smbd, pool, smb_files.name.rpartition("/")[2], SmbSettings()))
    frames = after_log_on(relay)
    assert len(frames) > 20
    # That an answer takes its time is the one thing that a server says without a signature.
    assert {frame.status for frame in frames if not frame.signed} <= {NtStatus.PENDING}


def test_every_message_is_encrypted_when_that_is_asked_for(smbd: Smbd, relay: Relay, smb_files: SmbFileSystem) -> None:
    crossed = []

    def listen(frame: Frame) -> bytes:
        crossed.append(frame.data)
        return frame.data

    relay.rule = listen
    with SmbPool() as pool:
        use(behind(relay, smbd, pool, smb_files.name.rpartition("/")[2], SmbSettings(encrypt=True)))
    frames = after_log_on(relay)
    assert len(frames) > 20
    assert all(frame.encrypted for frame in frames)
    everything = b"".join(crossed)
    assert PAYLOAD[:20] not in everything
    assert "renamed".encode("utf-16-le") not in everything


def test_a_share_that_demands_encryption_gets_it(smbd: Smbd, relay: Relay, share_directory: Path) -> None:
    with SmbPool() as pool, SmbPool() as direct:
        share = connect(smbd, direct, share_directory, "smb encrypt = required").name.rpartition("/")[2]
        use(behind(relay, smbd, pool, share, SmbSettings()))
    beside = {Command.TREE_CONNECT, Command.ECHO, Command.LOGOFF}
    frames = [frame for frame in after_log_on(relay) if frame.command not in beside]
    assert len(frames) > 20
    assert all(frame.encrypted for frame in frames)


# --- counts ----------------------------------------------------------------------------------------------------------


def test_what_crossed_the_wire_is_counted(smbd: Smbd, share_directory: Path) -> None:
    with SmbPool() as pool:
        assert pool.wire() == Wire(0, 0)
        files = connect(smbd, pool, share_directory)
        storage = files.create("file")
        before = pool.wire()
        pwrite(storage, 0, bytes(8 * MIB))
        written = pool.wire()
        assert 8 * MIB <= written.sent - before.sent < 8 * MIB + (64 << 10)
        assert written.received - before.received < 64 << 10
        pread(storage, 0, 4 * MIB)
        read = pool.wire()
        assert 4 * MIB <= read.received - written.received < 4 * MIB + (64 << 10)
        assert read.total == read.sent + read.received
        storage.close()
    assert pool.wire().total >= read.total


def test_counts_only_grow(own_smbd: Smbd, share_directory: Path) -> None:
    stop, counts = threading.Event(), []
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory)

        def watch() -> None:
            while not stop.is_set():
                counts.append(pool.wire())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for number in range(3):
                storage = files.create(str(number))
                pwrite(storage, 0, bytes(MIB))
                own_smbd.kill()
                own_smbd.restart()
                with pytest.raises(ConnectionError):
                    storage.flush()
                assert len(patiently(lambda: files.list(""))) == number + 1
        finally:
            stop.set()
            watcher.join()
        assert pool.wire().sent >= 3 * MIB
    assert counts
    for sooner, later in pairwise(counts):
        assert later.sent >= sooner.sent
        assert later.received >= sooner.received
