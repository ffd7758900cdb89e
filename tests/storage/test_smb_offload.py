"""Copies inside the server: how many requests, what crosses the wire, and what happens where the server cannot."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import connect
from tests.support.relay import Relay
from tests.support.smbd import Smbd
from vhdx.errors import FormatError
from vhdx.storage import transfer
from vhdx.storage.base import Access, Move, Unsupported
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, offload
from vhdx.storage.smb.learned import CopyLimits
from vhdx.storage.smb.messages import Command, Response
from vhdx.storage.smb.offload import smaller
from vhdx.storage.smb.status import NtStatus, Refused
from vhdx.storage.smb.storage import SmbStorage
from vhdx.storage.transfer import pread, pwrite

pytestmark = pytest.mark.smb

MIB = 1 << 20
COPYCHUNK = 0x001480F2


@pytest.fixture
def relay(smbd: Smbd) -> Iterator[Relay]:
    with Relay(smbd.port) as relay:
        yield relay


@pytest.fixture
def relayed(relay: Relay, smbd: Smbd, smb_files: SmbFileSystem) -> Iterator[SmbFileSystem]:
    """An empty share behind a relay."""
    with SmbPool() as pool:
        account = Credentials(smbd.user, smbd.password)
        yield pool.share("127.0.0.1", smb_files.name.rpartition("/")[2], port=relay.port, credentials=account)


def make(files: SmbFileSystem, name: str, length: int) -> SmbStorage:
    storage = files.create(name)
    pwrite(storage, 0, random.Random(name).randbytes(MIB) * (length // MIB) + bytes(length % MIB))
    return storage


def copies(relay: Relay) -> int:
    """How many requests to copy went by."""
    return sum(
        frame.from_client
        and frame.command == Command.IOCTL
        and int.from_bytes(frame.data[68:72], "little") == COPYCHUNK
        for frame in relay.seen
    )


def test_requests_are_as_full_as_the_server_takes(relay: Relay, relayed: SmbFileSystem) -> None:
    source, target = make(relayed, "source", 100 * MIB), relayed.create("target")
    target.copy(source, [Move(0, 0, 100 * MIB)])
    assert copies(relay) == 7
    assert pread(target, 0, 100 * MIB) == pread(source, 0, 100 * MIB)
    source.close()
    target.close()


def test_small_pieces_share_requests(relay: Relay, relayed: SmbFileSystem) -> None:
    source, target = make(relayed, "source", 8 * MIB), relayed.create("target")
    moves = [Move(number * 12288, (599 - number) * 4096, 4096) for number in range(600)]
    target.copy(source, moves)
    assert copies(relay) == 3
    for move in moves[::50]:
        assert pread(target, move.target_offset, 4096) == pread(source, move.source_offset, 4096)
    source.close()
    target.close()


def test_scattered_pieces_of_any_alignment(smb_files: SmbFileSystem) -> None:
    source, target = make(smb_files, "source", 20 * MIB), make(smb_files, "target", 24 * MIB)
    data, model = pread(source, 0, 20 * MIB), bytearray(pread(target, 0, 24 * MIB))
    choice, moves, place = random.Random(7), [], 3
    while place < 21 * MIB:
        length = choice.choice([0, 1, 511, 4097, 65_536, MIB + 1, 2 * MIB + 7])
        moves.append(Move(choice.randrange(20 * MIB - length), place, length))
        place += length + choice.randrange(100_000)
    choice.shuffle(moves)
    target.copy(source, moves)
    for start, to, length in moves:
        model[to : to + length] = data[start : start + length]
    assert pread(target, 0, target.size()) == model
    source.close()
    target.close()


def test_a_copy_leaves_the_payload_where_it_is(smb_pool: SmbPool, smb_files: SmbFileSystem) -> None:
    source, target = make(smb_files, "source", 64 * MIB), smb_files.create("target")
    before = smb_pool.wire()
    transfer.copy(source, target, [Move(0, 5, 64 * MIB)])
    after = smb_pool.wire()
    assert after.total - before.total < 64 << 10
    assert pread(target, 5, 64 * MIB) == pread(source, 0, 64 * MIB)
    source.close()
    target.close()


def test_between_shares_of_one_server(smbd: Smbd, smb_pool: SmbPool, smb_files: SmbFileSystem, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other_files = connect(smbd, smb_pool, tmp_path / "other")
    source, target = make(smb_files, "source", 8 * MIB), other_files.create("target")
    before = smb_pool.wire()
    transfer.copy(source, target, [Move(0, 0, 8 * MIB)])
    assert smb_pool.wire().total - before.total < 64 << 10
    assert pread(target, 0, 8 * MIB) == pread(source, 0, 8 * MIB)
    source.close()
    target.close()


def test_between_connections_it_goes_through_memory(smb_files: SmbFileSystem, relayed: SmbFileSystem) -> None:
    source, target = make(smb_files, "source", 8 * MIB), relayed.create("target")
    with pytest.raises(Unsupported):
        target.copy(source, [Move(0, 0, 8 * MIB)])
    transfer.copy(source, target, [Move(0, 0, 8 * MIB)])
    assert pread(target, 0, 8 * MIB) == pread(source, 0, 8 * MIB)
    source.close()
    target.close()


def test_where_the_server_cannot_it_goes_through_memory(relay: Relay, relayed: SmbFileSystem) -> None:
    source, target = make(relayed, "source", 8 * MIB), relayed.create("target")
    share = target.handle.tree.share
    target.handle.connection.learned.without_copy.add((share, share))
    with pytest.raises(Unsupported):
        target.copy(source, [Move(0, 0, 8 * MIB)])
    transfer.copy(source, target, [Move(0, 0, 8 * MIB)])
    assert copies(relay) == 0
    assert pread(target, 0, 8 * MIB) == pread(source, 0, 8 * MIB)
    source.close()
    target.close()


def test_smaller_limits_are_learnt_once(relay: Relay, relayed: SmbFileSystem) -> None:
    source, target = make(relayed, "source", 64 * MIB), relayed.create("target")
    learnt = target.handle.connection.learned
    learnt.limits = CopyLimits(chunks=1000, chunk_bytes=8 * MIB, total_bytes=32 * MIB)
    target.copy(source, [Move(0, 0, 64 * MIB)])
    assert learnt.limits == CopyLimits(256, MIB, 16 * MIB)
    assert pread(target, 0, 64 * MIB) == pread(source, 0, 64 * MIB)
    before = copies(relay)
    target.copy(source, [Move(0, 0, 64 * MIB)])
    assert copies(relay) == before + 4
    source.close()
    target.close()


def refusal(data: bytes) -> Refused:
    """A refused copy whose answer carries *data*."""
    body = struct.pack("<HHI16sIIIIII", 49, 0, COPYCHUNK, b"", 0, 0, 112 if data else 0, len(data), 0, 0) + data
    return Refused(NtStatus.INVALID_PARAMETER, Response(1, memoryview(body)))


def test_limits_of_a_refusal() -> None:
    told = struct.pack("<III", 16, 1 << 16, 1 << 18)
    assert smaller(CopyLimits(), refusal(told), "file") == CopyLimits(16, 1 << 16, 1 << 18)
    assert smaller(CopyLimits(8, 1 << 20, 1 << 24), refusal(told), "file") == CopyLimits(8, 1 << 16, 1 << 18)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        struct.pack("<III", 256, MIB, 16 * MIB),
        struct.pack("<III", 0, 0, 0),
        struct.pack("<III", 256, 1, 16 * MIB),
        struct.pack("<III", 256, MIB, 4096),
        b"short",
    ],
)
def test_refusals_that_teach_nothing(told: bytes) -> None:
    with pytest.raises(Unsupported, match="file"):
        smaller(CopyLimits(), refusal(told), "file")


def test_a_server_that_asks_for_less_and_less_is_not_followed_all_the_way(
    smb_files: SmbFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make(smb_files, "source", MIB), smb_files.create("target")
    tried = []

    def refuse(*arguments: object) -> CopyLimits:
        tried.append(arguments[-1])
        return CopyLimits(256 - len(tried))

    with monkeypatch.context() as patch, pytest.raises(Unsupported, match="again and again"):
        patch.setattr(offload, "_try", refuse)
        target.copy(source, [Move(0, 0, MIB)])
    assert len(tried) < 10
    source.close()
    target.close()


def test_a_source_that_ends_early(smb_files: SmbFileSystem, share_directory: Path) -> None:
    make(smb_files, "source", 2 * MIB).close()
    source, target = smb_files.open("source", Access.READ), smb_files.create("target")
    with pytest.raises(FormatError, match="source"):
        target.copy(source, [Move(MIB, 0, MIB + 1)])
    with (share_directory / "source").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(FormatError, match="source"):
        target.copy(source, [Move(MIB, 0, MIB)])
    source.close()
    target.close()


def test_a_copy_of_nothing(smb_files: SmbFileSystem) -> None:
    source, target = make(smb_files, "source", MIB), smb_files.create("target")
    target.copy(source, [])
    target.copy(source, [Move(0, 100, 0)])
    assert target.size() == 0
    source.close()
    target.close()
