"""A flush over the wire is for what was changed: every change asks for one, and nothing else does."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.storage.test_smb_traffic import behind
from tests.support.relay import Frame, Relay, Verdict, everything
from tests.support.smbd import Smbd
from vhdx.storage.base import Access, Move, Storage
from vhdx.storage.smb import SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.messages import Command
from vhdx.storage.transfer import pwrite

pytestmark = pytest.mark.smb

CHANGES: dict[str, Callable[[Storage], None]] = {
    "write": lambda storage: pwrite(storage, 0, b"x"),
    "copy": lambda storage: storage.copy(storage, [Move(0, 8192, 4096)]),
    "zero": lambda storage: storage.zero([(0, 4096)]),
    "truncate": lambda storage: storage.truncate(5000),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("access", [Access.WRITE, Access.OWN])
def test_every_change_is_flushed_and_nothing_twice(
    smbd: Smbd, smb_files: SmbFileSystem, change: str, access: Access, tmp_path: Path
) -> None:
    made = smb_files.create("file")
    pwrite(made, 0, bytes(4 * 4096))
    made.close()
    with Relay(smbd.port) as relay, SmbPool() as pool:
        files = behind(relay, smbd, pool, smb_files.name.rpartition("/")[2], SmbSettings())
        storage = files.open("file", access)

        def flushes() -> int:
            before = len(relay.seen)
            storage.flush()
            return sum(frame.from_client and frame.command == Command.FLUSH for frame in relay.seen[before:])

        # What somebody else wrote and did not flush counts as well.
        assert flushes() == 1
        assert flushes() == 0
        CHANGES[change](storage)
        assert flushes() == 1
        assert flushes() == 0
        storage.close()


def test_a_flush_that_finds_another_under_way_waits_for_it(
    smbd: Smbd, smb_files: SmbFileSystem, tmp_path: Path
) -> None:
    """What was written before is in the request that is on its way, and durable when that is answered."""
    with Relay(smbd.port) as relay, SmbPool() as pool, ThreadPoolExecutor(2) as threads:
        files = behind(relay, smbd, pool, smb_files.name.rpartition("/")[2], SmbSettings())
        storage = files.create("file")
        pwrite(storage, 0, b"x")
        asked = threading.Event()

        def hold(frame: Frame) -> Verdict:
            if not frame.from_client and frame.command == Command.FLUSH:
                asked.set()
                return Verdict.HOLD
            return Verdict.PASS

        relay.rule = hold
        first = threads.submit(storage.flush)
        assert asked.wait(120)
        second = threads.submit(storage.flush)
        early, _ = wait([second], timeout=1)
        relay.rule = everything
        relay.release()
        assert not early
        first.result(120)
        second.result(120)
        storage.close()
