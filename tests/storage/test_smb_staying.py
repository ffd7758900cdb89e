"""A directory that a connection keeps open, when the connection is lost while several threads use it."""

import gc
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.storage.test_smb_loss import (  # noqa: F401  fixtures
    BOUND,
    Doing,
    files,
    pool,
    relay,
    relayed,
)
from tests.support.relay import Frame, Relay, Verdict
from vhdx.storage.building import building
from vhdx.storage.smb import SmbFileSystem, SmbPool
from vhdx.storage.smb.connection import SmbConnection
from vhdx.storage.smb.messages import Command
from vhdx.storage.transfer import pwrite

pytestmark = pytest.mark.smb


def await_that(wanted: object) -> None:
    deadline = time.monotonic() + BOUND
    while not wanted():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def holding(command: Command, relay: Relay) -> None:  # noqa: F811
    """Let no answer to *command* through."""
    relay.rule = lambda frame: Verdict.HOLD if frame.command == command and not frame.from_client else Verdict.PASS


def asked(relay: Relay, command: Command) -> int:  # noqa: F811
    return sum(frame.from_client and frame.command == command for frame in relay.seen)


@contextmanager
def lost_and_nobody_told(relay: Relay, connection: SmbConnection) -> Iterator[None]:  # noqa: F811
    """Inside the connection is known to be lost, and who waits for an answer over it is not told yet."""
    with connection._channel._sending:
        relay.rule = lambda frame: Verdict.PASS
        for end in relay._ends:
            end.hang_up()
        await_that(lambda: not connection.alive)
        yield


def only(pool: SmbPool) -> SmbConnection:  # noqa: F811
    (connection,) = pool._connections.values()
    return connection


def test_one_lists_while_another_makes_the_connection_anew(
    relay: Relay, relayed: SmbFileSystem, pool: SmbPool  # noqa: F811
) -> None:
    """Neither waits for the other."""
    with relayed.staying("") as here:
        assert here.list("") == []
        before = asked(relay, Command.QUERY_DIRECTORY)
        holding(Command.QUERY_DIRECTORY, relay)
        listing = Doing(lambda: here.list(""))
        await_that(lambda: asked(relay, Command.QUERY_DIRECTORY) > before)
        with lost_and_nobody_told(relay, only(pool)):
            other = Doing(relayed.space)
            await_that(lambda: any(making.lock.locked() for making in pool._making.values()))
        assert [listing.result(), other.result()] == [None, None]


def test_one_flushes_while_another_finds_the_directory_lost(
    relay: Relay, relayed: SmbFileSystem, pool: SmbPool  # noqa: F811
) -> None:
    """What another thread has closed is lost, which is no fault of the request."""
    with relayed.staying("") as here:
        assert here.list("") == []
        holding(Command.FLUSH, relay)
        syncing = Doing(lambda: here.sync_directory(""))
        await_that(lambda: asked(relay, Command.FLUSH) > 0)
        with lost_and_nobody_told(relay, only(pool)):
            listing = Doing(lambda: here.list(""))
            await_that(lambda: any(making.lock.locked() for making in pool._making.values()))
        assert [syncing.result(), listing.result()] == [None, None]


@pytest.mark.parametrize("command", [Command.QUERY_DIRECTORY, Command.FLUSH, Command.QUERY_INFO])
def test_nothing_is_left_open_of_what_was_opened_again(
    relay: Relay, relayed: SmbFileSystem, command: Command  # noqa: F811
) -> None:
    """However the loss was found out, one handle is kept, that of the new connection."""

    def cut(frame: Frame) -> Verdict:
        if frame.command != command or frame.from_client:
            return Verdict.PASS
        relay.rule = lambda frame: Verdict.PASS
        return Verdict.CUT

    with warnings.catch_warnings(record=True) as dropped, relayed.staying("") as here:
        warnings.simplefilter("always", ResourceWarning)
        here.list("")
        relay.rule = cut
        before = len(relay.seen)
        for _ in range(2):
            here.list("")
            here.sync_directory("")
            here.space()
        assert relay.connections == 2
        sent = Counter(frame.command for frame in relay.seen[before:] if frame.from_client)
        assert sent[Command.CREATE] - sent[Command.CLOSE] == 1
        gc.collect()
    assert not [str(warning.message) for warning in dropped]


@pytest.mark.parametrize("stays", [True, False])
def test_a_name_that_a_server_lost_before_it_was_durable_is_not_told_of_as_made(
    relay: Relay, relayed: SmbFileSystem, share_directory: Path, stays: bool  # noqa: F811
) -> None:
    """It crashes after the rename and is there again at once: another flush of the directory says nothing of that."""

    def crash(frame: Frame) -> Verdict:
        if not frame.from_client or not (share_directory / "file").exists():
            return Verdict.PASS
        (share_directory / "file").unlink()
        relay.rule = lambda frame: Verdict.PASS
        return Verdict.CUT

    with relayed.staying("") if stays else nullcontext(relayed) as here:
        here.list("")
        relay.rule = crash
        with pytest.raises(ConnectionError), building(here, "file", token="00000000") as storage:
            pwrite(storage, 0, b"content")
            storage.flush()
        assert relayed.list("") == []
        with building(here, "file", token="00000001") as storage:
            storage.flush()
        assert relayed.list("") == ["file"]
