"""Bytes from storage to storage: the optional operations of the contract, each with its fallback.

This is the only place that knows what to do where a storage cannot, which it says (`Storage.can`) or raises when it
tries (`Unsupported`). Offsets and lengths are in bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from vhdx.errors import FormatError
from vhdx.extents import Range, spans
from vhdx.storage.base import Buffer, Can, Move, Storage, Unsupported

PIECE = 1 << 20
"""The longest single read or write: a network keeps many of them in flight at once."""

BUFFER = 16 << 20
"""The most bytes that one call holds in memory."""

_ZEROS = bytes(PIECE)


def pread(storage: Storage, offset: int, length: int) -> bytes:
    """The *length* bytes at *offset*. Raises FormatError when they extend beyond end of file."""
    buffer = bytearray(length)
    storage.read([(offset, memoryview(buffer))])
    return bytes(buffer)


def preads(storage: Storage, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of several ranges, asked for in one call. Raises FormatError beyond end of file."""
    buffers = [(offset, bytearray(length)) for offset, length in ranges]
    storage.read([(offset, memoryview(buffer)) for offset, buffer in buffers])
    return [bytes(buffer) for _, buffer in buffers]


def pwrite(storage: Storage, offset: int, data: Buffer) -> None:
    """Put *data* at *offset*."""
    storage.write([(offset, data)])


def copy(source: Storage, target: Storage, moves: Sequence[Move], *, buffer: int = BUFFER) -> None:
    """Copy *moves* from *source* to *target*: inside the kernel or the server, else through *buffer* bytes of memory.

    Source and target may be one storage as long as no source range overlaps a target range. Stopped in the middle,
    any part of the target ranges may have been written. Raises FormatError for a source range past the end.
    """
    if not moves:
        return
    inner = source.innermost()
    if target.can_copy(inner) is not Can.NO:
        with suppress(Unsupported):
            target.copy(inner, moves)
            return
    _copy_through_memory(source, target, moves, buffer)


def _copy_through_memory(source: Storage, target: Storage, moves: Sequence[Move], buffer: int) -> None:
    room = memoryview(bytearray(min(buffer, sum(move.length for move in moves))))
    for batch in _batches(_pieces(moves), buffer):
        used, reads, writes = 0, [], []
        for move in batch:
            part = room[used : used + move.length]
            reads.append((move.source_offset, part))
            writes.append((move.target_offset, part))
            used += move.length
        source.read(reads)
        target.write(writes)


def _pieces(moves: Iterable[Move]) -> Iterator[Move]:
    for move in moves:
        for span in spans(0, move.length, PIECE):
            done = span.number * PIECE
            yield Move(move.source_offset + done, move.target_offset + done, span.length)


def _batches(pieces: Iterable[Move], limit: int) -> Iterator[list[Move]]:
    """Group *pieces* so that no group is longer than *limit*, cutting the piece that would be too much."""
    batch: list[Move] = []
    room = limit
    for piece in pieces:
        source, target, length = piece
        while length:
            part = min(length, room)
            batch.append(Move(source, target, part))
            source, target, length, room = source + part, target + part, length - part, room - part
            if not room:
                yield batch
                batch, room = [], limit
    if batch:
        yield batch


def zero(storage: Storage, ranges: Sequence[tuple[int, int]]) -> None:
    """Make *ranges* inside the file read as zeros, without sending zeros where the storage can."""
    if not ranges:
        return
    if storage.can().zero is not Can.NO:
        with suppress(Unsupported):
            storage.zero(ranges)
            return
    _write_zeros(storage, ranges)


def reserve(storage: Storage, ranges: Sequence[tuple[int, int]]) -> None:
    """Allocate disk space for *ranges*, which read as zeros, so that writing there cannot run out.

    Grows the file as needed. Raises OutOfSpace.
    """
    if not ranges:
        return
    if storage.can().reserve is not Can.NO:
        with suppress(Unsupported):
            storage.reserve(ranges)
            return
    _write_zeros(storage, ranges)


def _write_zeros(storage: Storage, ranges: Iterable[tuple[int, int]]) -> None:
    zeros = memoryview(_ZEROS)
    # The same zeros serve every piece, so the batch only bounds how much one call asks of a network.
    targets = _pieces(Move(offset, offset, length) for offset, length in ranges)
    for batch in _batches(targets, BUFFER):
        storage.write([(move.target_offset, zeros[: move.length]) for move in batch])


def allocated(storage: Storage, offset: int, length: int) -> Iterator[Range]:
    """The ranges that may hold data: ascending, disjoint, within the request.

    What they leave out reads as zeros. The whole range where the storage cannot tell. Raises FormatError, as reading
    would, for a range that extends beyond end of file: what is not there is no hole.
    """
    size = storage.size()
    if length > 0 and offset + length > size:
        reason = f"the file ends at {size}, before the end of the {length} bytes that should be here"
        raise FormatError("file", offset, reason, file=storage.name)
    whole = [Range(offset, length)] if length > 0 else []
    if storage.can().allocated is Can.NO:
        yield from whole
        return
    try:
        pieces = storage.allocated(offset, length)
        first = next(pieces, None)
    except Unsupported:
        yield from whole
        return
    if first is not None:
        yield first
        yield from pieces
