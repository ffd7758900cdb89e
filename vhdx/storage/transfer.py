"""The optional operations of the storage contract, each with its fallback.

No other module handles `Unsupported` or a `Storage.can` of NO. Offsets and lengths are in bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from vhdx.errors import FormatError
from vhdx.extents import Range, spans
from vhdx.storage.base import Buffer, Can, Move, Storage, Unsupported

PIECE = 1 << 20
"""Largest single read or write, so that a network transport can pipeline them."""

BUFFER = 16 << 20
"""Most bytes that one call holds in memory."""

_ZEROS = bytes(PIECE)


def pread(storage: Storage, offset: int, length: int) -> bytes:
    """Read *length* bytes at *offset*. Raises FormatError beyond end of file."""
    buffer = bytearray(length)
    storage.read([(offset, memoryview(buffer))])
    return bytes(buffer)


def preads(storage: Storage, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read several ranges in one call. Raises FormatError beyond end of file."""
    buffers = [(offset, bytearray(length)) for offset, length in ranges]
    storage.read([(offset, memoryview(buffer)) for offset, buffer in buffers])
    return [bytes(buffer) for _, buffer in buffers]


def pwrite(storage: Storage, offset: int, data: Buffer) -> None:
    """Write *data* at *offset*."""
    storage.write([(offset, data)])


def copy(source: Storage, target: Storage, moves: Sequence[Move], *, buffer: int = BUFFER) -> None:
    """Copy *moves* from *source* to *target*, in the kernel or on the server, else through *buffer* bytes of memory.

    Source and target may be the same storage if no source range overlaps a target range. If interrupted, any part of
    the target ranges may be written. Raises FormatError for a source range beyond end of file.
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
    """Group *pieces* into batches of at most *limit* bytes, splitting pieces where necessary."""
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
    """Make *ranges* inside the file read as zeros; writes zeros only if the storage cannot do it otherwise."""
    if not ranges:
        return
    if storage.can().zero is not Can.NO:
        with suppress(Unsupported):
            storage.zero(ranges)
            return
    _write_zeros(storage, ranges)


def reserve(storage: Storage, ranges: Sequence[tuple[int, int]]) -> None:
    """Allocate disk space for *ranges*, which read as zeros, so that later writes cannot fail for lack of it.

    Extends the file as needed. Raises OutOfSpace.
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
    # All pieces share one buffer; batches only limit the requests of one call.
    targets = _pieces(Move(offset, offset, length) for offset, length in ranges)
    for batch in _batches(targets, BUFFER):
        storage.write([(move.target_offset, zeros[: move.length]) for move in batch])


def allocated(storage: Storage, offset: int, length: int) -> Iterator[Range]:
    """The ranges that may hold data: ascending, disjoint, within the request; the rest reads as zeros.

    The whole range if the storage cannot report holes. Raises FormatError, as `Storage.read` does, for a range that
    extends beyond end of file.
    """
    size = storage.size()
    if length > 0 and offset + length > size:
        reason = f"a range of {length} bytes extends beyond end of file at {size}"
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
