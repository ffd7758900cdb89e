"""Whatever a network or server sends or withholds: the right answer or one clear error, in time, and nothing left.

The limits of time are far above what is documented: they tell an end from none.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.conftest import connect
from tests.support.choice import few
from tests.support.hostile import (
    ATTACKS,
    LIES,
    NEGOTIATE,
    SESSION_SETUP,
    TREE_CONNECT,
    Attack,
    Siege,
    Target,
    anything,
    even_echoes,
    first_token,
    last_token,
    negotiation,
    share,
)
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from vhdx.errors import UnsupportedFeature
from vhdx.storage.base import Access
from vhdx.storage.dialect import Dialect
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.messages import Command
from vhdx.storage.smb.storage import SmbStorage
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb
T = TypeVar("T")

SHORT = 0.5  # seconds
BOUND = 4 * 4 * SHORT + 60
"""Seconds: four times what a log-on may take, and room for a machine that has other things to do."""
PATIENCE = 60
"""Seconds for what has to work at last, with as little patience as the settings here have."""

CONTENT = bytes(range(256)) * 160
CHANGED = CONTENT[::-1]
NAMES = [f"file{number}" for number in range(3)]
LOST = (ConnectionError,)
NOT_LET_IN = (ConnectionError, PermissionError, UnsupportedFeature)


def short(maximum: Dialect = Dialect.SMB_3_1_1, *, encrypt: bool = False) -> SmbSettings:
    """Little patience, and little in a request, so that many are in flight."""
    return SmbSettings(
        encrypt=encrypt,
        timeout=SHORT,
        request_timeout=2 * SHORT,
        long_timeout=2 * SHORT,
        connect_timeout=SHORT,
        request_size=4096,
        maximum=maximum,
    )


MODES = {
    "3.1.1": short(),
    "3.0.2": short(Dialect.SMB_3_0_2),
    "encrypted": short(encrypt=True),
}


@dataclass
class Scene:
    """A directory of a share behind a relay, and a file that is open in it."""

    files: SmbFileSystem
    storage: SmbStorage
    directory: str
    local: Path  # where that directory is
    siege: Siege


Moment = Callable[[Scene], None]


def reading(scene: Scene) -> None:
    scene.siege.aim(anything, Command.READ)
    assert pread(scene.storage, 0, len(CONTENT)) == CONTENT


def writing(scene: Scene) -> None:
    scene.siege.aim(anything, Command.WRITE)
    pwrite(scene.storage, 0, CHANGED)
    assert (scene.local / "file0").read_bytes() == CHANGED


def flushing(scene: Scene) -> None:
    scene.siege.aim(anything, Command.FLUSH)
    scene.storage.flush()


def listing(scene: Scene) -> None:
    scene.siege.aim(anything, Command.QUERY_DIRECTORY)
    assert scene.files.list(scene.directory) == NAMES


def opening(scene: Scene) -> None:
    scene.siege.aim(anything, Command.CREATE)
    storage = scene.files.open(f"{scene.directory}/file1", Access.READ)
    assert storage.size() == 1
    storage.close()


def looking(scene: Scene) -> None:
    scene.siege.aim(anything, Command.CREATE)
    assert scene.files.stat(f"{scene.directory}/file1").size == 1


def closing(scene: Scene) -> None:
    scene.siege.aim(anything, Command.CLOSE)
    scene.storage.close()


def resizing(scene: Scene) -> None:
    scene.siege.aim(anything, Command.SET_INFO)
    scene.storage.truncate(5)
    assert (scene.local / "file0").stat().st_size == 5


def idling(scene: Scene) -> None:
    """Attacked is only what keeps the connection alive."""
    scene.siege.aim(even_echoes, Command.ECHO)
    time.sleep(1.5 * SHORT)
    pread(scene.storage, 0, 10)


MOMENTS: dict[str, Moment] = {
    moment.__name__: moment
    for moment in (reading, writing, flushing, listing, opening, looking, closing, resizing, idling)
}

ADMISSIONS: dict[str, tuple[Target, int]] = {
    "negotiation": (negotiation, NEGOTIATE),
    "first token": (first_token, SESSION_SETUP),
    "last token": (last_token, SESSION_SETUP),
    "share": (share, TREE_CONNECT),
}


@dataclass(frozen=True)
class Place:
    """A share, and a directory of it for each test and moment."""

    server: Smbd
    share: str
    local: Path
    numbers: Iterator[int]

    def reach(self, pool: SmbPool, port: int, settings: SmbSettings) -> SmbFileSystem:
        account = Credentials(self.server.user, self.server.password)
        return pool.share("127.0.0.1", self.share, port=port, credentials=account, settings=settings)

    def fill(self) -> str:
        """A directory with files in it."""
        name = str(next(self.numbers))
        directory = self.local / name
        directory.mkdir()
        for file in NAMES:
            (directory / file).write_bytes(b"x")
        (directory / NAMES[0]).write_bytes(CONTENT)
        return name


@pytest.fixture(scope="module")
def place(smbd: Smbd, tmp_path_factory: pytest.TempPathFactory) -> Place:
    local = tmp_path_factory.mktemp("hostile")
    with SmbPool() as pool:
        files = connect(smbd, pool, local)
    return Place(smbd, files.name.rpartition("/")[2], local, itertools.count())


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def survive(names: list[str], attack: Callable[[str], None]) -> None:
    """Run an attack in each of its places at once; each has to end in time, and to leave nothing."""
    before = threads(), descriptors()
    executor = ThreadPoolExecutor(len(names))
    try:
        running = {name: executor.submit(attack, name) for name in names}
        failures = {name: running[name].exception(BOUND) for name in names}
    finally:
        executor.shutdown(wait=False)
    assert {name: repr(failure) for name, failure in failures.items() if failure} == {}
    executor.shutdown()
    assert threads() == before[0]
    assert descriptors() == before[1]


def outcome(work: Callable[[], object], allowed: tuple[type[BaseException], ...]) -> None:
    """Do it, and accept one clear error of the kinds that are allowed here."""
    try:
        work()
    except allowed as error:
        assert str(error)
        assert "\n" not in str(error)


def besiege(place: Place, settings: SmbSettings, attack: Attack, moment: Moment) -> None:
    """Attack a connection that works, which afterwards is made anew."""
    directory = place.fill()
    with Relay(place.server.port) as relay, SmbPool() as pool:

        def begin() -> tuple[SmbFileSystem, SmbStorage]:
            files = place.reach(pool, relay.port, settings)
            storage = files.open(f"{directory}/file0", Access.OWN)
            pread(storage, 0, 10)
            return files, storage

        files, storage = at_last(begin)
        siege = Siege(relay, attack)
        scene = Scene(files, storage, directory, place.local / directory, siege)
        outcome(lambda: moment(scene), LOST)
        outcome(storage.close, LOST)
        siege.end()
        at_last(lambda: see(files, directory))


def at_last(work: Callable[[], T]) -> T:
    """Do what may fail for a while, since nobody here waits for long."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise


def see(files: SmbFileSystem, directory: str) -> None:
    assert files.list(directory) == NAMES


def all_pairs(table: dict[str, Attack]) -> list[tuple[str, str]]:
    return [(name, mode) for name in table for mode in MODES]


@pytest.mark.parametrize(("name", "mode"), few(all_pairs(ATTACKS), 16))
def test_a_connection_under_attack(place: Place, name: str, mode: str) -> None:
    survive(list(MOMENTS), lambda moment: besiege(place, MODES[mode], ATTACKS[name], MOMENTS[moment]))


@pytest.mark.parametrize(("name", "mode"), few(all_pairs(ATTACKS), 10))
def test_a_log_on_under_attack(place: Place, name: str, mode: str) -> None:
    """What nobody has signed says nothing about shares and files, at the first log-on or when a connection was lost."""
    directory, settings = place.fill(), MODES[mode]

    def first(moment: str) -> None:
        with Relay(place.server.port) as relay, SmbPool() as pool:
            Siege(relay, ATTACKS[name]).aim(*ADMISSIONS[moment])
            outcome(lambda: see(place.reach(pool, relay.port, settings), directory), NOT_LET_IN)

    def again(moment: str) -> None:
        with Relay(place.server.port) as relay, SmbPool() as pool:
            files = at_last(lambda: place.reach(pool, relay.port, settings))
            at_last(files._connect)._channel.abandon()
            siege = Siege(relay, ATTACKS[name]).aim(*ADMISSIONS[moment])
            outcome(lambda: files.stat(f"{directory}/file1"), NOT_LET_IN)
            siege.end()
            at_last(lambda: see(files, directory))

    ways = {"first": first, "again": again}
    cases = {f"{way}, {moment}": (ways[way], moment) for way in ways for moment in ADMISSIONS}
    survive(list(cases), lambda case: cases[case][0](cases[case][1]))


@pytest.mark.parametrize(("name", "mode"), few(all_pairs(LIES), 10))
def test_a_server_that_lies_before_it_signs(place: Place, name: str, mode: str) -> None:
    directory = place.fill()

    def attack(_: str) -> None:
        with Relay(place.server.port) as relay, SmbPool() as pool:
            Siege(relay, LIES[name]).aim(anything, NEGOTIATE)
            outcome(lambda: see(place.reach(pool, relay.port, MODES[mode]), directory), NOT_LET_IN)

    survive(["log-on"], attack)


@pytest.mark.parametrize("size", ["MaxReadSize", "MaxWriteSize", "MaxTransactSize"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_server_that_takes_next_to_nothing_is_refused(place: Place, size: str, value: int) -> None:
    with Relay(place.server.port) as relay, SmbPool() as pool:
        Siege(relay, LIES[f"{size} of {value}"]).aim(anything, NEGOTIATE)
        with pytest.raises(ConnectionError, match=rf"{size} is {value} bytes, and at least \d+ are needed"):
            place.reach(pool, relay.port, SmbSettings())


def test_threads_that_wait_for_a_dead_server_fail_together(place: Place) -> None:
    """Not one after the other, each after a time of its own."""
    with Relay(place.server.port) as relay, SmbPool() as pool:
        asked = threading.Semaphore(0)

        def swallow(frame: Frame) -> Verdict:
            asked.release()
            return Verdict.SWALLOW

        relay.rule = swallow
        settings = SmbSettings(connect_timeout=2)
        with ThreadPoolExecutor(10) as executor:
            running = [executor.submit(place.reach, pool, relay.port, settings)]
            asked.acquire()
            running += [executor.submit(place.reach, pool, relay.port, settings) for _ in range(9)]
            errors = [future.exception(BOUND) for future in running]
        assert {type(error) for error in errors} == {ConnectionError}
        assert relay.connections <= 2  # who came too late to wait tries again
