"""Servers that freeze, die, fall silent or forget: ConnectionError in bounded time, then a new connection."""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import connect, patiently
from tests.support.choice import few
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from vhdx.storage.base import Access, Move, Storage
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.messages import Command
from vhdx.storage.smb.storage import SmbStorage
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

MIB = 1 << 20
TIMEOUT = 1.0
QUICK = SmbSettings(timeout=TIMEOUT, connect_timeout=1)
BOUND = 4 * TIMEOUT + 5
"""Seconds after which a dead server must have been noticed: a bound of correctness, far above what it takes."""

LOST = (0xC000035C, 0xC0000203)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("smb-")}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def pool() -> Iterator[SmbPool]:
    """Connections of this test alone, of which no thread may be left."""
    before = threads()
    with SmbPool() as pool:
        yield pool
    assert threads() == before


@pytest.fixture
def files(own_smbd: Smbd, pool: SmbPool, share_directory: Path) -> SmbFileSystem:
    return connect(own_smbd, pool, share_directory, settings=QUICK)


@pytest.fixture
def relay(smbd: Smbd) -> Iterator[Relay]:
    with Relay(smbd.port) as relay:
        yield relay


@pytest.fixture
def relayed(relay: Relay, smbd: Smbd, pool: SmbPool, share_directory: Path) -> SmbFileSystem:
    """An empty share behind a relay."""
    with SmbPool() as other:
        name = connect(smbd, other, share_directory).name.rpartition("/")[2]
    account = Credentials(smbd.user, smbd.password)
    return pool.share("127.0.0.1", name, port=relay.port, credentials=account, settings=QUICK)


class Doing:
    """An operation in a thread of its own."""

    def __init__(self, operation: Callable[[], object]) -> None:
        executor = ThreadPoolExecutor(1)
        self._future = executor.submit(operation)
        executor.shutdown(wait=False)

    @property
    def done(self) -> bool:
        return self._future.done()

    def result(self) -> BaseException | None:
        """What it raised; fails when it hangs."""
        return self._future.exception(BOUND)

    def assert_lost(self, name: str) -> None:
        error = self.result()
        assert isinstance(error, ConnectionError)
        assert name in str(error)


def again_and_again(operation: Callable[[], object]) -> Callable[[], None]:
    def repeat() -> None:
        while True:
            operation()

    return repeat


def usable(files: SmbFileSystem) -> None:
    """Use *files* as soon as a server that was gone has found itself."""
    deadline = time.monotonic() + BOUND
    while True:
        try:
            files.list("")
            break
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
    storage = files.create("afterwards")
    pwrite(storage, 0, b"works")
    assert pread(storage, 0, 5) == b"works"
    storage.close()
    files.remove("afterwards")


# --- a server that freezes -------------------------------------------------------------------------------------------

BIG = bytes(64 * MIB)


@pytest.mark.parametrize("what", few(["write", "read", "copy", "flush"], 2))
def test_a_server_that_freezes_in_the_middle(own_smbd: Smbd, pool: SmbPool, share_directory: Path, what: str) -> None:
    # Deep enough to fill every buffer between here and there.
    settings = SmbSettings(timeout=TIMEOUT, connect_timeout=1, depth=60)
    files = connect(own_smbd, pool, share_directory, settings=settings)
    storage = files.create("file")
    pwrite(storage, 0, BIG)
    room = memoryview(bytearray(BIG))
    operations: dict[str, Callable[[], None]] = {
        "read": lambda: storage.read([(0, room)]),
        "write": lambda: storage.write([(0, BIG)]),
        "flush": lambda: (pwrite(storage, 0, b"x"), storage.flush())[1],
        "copy": lambda: storage.copy(storage, [Move(0, 32 * MIB, 32 * MIB)]),
    }
    doing = Doing(again_and_again(operations[what]))
    time.sleep(0.3)
    assert not doing.done
    own_smbd.freeze()
    doing.assert_lost("smb://127.0.0.1")
    stays_lost(storage)
    own_smbd.thaw()
    usable(files)
    storage.close()


def stays_lost(storage: Storage) -> None:
    """What was not flushed may be gone, so a storage never comes back by itself."""
    buffer = memoryview(bytearray(4))
    operations: list[Callable[[], None]] = [
        lambda: storage.read([(0, buffer)]),
        lambda: pwrite(storage, 0, b"x"),
        storage.flush,
    ]
    for operation in operations:
        with pytest.raises(ConnectionError):
            operation()


def test_a_server_that_freezes_while_idle(own_smbd: Smbd, files: SmbFileSystem) -> None:
    storage = files.create("file")
    own_smbd.freeze()
    Doing(lambda: pwrite(storage, 0, b"x")).assert_lost("file")
    Doing(lambda: files.list("")).assert_lost("smb://")
    own_smbd.thaw()
    usable(files)


def test_an_idle_connection_outlives_its_timeout(files: SmbFileSystem) -> None:
    storage = files.create("file")
    before = threads()
    time.sleep(2.5 * TIMEOUT)
    pwrite(storage, 0, b"x")
    assert pread(storage, 0, 1) == b"x"
    assert threads() == before
    storage.close()


def test_many_threads_wait_for_a_server_that_freezes(own_smbd: Smbd, files: SmbFileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, bytes(16 * MIB))
    waiting = [Doing(again_and_again(lambda: pread(storage, 0, 4 * MIB))) for _ in range(4)]
    waiting += [Doing(again_and_again(lambda: pwrite(storage, 4 * MIB, bytes(4 * MIB)))) for _ in range(4)]
    waiting += [Doing(again_and_again(lambda: files.list(""))) for _ in range(4)]
    time.sleep(0.2)
    own_smbd.freeze()
    for doing in waiting:
        doing.assert_lost("smb://")
    own_smbd.thaw()
    usable(files)


# --- a server that dies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["read", "write"])
def test_a_server_that_is_killed_in_the_middle(own_smbd: Smbd, files: SmbFileSystem, what: str) -> None:
    storage = files.create("file")
    pwrite(storage, 0, bytes(16 * MIB))
    read, write = lambda: pread(storage, 0, 16 * MIB), lambda: pwrite(storage, 0, bytes(16 * MIB))
    doing = Doing(again_and_again(read if what == "read" else write))
    time.sleep(0.2)
    own_smbd.kill()
    doing.assert_lost("file")
    stays_lost(storage)
    storage.close()
    Doing(lambda: files.list("")).assert_lost("smb://")
    own_smbd.restart()
    usable(files)


def test_what_was_flushed_survives_the_server(own_smbd: Smbd, files: SmbFileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, b"flushed")
    storage.flush()
    own_smbd.kill()
    own_smbd.restart()
    stays_lost(storage)
    storage.close()
    again = files.open("file", Access.WRITE)
    assert pread(again, 0, 7) == b"flushed"
    again.close()


# --- a server that is alive, and slow --------------------------------------------------------------------------------


def test_a_slow_server_is_waited_for(relay: Relay, relayed: SmbFileSystem) -> None:
    """Only its silence would be taken for death, and it answers when asked for a sign of life."""
    storage = relayed.create("file")
    pwrite(storage, 0, b"content")
    slow = {Command.FLUSH, Command.READ, Command.CREATE}
    relay.rule = lambda frame: Verdict.HOLD if frame.command in slow and not frame.from_client else Verdict.PASS
    waiting = [
        Doing(storage.flush),
        Doing(lambda: pread(storage, 0, 7)),
        Doing(lambda: relayed.open("file", Access.INSPECT).close()),
    ]
    time.sleep(3 * TIMEOUT)
    assert not any(doing.done for doing in waiting)
    relay.rule = lambda frame: Verdict.PASS
    relay.release()
    assert [doing.result() for doing in waiting] == [None] * 3
    assert any(frame.command == Command.ECHO for frame in relay.seen[-20:])
    storage.close()


def test_a_line_that_trickles_is_waited_for(relay: Relay, relayed: SmbFileSystem) -> None:
    """Every answer takes longer than the patience with one silence, but bytes keep coming."""
    storage = relayed.create("file")
    data = bytes(range(256)) * 4096
    pwrite(storage, 0, data)
    relay.trickle = 128 << 10
    doing = Doing(lambda: pread(storage, 0, len(data)))
    assert doing.result() is None
    storage.close()


# --- a server whose answers go astray --------------------------------------------------------------------------------


def test_answers_that_never_come(relay: Relay, relayed: SmbFileSystem) -> None:
    storage = relayed.create("file")
    relay.rule = lambda frame: Verdict.PASS if frame.from_client else Verdict.SWALLOW
    Doing(storage.flush).assert_lost("file")
    relay.rule = lambda frame: Verdict.PASS
    usable(relayed)


def test_requests_that_never_arrive(relay: Relay, relayed: SmbFileSystem) -> None:
    storage = relayed.create("file")
    relay.rule = lambda frame: Verdict.SWALLOW if frame.from_client else Verdict.PASS
    Doing(lambda: pwrite(storage, 0, bytes(4 * MIB))).assert_lost("file")
    relay.rule = lambda frame: Verdict.PASS
    usable(relayed)


@pytest.mark.parametrize("command", [Command.READ, Command.WRITE, Command.CREATE, Command.QUERY_INFO])
def test_a_connection_that_ends_in_the_middle_of_an_answer(
    relay: Relay, relayed: SmbFileSystem, command: Command
) -> None:
    storage = relayed.create("file")
    pwrite(storage, 0, bytes(3 * MIB))
    relay.rule = lambda frame: Verdict.CUT if frame.command == command and not frame.from_client else Verdict.PASS

    def use() -> None:
        pwrite(storage, 0, bytes(3 * MIB))
        pread(storage, 0, 3 * MIB)
        relayed.stat("file")

    Doing(use).assert_lost("file")
    relay.rule = lambda frame: Verdict.PASS
    usable(relayed)


@pytest.mark.parametrize("status", LOST, ids=["expired", "deleted"])
def test_a_session_that_has_ended(relay: Relay, relayed: SmbFileSystem, status: int) -> None:
    storage = relayed.create("file")
    relay.rule = lambda frame: (
        frame.answered(status) if frame.command == Command.READ and not frame.from_client else Verdict.PASS
    )
    pwrite(storage, 0, b"content")
    with pytest.raises(ConnectionError, match="session"):
        pread(storage, 0, 7)
    stays_lost(storage)
    relay.rule = lambda frame: Verdict.PASS
    usable(relayed)


def test_a_share_that_the_server_closes(own_smbd: Smbd, files: SmbFileSystem) -> None:
    storage = files.create("file")
    pwrite(storage, 0, b"content")
    own_smbd.close_share(files.name.rpartition("/")[2])
    deadline = time.monotonic() + BOUND
    with pytest.raises(ConnectionError, match="file"):
        while time.monotonic() < deadline:
            pwrite(storage, 0, b"content")  # without a change a flush sends nothing
            storage.flush()
    stays_lost(storage)
    usable(files)
    storage.close()


def test_nobody_takes_for_durable_what_another_is_still_flushing(relay: Relay, relayed: SmbFileSystem) -> None:
    storage = relayed.create("file")
    pwrite(storage, 0, b"content")
    relay.rule = lambda frame: (
        Verdict.HOLD if frame.command == Command.FLUSH and not frame.from_client else Verdict.PASS
    )
    begun = threading.Event()
    first = Doing(storage.flush)
    while not any(frame.command == Command.FLUSH for frame in relay.seen):
        time.sleep(0.005)
    second = Doing(lambda: (begun.set(), storage.flush()))
    begun.wait()
    time.sleep(0.05)  # time in which it might return
    for end in relay._ends:
        end.hang_up()
    first.assert_lost("file")
    second.assert_lost("file")
    relay.rule = lambda frame: Verdict.PASS
    storage.close()


def test_a_share_that_is_withdrawn_says_nothing_about_its_files(
    own_smbd: Smbd, files: SmbFileSystem, pool: SmbPool, share_directory: Path
) -> None:
    """It may come back; only who names it for the first time hears that there is no such share."""
    storage = files.create("file")
    pwrite(storage, 0, b"content")
    storage.close()
    share = files.name.rpartition("/")[2]
    own_smbd.withdraw_share(share)
    own_smbd.kill()
    own_smbd.restart()
    operations: list[Callable[[], object]] = [
        lambda: files.stat("file"),
        lambda: files.open("file", Access.READ),
        lambda: files.list(""),
        lambda: files.exists("file"),
        lambda: files.remove("file"),
    ]
    with pytest.raises(ConnectionError):
        files.stat("file")
    for operation in operations:
        with pytest.raises(ConnectionError, match="the share does not exist"):
            operation()
    account = Credentials(own_smbd.user, own_smbd.password)
    with pytest.raises(FileNotFoundError, match="the share does not exist"):
        pool.share(own_smbd.host, share, port=own_smbd.port, credentials=account, settings=QUICK)
    own_smbd.add_share(share, share_directory)
    assert patiently(lambda: files.stat("file")).size == 7


# --- an attacker -----------------------------------------------------------------------------------------------------

FORGERIES: dict[str, Callable[[Frame], bytes]] = {
    "unsigned": lambda frame: frame.answered(0, frame.data[64:]),
    "changed": lambda frame: frame.data[:-1] + bytes([frame.data[-1] ^ 1]),
    "refused": lambda frame: frame.answered(0xC0000022),
    "short": lambda frame: frame.data[:70],
    "nothing": lambda frame: frame.data[:10],
    "number": lambda frame: frame.data[:24] + bytes([255]) * 7 + frame.data[31:],
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("command", [Command.READ, Command.CREATE])
def test_answers_that_the_server_did_not_make(
    relay: Relay, relayed: SmbFileSystem, command: Command, forgery: str
) -> None:
    storage = relayed.create("file")
    pwrite(storage, 0, b"content")
    relay.rule = lambda frame: (
        FORGERIES[forgery](frame) if frame.command == command and not frame.from_client else Verdict.PASS
    )
    with pytest.raises(ConnectionError):
        if command == Command.READ:
            pread(storage, 0, 7)
        else:
            relayed.open("file", Access.INSPECT)
    relay.rule = lambda frame: Verdict.PASS
    usable(relayed)


def test_encrypted_answers_that_were_changed(smbd: Smbd, relay: Relay, pool: SmbPool, share_directory: Path) -> None:
    with SmbPool() as other:
        name = connect(smbd, other, share_directory).name.rpartition("/")[2]
    account = Credentials(smbd.user, smbd.password)
    settings = SmbSettings(encrypt=True, timeout=TIMEOUT)
    files = pool.share("127.0.0.1", name, port=relay.port, credentials=account, settings=settings)
    for forge in (
        lambda frame: frame.data[:-1] + bytes([frame.data[-1] ^ 1]),
        lambda frame: frame.data[:44] + bytes(8) + frame.data[52:],
        lambda frame: b"\xfeSMB" + frame.data[4:],
        lambda frame: frame.data[:60],
    ):
        storage = files.create("file")
        relay.rule = lambda frame, forge=forge: Verdict.PASS if frame.from_client else forge(frame)  # type: ignore[misc]
        with pytest.raises(ConnectionError):
            pwrite(storage, 0, b"content")
        relay.rule = lambda frame: Verdict.PASS
        files.remove("file")


# --- giving back -----------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_closed_pool(own_smbd: Smbd, share_directory: Path) -> None:
    before = threads(), descriptors()
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory, settings=QUICK)
        storage = files.create("file")
        pwrite(storage, 0, bytes(MIB))
        assert threads() - before[0]
    assert (threads(), descriptors()) == before
    stays_lost(storage)
    storage.close()
    with pytest.raises(ConnectionError, match="closed"):
        files.list("")
    pool.close()
    assert (threads(), descriptors()) == before


def test_a_pool_whose_server_is_frozen_can_be_closed(own_smbd: Smbd, share_directory: Path) -> None:
    before = threads(), descriptors()
    with SmbPool() as pool:
        files = connect(own_smbd, pool, share_directory, settings=QUICK)
        storage = files.create("file")
        own_smbd.freeze()
        assert Doing(pool.close).result() is None
        assert Doing(storage.close).result() is None
    assert (threads(), descriptors()) == before


def test_a_file_whose_opening_fails_is_not_held(
    own_smbd: Smbd, files: SmbFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vhdx.storage.smb import files as module

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "SmbStorage", fail)
        files.create("file")
    files.open("file", Access.WRITE).close()


def test_a_file_whose_opening_is_interrupted_is_not_held(relay: Relay, relayed: SmbFileSystem) -> None:
    """The server has opened it, and nobody here got to know of it."""
    relayed.create("file").close()
    relay.seen.clear()
    relay.rule = lambda frame: (
        Verdict.HOLD if frame.command == Command.CREATE and not frame.from_client else Verdict.PASS
    )

    def interrupt() -> None:
        while not any(frame.command == Command.CREATE and not frame.from_client for frame in relay.seen):
            time.sleep(0.005)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)  # time in which it might let go of the answer
        relay.rule = lambda frame: Verdict.PASS
        relay.release()

    with pytest.raises(KeyboardInterrupt):
        interrupting = Doing(interrupt)
        relayed.open("file", Access.WRITE)
    assert interrupting.result() is None
    relayed.open("file", Access.WRITE).close()


CHANGES: dict[str, tuple[Command, Callable[[Storage], None]]] = {
    "write": (Command.WRITE, lambda storage: storage.write([(0, b"x" * 4096)])),
    "writes": (Command.WRITE, lambda storage: storage.write([(at * MIB, bytes(MIB)) for at in range(4)])),
    "zero": (Command.IOCTL, lambda storage: storage.zero([(0, MIB)])),
    "truncate": (Command.SET_INFO, lambda storage: storage.truncate(MIB)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_is_interrupted_is_over_when_that_is_told(
    relay: Relay, relayed: SmbFileSystem, what: str
) -> None:
    """Else it could take effect over what is written there afterwards."""
    command, change = CHANGES[what]
    storage = relayed.create("file")
    assert isinstance(storage, SmbStorage)
    storage.truncate(4 * MIB)
    relay.seen.clear()
    relay.rule = lambda frame: Verdict.HOLD if frame.command == command and frame.from_client else Verdict.PASS
    released = []

    def interrupt() -> None:
        while not any(frame.command == command for frame in relay.seen):
            time.sleep(0.005)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)  # time in which it might not wait for the answer
        released.append(True)
        relay.rule = lambda frame: Verdict.PASS
        relay.release()

    with pytest.raises(KeyboardInterrupt):
        interrupting = Doing(interrupt)
        try:
            change(storage)
        finally:
            waited = bool(released)
    assert interrupting.result() is None
    # One that is interrupted while it sends has lost the connection: nothing is written over that afterwards.
    assert waited or not storage.handle.connection.alive
    storage.close()


def test_connections_come_and_go_without_a_trace(own_smbd: Smbd, files: SmbFileSystem) -> None:
    before = descriptors()
    for _ in itertools.repeat(None, 3):
        own_smbd.kill()
        with pytest.raises(ConnectionError):
            files.list("")
        own_smbd.restart()
        usable(files)
    assert descriptors() == before
