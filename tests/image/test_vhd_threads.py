"""Readers beside a writer of one VHD: every sector they see is one that was written there, or zeros."""

import random
import threading

import pytest

from tests.image.vhd_forge import SECTOR, VhdDisk
from tests.support.memory import MemoryFileSystem

BLOCK = 64 << 10
BLOCKS = 24


def content(offset: int, length: int, version: int) -> bytes:
    """Each sector says where it belongs."""
    sectors = range(offset // SECTOR, (offset + length) // SECTOR)
    return b"".join((number << 16 | version).to_bytes(8, "big") * (SECTOR // 8) for number in sectors)


def misplaced(data: bytes, offset: int) -> list[int]:
    """Sectors that hold what was written to another one, or to two versions of one at once."""
    wrong = []
    for at in range(0, len(data), SECTOR):
        sector = data[at : at + SECTOR]
        whole = sector == sector[:8] * (SECTOR // 8)
        number = int.from_bytes(sector[:8], "big") >> 16
        if not whole or (any(sector) and number != (offset + at) // SECTOR):
            wrong.append(offset + at)
    return wrong


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_readers_beside_a_writer(kind: str) -> None:
    disk = VhdDisk.create(MemoryFileSystem(), BLOCKS * BLOCK, block_size=BLOCK)
    disk.write(0, content(0, BLOCKS * BLOCK, 1))
    if kind == "differencing":
        disk.snapshot()
    chain, done = disk.open, threading.Event()
    found: list[object] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not done.is_set() and not found:
                offset = chance.randrange(BLOCKS * BLOCK // SECTOR - 200) * SECTOR
                found.extend(misplaced(chain.read(offset, 200 * SECTOR), offset))
        except Exception as error:  # noqa: BLE001  told in the main thread
            found.append(error)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    chance = random.Random(9)
    for version in range(2, 150):
        block = chance.randrange(BLOCKS)
        match chance.choice(["write", "write", "discard", "flush", "pack"]):
            case "write":
                chain.write(block * BLOCK, content(block * BLOCK, BLOCK // 2, version))
            case "discard":
                chain.discard(block * BLOCK, min(3, BLOCKS - block) * BLOCK)
            case "flush":
                chain.flush()
            case "pack":
                chain.leaf.pack(lambda done, total: None)
    done.set()
    for reader in readers:
        reader.join()
    assert not found
    chain.close()
