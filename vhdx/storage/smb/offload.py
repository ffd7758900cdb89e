"""Server-side operations: copychunk (MS-SMB2 3.3.5.15.6) and zeroing (MS-FSCC 2.3).

Support is determined by trying, and remembered for the connection; the dialect does not imply it.
"""

import errno
import struct
from collections.abc import Iterator, Sequence

from vhdx.errors import FormatError
from vhdx.extents import spans
from vhdx.storage.base import Can, Move, Unsupported
from vhdx.storage.smb import messages
from vhdx.storage.smb.handle import Handle
from vhdx.storage.smb.learned import CopyLimits
from vhdx.storage.smb.status import UNSUPPORTED, NtStatus, Refused, refusal

MIB = 1 << 20
_REQUEST_RESUME_KEY = 0x00140078
_COPYCHUNK_WRITE = 0x001480F2
_SET_ZERO_DATA = 0x000980C8
_KEY_LENGTH = 24
# SRV_COPYCHUNK_RESPONSE (MS-SMB2 2.2.32.1): chunks, bytes of the failed chunk, bytes in total; or the limits.
_COUNTS = struct.Struct("<III")
_CHUNK = struct.Struct("<QQII")
_RANGE = struct.Struct("<QQ")  # FILE_ZERO_DATA_INFORMATION (MS-FSCC 2.3.71): FileOffset, BeyondFinalZero
_REQUEST_HEAD = _KEY_LENGTH + 8
_COPIES_IN_FLIGHT = 3
_TRIES = 4
_LEAST_COPY = 64 << 10
"""Bytes per request below which copying through the client is cheaper."""
_ZEROED_AT_ONCE = 64 * MIB


def copy(source: Handle, target: Handle, moves: Sequence[Move], *, source_size: int) -> None:
    """Copy between two files of one connection, with requests as large as the server allows.

    Raises Unsupported if the server cannot, FormatError for a range beyond the end of the source.
    """
    check_inside(source.name, [(move.source_offset, move.length) for move in moves], source_size)
    learnt = target.connection.learned
    if can_copy(source, target) is Can.NO:
        raise Unsupported(f"no server-side copy from {source.name} to {target.name}")
    limits = learnt.limits._replace(chunks=min(learnt.limits.chunks, _most_chunks(target)))
    for _ in range(_TRIES):
        smaller = _try(source, target, moves, limits)
        if smaller is None:
            return
        learnt.limits = limits = smaller
    raise Unsupported(f"{target.name}: the server asks for smaller copies again and again")


def _most_chunks(handle: Handle) -> int:
    """The chunks that fit into a request of MaxTransactSize."""
    return (handle.connection.transact_size - _REQUEST_HEAD) // _CHUNK.size


def can_copy(source: Handle, target: Handle) -> Can:
    """Whether a server-side copy between two files is possible."""
    without_copy = target.connection.learned.without_copy
    there = source.connection is target.connection and (source.tree.share, target.tree.share) not in without_copy
    return Can.UNKNOWN if there else Can.NO


def can_zero(handle: Handle) -> Can:
    """Whether the server can zero ranges."""
    return Can.NO if handle.tree.share in handle.connection.learned.without_zero else Can.UNKNOWN


def check_inside(name: str, ranges: Sequence[tuple[int, int]], size: int) -> None:
    """Raise FormatError for the first range that extends beyond the end of a file of *size* bytes."""
    for offset, length in ranges:
        if offset + length > size:
            reason = f"a range of {length} bytes extends beyond end of file at {size}"
            raise FormatError("file", offset, reason, file=name)


def _try(source: Handle, target: Handle, moves: Sequence[Move], limits: CopyLimits) -> CopyLimits | None:
    """Copy within *limits*; returns None when done, or the server's smaller limits."""
    batches = list(_batches(moves, limits))
    try:
        key = source.ioctl(_REQUEST_RESUME_KEY, b"", max_response=32)[:_KEY_LENGTH]
        requests = (_request(key, batch) for batch in batches)
        responses = target.ioctls(_COPYCHUNK_WRITE, requests, max_response=_COUNTS.size, depth=_COPIES_IN_FLIGHT)
    except (OSError, FormatError) as error:
        refused = refusal(error)
        if refused is not None and refused.status in UNSUPPORTED:
            target.connection.learned.without_copy.add((source.tree.share, target.tree.share))
            raise Unsupported(f"{target.name}: the server does not support copychunk") from error
        if refused is not None and refused.status == NtStatus.OBJECT_NAME_NOT_FOUND:
            raise Unsupported(f"{target.name}: the server cannot copy from {source.name}") from error
        if refused is not None and refused.status == NtStatus.INVALID_PARAMETER:
            return smaller(limits, refused, target.name)
        if refused is not None and refused.status == NtStatus.INVALID_VIEW_SIZE:
            check_inside(source.name, [(move.source_offset, move.length) for move in moves], source.size())
            raise FormatError("file", None, "the range extends beyond end of file", file=source.name) from error
        raise
    for batch, response in zip(batches, responses, strict=True):
        _check(batch, response, target.name)
    return None


def _check(batch: Sequence[Move], response: bytes, name: str) -> None:
    expected = sum(move.length for move in batch)
    done = _COUNTS.unpack(response)[2] if len(response) == _COUNTS.size else 0
    if done != expected:
        raise OSError(errno.EIO, f"the server copied {done} of {expected} bytes", name)


def smaller(limits: CopyLimits, refused: Refused, name: str) -> CopyLimits:
    """The limits in an error response (MS-SMB2 3.3.5.15.6.2). Raises Unsupported unless smaller than those tried."""
    try:
        told = _COUNTS.unpack_from(messages.ioctl_response(refused.response))
    except struct.error:
        raise Unsupported(f"{name}: the server rejects copychunk without returning its limits") from refused
    learnt = CopyLimits(*map(min, zip(told, limits, strict=True)))
    if learnt == limits or learnt.chunks == 0 or min(learnt.chunk_bytes, learnt.total_bytes) < _LEAST_COPY:
        raise Unsupported(f"{name}: the server rejects copychunk within its own limits") from refused
    return learnt


def _batches(moves: Sequence[Move], limits: CopyLimits) -> Iterator[list[Move]]:
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


def _chunks(moves: Sequence[Move], limits: CopyLimits) -> Iterator[Move]:
    size = min(limits.chunk_bytes, limits.total_bytes)
    for move in moves:
        for span in spans(0, move.length, size):
            done = span.number * size
            yield Move(move.source_offset + done, move.target_offset + done, span.length)


def _request(key: bytes, batch: Sequence[Move]) -> bytes:
    chunks = b"".join(_CHUNK.pack(move.source_offset, move.target_offset, move.length, 0) for move in batch)
    return key + struct.pack("<II", len(batch), 0) + chunks


def zero(handle: Handle, ranges: Sequence[tuple[int, int]]) -> None:
    """Zero ranges on the server (FSCTL_SET_ZERO_DATA). Raises Unsupported."""
    if can_zero(handle) is Can.NO:
        raise Unsupported(f"{handle.name}: the server does not support FSCTL_SET_ZERO_DATA")
    requests = (
        _RANGE.pack(start, min(start + _ZEROED_AT_ONCE, offset + length))
        for offset, length in ranges
        for start in range(offset, offset + length, _ZEROED_AT_ONCE)
    )
    try:
        handle.ioctls(_SET_ZERO_DATA, requests, max_response=0, depth=handle.connection.settings.depth)
    except OSError as error:
        refused = refusal(error)
        if refused is not None and refused.status in UNSUPPORTED:
            handle.connection.learned.without_zero.add(handle.tree.share)
            raise Unsupported(f"{handle.name}: the server does not support FSCTL_SET_ZERO_DATA") from error
        raise
