"""Small images kept in the repository read as they did when they were made; see fixtures/README.md."""

import gzip
import hashlib
from pathlib import Path

import pytest

from tests.image.forge import Forge, disk
from tests.support.memory import MemoryFileSystem
from vhdx.image.base import LogState

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
# SHA-256 of what the guest sees.
CONTENTS = {
    "qemu-dynamic": "0ae6ff2e940c5a989c31e15e0676de41bbe1703c8ae096d83a9e220129df877d",
    "qemu-fixed": "0ae6ff2e940c5a989c31e15e0676de41bbe1703c8ae096d83a9e220129df877d",
    "base": "b4ef34f58f76559db20c9b1abb44ecde2524167f9d30b77619306effc2253d5d",
    "middle": "d65ce80bec3602950b0e8a5e3cf73155fe6d1d09691a0cbb84775f6bf1f78692",
    "leaf-with-log": "99b6ac53cb3ad51e636244843055e626160367c6d86bcf32261be908e8ab29b8",
}


@pytest.fixture
def files() -> MemoryFileSystem:
    """All fixtures, unpacked."""
    unpacked = MemoryFileSystem()
    for packed in sorted(FIXTURES.glob("*.vhdx.gz")):
        storage = unpacked.create(packed.stem)
        storage.write([(0, gzip.decompress(packed.read_bytes()))])
        storage.close()
    return unpacked


def content_hash(files: MemoryFileSystem, name: str) -> str:
    with disk(files, f"{name}.vhdx") as chain:
        return hashlib.sha256(chain.read(0, chain.size)).hexdigest()


@pytest.mark.parametrize("name", CONTENTS)
def test_a_fixture_reads_as_ever(files: MemoryFileSystem, name: str) -> None:
    made = Forge(files, f"{name}.vhdx")
    before = made.everything
    assert content_hash(files, name) == CONTENTS[name]
    assert made.everything == before


@pytest.mark.parametrize("name", CONTENTS)
def test_a_fixture_may_be_written_on(files: MemoryFileSystem, name: str) -> None:
    with disk(files, f"{name}.vhdx") as chain:
        expected = bytearray(chain.read(0, chain.size))
        assert chain.leaf.info.log is (LogState.DIRTY if name == "leaf-with-log" else LogState.CLEAN)
    with disk(files, f"{name}.vhdx", writable=1) as chain:
        assert chain.read(0, chain.size) == expected
        chain.write(3_000_000, b"new" * 1000)
        expected[3_000_000:3_003_000] = b"new" * 1000
    with disk(files, f"{name}.vhdx") as chain:
        assert chain.leaf.info.log is LogState.CLEAN
        assert chain.read(0, chain.size) == expected
