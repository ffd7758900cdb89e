"""What a server does by itself: copies between its files, and zeros.

Whether it can is found by trying and remembered for the connection; it never follows from the dialect.
"""

import errno
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FormatError
from vhdx.extents import spans
from vhdx.storage.base import Can, Move, Unsupported
from vhdx.storage.smb import messages
from vhdx.storage.smb.status import (
    INVALID_PARAMETER,
    INVALID_VIEW_SIZE,
    OBJECT_NAME_NOT_FOUND,
    UNSUPPORTED,
    Refused,
    refusal,
)

if TYPE_CHECKING:
    from vhdx.storage.smb.handle import Handle

MIB = 1 << 20
_REQUEST_RESUME_KEY = 0x00140078
_COPYCHUNK_WRITE = 0x001480F2
_SET_ZERO_DATA = 0x000980C8
_KEY_LENGTH = 24
_COUNTS = struct.Struct("<III")  # chunks, bytes of the chunk that failed, bytes in all; or the limits
_CHUNK = struct.Struct("<QQII")
_RANGE = struct.Struct("<QQ")  # first byte, the one after the last
_COPIES_IN_FLIGHT = 3
_ZEROED_AT_ONCE = 64 * MIB


class Limits(NamedTuple):
    """What one copy request may hold."""

    chunks: int = 256
    chunk_bytes: int = MIB
    total_bytes: int = 16 * MIB


class Offload:
    """What was learnt about one server: the limits of its copies, and which shares cannot."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.without_copy: set[tuple[str, str]] = set()
        self.without_zero: set[str] = set()


def copy(source: "Handle", target: "Handle", moves: Sequence[Move], *, source_size: int) -> None:
    """Copy between two files of one connection, in requests as full as the server takes.

    Raises Unsupported where the server cannot, FormatError for bytes past the end of the source.
    """
    check_inside(source.name, [(move.source_offset, move.length) for move in moves], source_size)
    learnt = target.connection.offload
    if can_copy(source, target) is Can.NO:
        raise Unsupported(f"{source.name} cannot be copied to {target.name} inside one server")
    limits = learnt.limits
    while (smaller := _try(source, target, moves, limits)) is not None:
        learnt.limits = limits = smaller


def can_copy(source: "Handle", target: "Handle") -> Can:
    """What is known of copies between two files."""
    without_copy = target.connection.offload.without_copy
    there = source.connection is target.connection and (source.tree.share, target.tree.share) not in without_copy
    return Can.UNKNOWN if there else Can.NO


def can_zero(handle: "Handle") -> Can:
    """What is known of zeros that the server makes."""
    return Can.NO if handle.tree.share in handle.connection.offload.without_zero else Can.UNKNOWN


def check_inside(name: str, ranges: Sequence[tuple[int, int]], size: int) -> None:
    """Raise FormatError for the first range that reaches past the end of a file of *size* bytes."""
    for offset, length in ranges:
        if offset + length > size:
            reason = f"{length} bytes were expected here, and the file ends at {size}"
            raise FormatError("file", offset, reason, file=name)


def _try(source: "Handle", target: "Handle", moves: Sequence[Move], limits: Limits) -> Limits | None:
    """Copy within *limits*; None when done, or the smaller limits that the server asks for."""
    batches = list(_batches(moves, limits))
    try:
        key = source.control(_REQUEST_RESUME_KEY, b"", answer=32)[:_KEY_LENGTH]
        requests = (_request(key, batch) for batch in batches)
        answers = target.controls(_COPYCHUNK_WRITE, requests, answer=_COUNTS.size, depth=_COPIES_IN_FLIGHT)
    except (OSError, FormatError) as error:
        refused = refusal(error)
        if refused is not None and refused.status in UNSUPPORTED:
            target.connection.offload.without_copy.add((source.tree.share, target.tree.share))
            raise Unsupported(f"{target.name}: the server does not copy") from error
        if refused is not None and refused.status == OBJECT_NAME_NOT_FOUND:
            raise Unsupported(f"{target.name}: the server does not copy from {source.name}") from error
        if refused is not None and refused.status == INVALID_PARAMETER:
            return smaller(limits, refused, target.name)
        if refused is not None and refused.status == INVALID_VIEW_SIZE:
            check_inside(source.name, [(move.source_offset, move.length) for move in moves], source.size())
            raise FormatError("file", None, "it ends before the bytes to be copied", file=source.name) from error
        raise
    for batch, answer in zip(batches, answers, strict=True):
        _check(batch, answer, target.name)
    return None


def _check(batch: Sequence[Move], answer: bytes, name: str) -> None:
    expected = sum(move.length for move in batch)
    done = _COUNTS.unpack(answer)[2] if len(answer) == _COUNTS.size else 0
    if done != expected:
        raise OSError(errno.EIO, f"the server copied {done} of {expected} bytes", name)


def smaller(limits: Limits, refused: Refused, name: str) -> Limits:
    """The limits that a refusal carries. Raises Unsupported where they are no smaller than what was tried."""
    try:
        told = _COUNTS.unpack_from(messages.controlled(refused.answer))
    except struct.error:
        raise Unsupported(f"{name}: the server refuses copies and does not say why") from refused
    learnt = Limits(*map(min, zip(told, limits, strict=True)))
    if learnt == limits or min(learnt) == 0:
        raise Unsupported(f"{name}: the server refuses copies within its own limits") from refused
    return learnt


def _batches(moves: Sequence[Move], limits: Limits) -> Iterator[list[Move]]:
    batch: list[Move] = []
    room = limits.total_bytes
    for chunk in _chunks(moves, limits):
        if chunk.length > room or len(batch) == limits.chunks:
            yield batch
            batch, room = [], limits.total_bytes
        batch.append(chunk)
        room -= chunk.length
    if batch:
        yield batch


def _chunks(moves: Sequence[Move], limits: Limits) -> Iterator[Move]:
    size = min(limits.chunk_bytes, limits.total_bytes)
    for move in moves:
        for span in spans(0, move.length, size):
            done = span.number * size
            yield Move(move.source_offset + done, move.target_offset + done, span.length)


def _request(key: bytes, batch: Sequence[Move]) -> bytes:
    chunks = b"".join(_CHUNK.pack(move.source_offset, move.target_offset, move.length, 0) for move in batch)
    return key + struct.pack("<II", len(batch), 0) + chunks


def zero(handle: "Handle", ranges: Sequence[tuple[int, int]]) -> None:
    """Have the server zero ranges. Raises Unsupported where it cannot."""
    if can_zero(handle) is Can.NO:
        raise Unsupported(f"{handle.name}: the server does not zero")
    requests = (
        _RANGE.pack(start, min(start + _ZEROED_AT_ONCE, offset + length))
        for offset, length in ranges
        for start in range(offset, offset + length, _ZEROED_AT_ONCE)
    )
    try:
        handle.controls(_SET_ZERO_DATA, requests, answer=0, depth=handle.connection.settings.depth)
    except OSError as error:
        refused = refusal(error)
        if refused is not None and refused.status in UNSUPPORTED:
            handle.connection.offload.without_zero.add(handle.tree.share)
            raise Unsupported(f"{handle.name}: the server does not zero") from error
        raise
