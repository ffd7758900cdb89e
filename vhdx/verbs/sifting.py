"""Payload through memory into a new image that reads as zeros, without the zeros in it."""

from collections.abc import Iterator, Sequence

from vhdx.chain.chain import Found
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import Image, Readable
from vhdx.storage import transfer
from vhdx.storage.base import Move, Unsupported
from vhdx.verbs.copying import batches

GRAIN = 64 << 10
"""Zeros are left out in pieces of so many bytes: enough to save blocks, and few enough writes where data is sparse."""

_ZEROS = bytes(GRAIN)


class _PassesThroughMemory(Exception):
    """Gives back the place that was taken for the attempt."""


def copies_inside(piece: Found, source: Readable, target: Image) -> bool:
    """Whether the kernel or the server copies from *source* to *target*, found out with the first bytes of *piece*."""
    extent = piece.extent
    assert extent.file_offset is not None
    wanted = Range(extent.offset, min(extent.length, GRAIN))
    try:
        with target.allocate([wanted]) as places:
            shift = extent.file_offset - extent.offset
            moves = [Move(one.offset + shift, one.file_offset, one.length) for one in places if one.file_offset]
            try:
                target.storage.copy(source.storage.innermost(), moves)
            except Unsupported:
                raise _PassesThroughMemory from None
    except _PassesThroughMemory:
        return False
    return True


def sift(found: Sequence[Found], sources: Sequence[Readable], target: Image) -> None:
    """Copy DATA into *target*, where nothing has been written yet; pieces of zeros are not written. Not flushed."""
    for batch in batches(found, transfer.BUFFER):
        room = memoryview(bytearray(sum(extent.length for _, extent in batch)))
        reads: dict[int, list[tuple[int, memoryview]]] = {}
        held: list[tuple[Extent, memoryview]] = []
        used = 0
        for layer, extent in batch:
            assert extent.file_offset is not None
            part = room[used : used + extent.length]
            reads.setdefault(layer, []).extend(_pieces(extent.file_offset, part))
            held.append((extent, part))
            used += extent.length
        for layer, pieces in reads.items():
            sources[layer].storage.read(pieces)
        _write([run for extent, part in held for run in _runs(extent.offset, part)], target)


def _pieces(offset: int, buffer: memoryview) -> Iterator[tuple[int, memoryview]]:
    for at in range(0, len(buffer), transfer.PIECE):
        yield offset + at, buffer[at : at + transfer.PIECE]


def _runs(offset: int, buffer: memoryview) -> Iterator[tuple[int, memoryview]]:
    """What is left of the bytes at *offset* of a disk without the pieces that are zeros."""
    start = at = 0
    while at < len(buffer):
        stop = min(at + GRAIN - (offset + at) % GRAIN, len(buffer))
        if buffer[at:stop].tobytes() == _ZEROS[: stop - at]:
            if start < at:
                yield offset + start, buffer[start:at]
            start = stop
        at = stop
    if start < at:
        yield offset + start, buffer[start:at]


def _write(runs: Sequence[tuple[int, memoryview]], target: Image) -> None:
    if not runs:
        return
    with target.allocate([Range(offset, len(data)) for offset, data in runs]) as places:
        target.storage.write(list(_placed(runs, places)))


def _placed(runs: Sequence[tuple[int, memoryview]], places: Sequence[Extent]) -> Iterator[tuple[int, memoryview]]:
    """Pair the data with its places, which cover the same ranges of the disk, cut differently."""
    remaining = iter(places)
    place = next(remaining)
    for offset, data in runs:
        at, end = offset, offset + len(data)
        while at < end:
            while place.end <= at:
                place = next(remaining)
            assert place.presence is Presence.DATA
            assert place.file_offset is not None
            stop = min(end, place.end, at + transfer.PIECE)
            yield place.file_offset + at - place.offset, data[at - offset : stop - offset]
            at = stop
