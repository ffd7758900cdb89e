"""How many writes are on their way at once, and how few commits serve many who flush: counted, never timed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.image.test_overwrite_calls import BLOCK, SHAPES, Shape, every_shape, made
from tests.storage.test_smb_traffic import behind
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.interleaving import Interleaving
from tests.support.memory import MemoryFileSystem
from tests.support.relay import Frame, Relay, Verdict
from tests.support.smbd import Smbd
from vhdx.chain.chain import Chain
from vhdx.image.base import CreateOptions
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.smb import SmbFileSystem, SmbPool, SmbSettings
from vhdx.storage.smb.messages import Command
from vhdx.storage.watched import Operation, WatchedFileSystem
from vhdx.verbs.engine import NativeEngine

WRITERS, ENOUGH = 8, 7
PIECE = 64 << 10
PATIENCE = 120.0
"""Seconds for others to come as well; they take milliseconds."""


class Meeting:
    """Payload that waits until enough of it is on its way."""

    def __init__(self) -> None:
        self.is_on = False
        self.most = 0
        self._here = 0
        self._change = threading.Condition()

    def __call__(self, operation: Operation) -> None:
        if not self.is_on or operation.kind != "write" or operation.length != PIECE:
            return
        with self._change:
            self._here += 1
            self.most = max(self.most, self._here)
            self._change.notify_all()
            self._change.wait_for(lambda: self.most >= ENOUGH, PATIENCE)
            self._here -= 1


def write_side_by_side(chain: Chain, places: list[int]) -> None:
    with ThreadPoolExecutor(len(places)) as threads:
        for future in [threads.submit(chain.write, place, pattern(place, PIECE)) for place in places]:
            future.result(PATIENCE * 2)


def opened(shape: Shape, files: FileSystem, path: str) -> Chain:
    return NativeEngine(counting_ids(500)).open_chain(files, path, writable=1, format=shape.format)


@every_shape
@pytest.mark.parametrize("where", ["present", "new", "one new block"])
def test_writers_are_in_flight_together(shape: Shape, where: str, tmp_path: Path) -> None:
    files, meeting = LocalFileSystem(tmp_path), Meeting()
    options = CreateOptions(format=shape.format, fixed=shape.fixed, block_size=shape.options.block_size)
    engine = NativeEngine(counting_ids(1))
    path = "disk"
    engine.create(files, path, 32 * MIB, options)
    if shape.over_parent:
        path = "child"
        engine.create_child(files, path, "disk", parent_format=shape.format)
    with opened(shape, WatchedFileSystem(files, meeting), path) as chain:
        chain.write(15 * BLOCK, pattern(1, PIECE))  # what comes behind it was never used
        step = PIECE if where == "one new block" else BLOCK
        places = [number * step for number in range(WRITERS)]
        if where == "present":
            for place in places:
                chain.write(place, bytes([1]) * PIECE)
        meeting.is_on = True
        write_side_by_side(chain, places)
        meeting.is_on = False
        assert meeting.most >= ENOUGH
        for place in places:
            assert chain.read(place, PIECE) == pattern(place, PIECE)


@pytest.mark.parametrize("name", ["vhdx-dynamic", "vhd-dynamic", "raw"])
def test_writers_are_in_flight_together_on_a_share(name: str, smbd: Smbd, smb_files: SmbFileSystem) -> None:
    """The WRITE requests of all of them are with the server before it answers one."""
    shape = SHAPES[name]
    with Relay(smbd.port) as relay, SmbPool() as pool:
        files = behind(relay, smbd, pool, smb_files.name.rpartition("/")[2], SmbSettings())
        NativeEngine(counting_ids(1)).create(files, "disk", 32 * MIB, shape.options)
        with opened(shape, files, "disk") as chain:
            places = [number * BLOCK for number in range(WRITERS)]
            for place in places:
                chain.write(place, bytes([1]) * PIECE)
            met, count = threading.Event(), 0

            def hold(frame: Frame) -> Verdict:
                nonlocal count
                if frame.from_client and frame.command == Command.WRITE and not met.is_set():
                    count += 1
                    if count < ENOUGH:
                        return Verdict.HOLD
                    met.set()
                return Verdict.PASS

            relay.rule = hold
            with ThreadPoolExecutor(WRITERS) as threads:
                writes = [threads.submit(chain.write, place, pattern(place, PIECE)) for place in places]
                came = met.wait(PATIENCE)
                relay.release()
                for future in writes:
                    future.result(PATIENCE)
            assert came, f"only {count} came while none was answered"
            for place in places:
                assert chain.read(place, PIECE) == pattern(place, PIECE)


@every_shape
@pytest.mark.parametrize("seed", [1, 3, 5])
def test_few_commits_serve_many_who_flush(shape: Shape, seed: int) -> None:
    """A flush takes longer than a write, and whoever comes meanwhile shares the next one."""
    run, files, flushes = Interleaving(seed), MemoryFileSystem(), 0
    path = made(shape, files)
    rounds = 5

    def watch(operation: Operation) -> None:
        nonlocal flushes
        if operation.kind == "flush":
            flushes += 1
            for _ in range(100):
                run.pause()

    with run.locks():
        chain = opened(shape, WatchedFileSystem(files, watch), path)
    chain.write(0, bytes(4096))
    chain.flush()
    flushes = 0

    def work(number: int) -> Callable[[], None]:
        def write_and_flush() -> None:
            for turn in range(rounds):
                chain.write(number * 4096, pattern(turn, 4096))
                chain.flush()

        return write_and_flush

    run.run(*[work(number) for number in range(WRITERS)])
    # In a VHD the first commit writes the bits of a block that others believe, behind a flush of its own.
    assert flushes <= WRITERS * rounds // 2 + 1
    chain.close()
    with NativeEngine().open_chain(files, path, format=shape.format) as found:
        for number in range(WRITERS):
            assert found.read(number * 4096, 4096) == pattern(rounds - 1, 4096)
