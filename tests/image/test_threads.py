"""Many threads on one disk: readers never see another block's bytes, writers do not lose each other's."""

import random
import threading
from pathlib import Path

import pytest

from tests.support.disks import MIB, counting_ids
from vhdx.chain.chain import Chain
from vhdx.image.base import CreateOptions
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

BLOCKS = 12
SECTOR = 512


def stamp(block: int, turn: int) -> bytes:
    return (block << 32 | turn).to_bytes(8, "little") * (SECTOR // 8)


def run_all(workers: list[threading.Thread], failures: list[BaseException]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert not failures, failures[0]


@pytest.fixture
def engine() -> NativeEngine:
    return NativeEngine(counting_ids())


def test_readers_see_only_their_own_block_while_space_changes_hands(tmp_path: Path, engine: NativeEngine) -> None:
    files = LocalFileSystem(tmp_path)
    engine.create(files, "a.vhdx", BLOCKS * MIB, CreateOptions(block_size=MIB))
    done = threading.Event()
    failures: list[BaseException] = []
    with engine.open_chain(files, "a.vhdx", writable=1) as chain:

        def write() -> None:
            chance = random.Random(1)
            try:
                for turn in range(1, 400):
                    block = chance.randrange(BLOCKS)
                    if chance.random() < 0.4:
                        chain.zero(block * MIB, MIB)
                    else:
                        chain.write(block * MIB, stamp(block, turn) * 8)
                    if chance.random() < 0.3:
                        chain.flush()
            except BaseException as error:  # noqa: BLE001  told by the thread that started this one
                failures.append(error)
            finally:
                done.set()

        def read(seed: int) -> None:
            chance = random.Random(seed)
            try:
                while not done.is_set():
                    block = chance.randrange(BLOCKS)
                    sector = chain.read(block * MIB + chance.randrange(8) * SECTOR, SECTOR)
                    owner = int.from_bytes(sector[4:8], "little")
                    assert sector == bytes(SECTOR) or owner == block, f"block {block} shows what belongs to {owner}"
            except BaseException as error:  # noqa: BLE001  told by the thread that started this one
                failures.append(error)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
        run_all([threading.Thread(target=write), *readers], failures)


def test_writers_of_neighbouring_bytes_do_not_lose_each_other(tmp_path: Path, engine: NativeEngine) -> None:
    files = LocalFileSystem(tmp_path)
    engine.create(files, "a.vhdx", 4 * MIB, CreateOptions(block_size=MIB))
    failures: list[BaseException] = []
    writers = 4

    def write(chain: Chain, number: int) -> None:
        try:
            for place in range(number, 2000, writers):
                # Not whole sectors, so that each write completes its sector from what is there.
                chain.write(place * 100, bytes([number + 1]) * 100)
                if place % 97 == 0:
                    chain.flush()
        except BaseException as error:  # noqa: BLE001  told by the thread that started this one
            failures.append(error)

    with engine.open_chain(files, "a.vhdx", writable=1) as chain:
        run_all([threading.Thread(target=write, args=(chain, number)) for number in range(writers)], failures)
    with engine.open_chain(files, "a.vhdx") as chain:
        assert chain.read(0, 200_000) == b"".join(bytes([place % writers + 1]) * 100 for place in range(2000))
