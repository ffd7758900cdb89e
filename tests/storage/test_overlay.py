"""A file with changes laid over it reads as if they had been made, and they never are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory import MemoryFileSystem, Pages
from tests.support.wrappers import Tally, watched
from vhdx.errors import FormatError
from vhdx.format import log
from vhdx.storage.base import Access, Storage
from vhdx.storage.overlay import Change, OverlayStorage
from vhdx.storage.transfer import allocated, pread

TIB = 1 << 40


def base(content: bytes, *, optional: bool = True) -> Storage:
    files = MemoryFileSystem({"base": Pages(content)}, optional=optional)
    return files.open("base", Access.INSPECT)


def model(content: bytes, changes: list[Change], size: int | None) -> bytes:
    """The base with each change made in its turn."""
    data = bytearray(content)
    for offset, what in changes:
        new = bytes(what)  # an int is so many zeros
        if new:
            data.extend(bytes(max(0, offset + len(new) - len(data))))
            data[offset : offset + len(new)] = new
    if size is not None:
        data[size:] = bytes(max(0, size - len(data)))
    return bytes(data)


contents = st.integers(0, 120).map(lambda length: bytes(at % 250 + 1 for at in range(length)))
changes_made = st.lists(
    st.tuples(st.integers(0, 150), st.one_of(st.integers(0, 60), st.binary(max_size=30))),
    max_size=12,
)


@given(contents, changes_made, st.one_of(st.none(), st.integers(0, 250)), st.data())
def test_reads_as_if_the_changes_had_been_made(
    content: bytes, changes: list[Change], size: int | None, data: st.DataObject
) -> None:
    expected = model(content, changes, size)
    overlay = OverlayStorage(base(content), changes, size=size)
    assert overlay.size() == len(expected)
    assert pread(overlay, 0, overlay.size()) == expected
    offset = data.draw(st.integers(0, len(expected)))
    length = data.draw(st.integers(0, len(expected) - offset))
    assert pread(overlay, offset, length) == expected[offset : offset + length]


@given(contents, changes_made, st.one_of(st.none(), st.integers(0, 250)), st.booleans())
def test_what_it_calls_a_hole_reads_as_zeros(
    content: bytes, changes: list[Change], size: int | None, optional: bool
) -> None:
    overlay = OverlayStorage(base(content, optional=optional), changes, size=size)
    data = bytearray(pread(overlay, 0, overlay.size()))
    end = 0
    for piece in allocated(overlay, 0, overlay.size()):
        assert end <= piece.offset < piece.end <= len(data)
        end = piece.end
        data[piece.offset : piece.end] = bytes(piece.length)
    assert not any(data)


def test_reads_across_the_changes_reach_the_base_in_one_call() -> None:
    tally = Tally()
    overlay = OverlayStorage(watched(base(bytes(100)), tally), [(10, b"x"), (30, 5), (50, b"y")])
    pread(overlay, 0, 100)
    assert (tally.calls["read"], tally.pieces["read"], tally.bytes["read"]) == (1, 4, 93)


def test_vast_zeros_cost_nothing() -> None:
    overlay = OverlayStorage(base(b"content"), [(3, 64 * TIB), (40 * TIB, b"island")])
    assert overlay.size() == 64 * TIB + 3
    assert pread(overlay, 0, 6) == b"con\0\0\0"
    assert pread(overlay, 40 * TIB - 2, 10) == b"\0\0island\0\0"
    assert list(overlay.allocated(0, 64 * TIB)) == [(0, 3), (40 * TIB, 6)]


def test_takes_the_changes_of_a_log_as_they_are() -> None:
    changes: list[log.Change] = [log.PageWrite(4096, b"x" * 4096), log.ZeroRange(0, 4096)]
    overlay = OverlayStorage(base(b"y" * 12288), changes)
    assert pread(overlay, 0, 12288) == bytes(4096) + b"x" * 4096 + b"y" * 4096


@pytest.mark.parametrize("size", [5, 20])
def test_the_end_is_where_it_is_said_to_be(size: int) -> None:
    overlay = OverlayStorage(base(b"0123456789"), [(2, b"x")], size=size)
    with pytest.raises(FormatError) as caught:
        pread(overlay, size - 1, 2)
    assert caught.value.file == overlay.name


def test_the_base_is_left_as_it_is_and_is_closed_with_it() -> None:
    files = MemoryFileSystem({"base": Pages(b"content")})
    inner = files.open("base", Access.READ)
    overlay = OverlayStorage(inner, [(0, b"CON")])
    assert overlay.innermost() is overlay
    assert pread(inner, 0, 7) == b"content"
    overlay.close()
    files.open("base", Access.WRITE).close()
