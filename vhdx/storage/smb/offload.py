"""What a server does by itself: copies between its files, and zeros.

Whether it can is found by trying and remembered for the connection; it never follows from the dialect.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from smbprotocol.ioctl import SMB2IOCTLResponse

from vhdx.errors import FormatError
from vhdx.extents import spans
from vhdx.storage.base import Move, Unsupported
from vhdx.storage.smb.handle import Handle, answered, refused
from vhdx.storage.smb.status import INVALID_PARAMETER, INVALID_VIEW_SIZE, OBJECT_NAME_NOT_FOUND, UNSUPPORTED

MIB = 1 << 20
_REQUEST_RESUME_KEY = 0x00140078
_COPYCHUNK_WRITE = 0x001480F2
_SET_ZERO_DATA = 0x000980C8
_KEY_LENGTH = 24
_COUNTS = struct.Struct("<III")  # chunks, bytes of the chunk that failed, bytes in all; or the limits
_CHUNK = struct.Struct("<QQII")
_COPIES_IN_FLIGHT = 3
_ZEROED_AT_ONCE = 64 * MIB


class Limits(NamedTuple):
    """What one copy request may hold."""

    chunks: int = 256
    chunk_bytes: int = MIB
    total_bytes: int = 16 * MIB


def copy(source: Handle, target: Handle, moves: Sequence[Move], *, source_size: int) -> None:
    """Copy between two files of one connection, in requests as full as the server takes.

    Raises Unsupported where the server cannot, FormatError for bytes past the end of the source.
    """
    for move in moves:
        if move.source_offset + move.length > source_size:
            reason = f"{move.length} bytes were expected here, and the file ends at {source_size}"
            raise FormatError("file", move.source_offset, reason, file=source.name)
    pair = source.tree.share_name.casefold(), target.tree.share_name.casefold()
    if source.connection is not target.connection or pair in target.connection.without_copy:
        raise Unsupported(f"{source.name} cannot be copied to {target.name} inside one server")
    limits: Limits | None = Limits()
    while limits is not None:
        limits = _try(source, target, moves, limits, pair)


def _try(
    source: Handle, target: Handle, moves: Sequence[Move], limits: Limits, pair: tuple[str, str]
) -> Limits | None:
    """Copy within *limits*; None when done, or the smaller limits that the server asks for."""
    try:
        key = answered(source.call(source.control(_REQUEST_RESUME_KEY, b"", answer=32)))[:_KEY_LENGTH]
        batches = list(_batches(moves, limits))
        requests = (target.control(_COPYCHUNK_WRITE, _request(key, batch), answer=_COUNTS.size) for batch in batches)
        for batch, answer in zip(batches, target.calls(requests, depth=_COPIES_IN_FLIGHT), strict=True):
            expected = sum(move.length for move in batch)
            done = _COUNTS.unpack_from(answered(answer))[2]
            if done != expected:
                raise OSError(f"{target.name}: the server copied {done} of {expected} bytes")
    except (OSError, FormatError) as error:
        refusal = refused(error)
        if refusal is not None and refusal.status in UNSUPPORTED | {OBJECT_NAME_NOT_FOUND}:
            target.connection.without_copy.add(pair)
            raise Unsupported(f"{target.name}: the server does not copy") from error
        if refusal is not None and refusal.status == INVALID_PARAMETER:
            return _smaller(limits, refusal.header, target.name)
        if refusal is not None and refusal.status == INVALID_VIEW_SIZE:
            raise FormatError("file", None, "it ends before the bytes to be copied", file=source.name) from error
        raise
    return None


def _smaller(limits: Limits, header: Any, name: str) -> Limits:
    """The limits that a refusal carries. Raises Unsupported where they are no smaller than what was tried."""
    answer = SMB2IOCTLResponse()
    answer.unpack(header["data"].get_value())
    data = bytes(answer["buffer"].get_value())
    if len(data) < _COUNTS.size:
        raise Unsupported(f"{name}: the server refuses copies and does not say why")
    learnt = Limits(*map(min, zip(_COUNTS.unpack_from(data), limits, strict=True)))
    if learnt == limits or min(learnt) == 0:
        raise Unsupported(f"{name}: the server refuses copies within its own limits")
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


def zero(handle: Handle, ranges: Sequence[tuple[int, int]]) -> None:
    """Have the server zero ranges. Raises Unsupported where it cannot."""
    share = handle.tree.share_name.casefold()
    if share in handle.connection.without_zero:
        raise Unsupported(f"{handle.name}: the server does not zero")
    requests = (
        handle.control(_SET_ZERO_DATA, struct.pack("<QQ", start, start + span.length))
        for offset, length in ranges
        for span in spans(0, length, _ZEROED_AT_ONCE)
        for start in (offset + span.number * _ZEROED_AT_ONCE,)
    )
    try:
        for _ in handle.calls(requests, depth=handle.connection.settings.depth):
            pass
    except OSError as error:
        refusal = refused(error)
        if refusal is not None and refusal.status in UNSUPPORTED:
            handle.connection.without_zero.add(share)
            raise Unsupported(f"{handle.name}: the server does not zero") from error
        raise
