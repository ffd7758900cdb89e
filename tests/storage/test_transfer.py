"""The fallbacks: the same bytes as the optional operations, in pieces and batches of bounded size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory import MemoryFileSystem, Pages
from tests.support.wrappers import Operation, Tally, WatchedFileSystem, watched
from vhdx.errors import FormatError
from vhdx.storage import transfer
from vhdx.storage.base import Access, Move
from vhdx.storage.transfer import pread

MIB = 1 << 20


def plain(content: bytes) -> MemoryFileSystem:
    """A file system that leaves every optional operation to the fallback."""
    return MemoryFileSystem({"file": Pages(content)}, optional=False)


@st.composite
def copies(draw: st.DrawFn) -> tuple[list[Move], int]:
    """Moves inside the first 500 bytes of a file to disjoint places in the next 1000, and a buffer size."""
    moves, target = [], 500
    for gap, start, length in draw(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400), st.integers(0, 100)), max_size=8)
    ):
        moves.append(Move(start, target + gap, length))
        target += gap + length
    return moves, draw(st.integers(1, 300))


@given(copies(), st.booleans())
def test_copy_moves_exactly_the_bytes_asked_for(case: tuple[list[Move], int], optional: bool) -> None:
    moves, buffer = case
    data = bytes(at % 251 for at in range(2000))
    storage = MemoryFileSystem({"file": Pages(data)}, optional=optional).open("file", Access.WRITE)
    transfer.copy(storage, storage, moves, buffer=buffer)
    expected = bytearray(data)
    for start, target, length in moves:
        expected[target : target + length] = data[start : start + length]
    assert pread(storage, 0, 2000) == expected


def test_copy_through_memory_goes_in_bounded_batches_of_pieces() -> None:
    seen: list[Operation] = []
    inner = plain(bytes(9 * MIB)).open("file", Access.WRITE)
    storage = watched(inner, seen.append)
    transfer.copy(storage, storage, [Move(5, 20 * MIB, 7 * MIB), Move(0, 30 * MIB, 3)], buffer=3 * MIB)
    moved = [operation for operation in seen if operation.kind in ("read", "write")]
    assert [operation.kind for operation in moved] == ["read", "write"] * 3
    assert [operation.length for operation in moved[::2]] == [3 * MIB, 3 * MIB, MIB + 3]
    # Pieces of a MiB at most: one batch is several requests under way at once.
    assert [operation.pieces for operation in moved[::2]] == [3, 3, 2]


def test_copy_asks_the_innermost_storages_first() -> None:
    files = MemoryFileSystem({"file": Pages(b"content")})
    tally = Tally()
    source = watched(files.open("file", Access.READ), tally)
    target = WatchedFileSystem(files, tally).create("target")
    transfer.copy(source, target, [Move(0, 0, 7)])
    assert pread(files.open("target", Access.INSPECT), 0, 7) == b"content"
    assert (tally.calls["copy"], tally.bytes["copy"]) == (1, 7)
    assert tally.calls["read"] == tally.calls["write"] == 0


@pytest.mark.parametrize("optional", [False, True])
def test_zero(optional: bool) -> None:
    storage = MemoryFileSystem({"file": Pages(b"x" * 3 * MIB)}, optional=optional).open("file", Access.WRITE)
    transfer.zero(storage, [(10, 0), (5, 2 * MIB), (3 * MIB - 1, 1)])
    assert pread(storage, 0, 3 * MIB) == b"x" * 5 + bytes(2 * MIB) + b"x" * (MIB - 6) + b"\0"
    assert storage.size() == 3 * MIB


@pytest.mark.parametrize("optional", [False, True])
def test_reserve_grows_and_allocates(optional: bool) -> None:
    files = MemoryFileSystem({"file": Pages(b"x")}, optional=optional)
    storage = files.open("file", Access.WRITE)
    transfer.reserve(storage, [(MIB, 2 * MIB)])
    assert storage.size() == 3 * MIB
    assert files.stat("file").allocated >= 2 * MIB
    assert pread(storage, 0, 3 * MIB) == b"x" + bytes(3 * MIB - 1)


def test_zeros_are_written_in_bounded_batches_of_pieces() -> None:
    seen: list[Operation] = []
    storage = watched(plain(b"").open("file", Access.WRITE), seen.append)
    transfer.reserve(storage, [(0, 40 * MIB)])
    writes = [operation for operation in seen if operation.kind == "write"]
    assert [(operation.pieces, operation.length) for operation in writes] == [
        (16, 16 * MIB),
        (16, 16 * MIB),
        (8, 8 * MIB),
    ]


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (3, 4), (9, 1), (10, 0), (50, 0)])
def test_all_of_the_file_may_be_data_where_the_storage_cannot_tell(offset: int, length: int) -> None:
    storage = plain(b"0123456789").open("file", Access.INSPECT)
    assert list(transfer.allocated(storage, offset, length)) == ([(offset, length)] if length else [])


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (3, 100), (10, 5), (50, 5)])
def test_what_is_behind_the_end_is_neither_data_nor_a_hole(offset: int, length: int) -> None:
    for files in (plain(b"0123456789"), MemoryFileSystem({"file": Pages(b"0123456789")})):
        with pytest.raises(FormatError, match="beyond end of file at 10"):
            list(transfer.allocated(files.open("file", Access.INSPECT), offset, length))


def test_nothing_to_do_asks_nothing_of_the_storage() -> None:
    tally = Tally()
    storage = watched(plain(b"").open("file", Access.WRITE), tally)
    transfer.copy(storage, storage, [])
    transfer.zero(storage, [])
    transfer.reserve(storage, [])
    assert not tally.calls
