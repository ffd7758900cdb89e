"""Payload from the extents of some images to its places in another, in batches that one request can carry."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from vhdx.chain.chain import Found
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import ALLOCATE_LIMIT, Image, Readable
from vhdx.storage import transfer
from vhdx.storage.base import Move


def place_all(
    found: Iterable[Found],
    sources: Sequence[Readable],
    target: Image,
    *,
    after_batch: Callable[[int], None],
) -> None:
    """Write what *found* says (ascending) into *target*: DATA is copied, ZERO zeroed, NOT_PRESENT left alone.

    The target is flushed after every batch; then *after_batch* gets the offset up to which the work is done.
    """
    for batch in batches(_place_zeros(found, target)):
        place(batch, sources, target)
        target.flush()
        after_batch(batch[-1].extent.end)
    target.flush()


def _place_zeros(found: Iterable[Found], target: Image) -> Iterator[Found]:
    for piece in found:
        if piece.extent.presence is Presence.ZERO:
            # Not to be skipped: it masks whatever the target or its parents hold there.
            target.zero(piece.extent.offset, piece.extent.length)
        elif piece.extent.presence is Presence.DATA:
            yield piece


def batches(found: Iterable[Found], limit: int = ALLOCATE_LIMIT) -> Iterator[list[Found]]:
    """DATA in lists of *limit* bytes at most; what is longer is cut."""
    batch: list[Found] = []
    room = limit
    for piece in found:
        layer, rest = piece
        if rest.length < room:
            batch.append(piece)
            room -= rest.length
            continue
        while rest.length:
            part = rest._replace(length=min(rest.length, room))
            batch.append(Found(layer, part))
            room -= part.length
            rest = _behind(rest, part.length)
            if not room:
                yield batch
                batch, room = [], limit
    if batch:
        yield batch


def _behind(extent: Extent, length: int) -> Extent:
    assert extent.file_offset is not None
    return Extent(extent.offset + length, extent.length - length, extent.presence, extent.file_offset + length)


def place(batch: Sequence[Found], sources: Sequence[Readable], target: Image) -> None:
    """Copy one batch of DATA into *target*."""
    with target.allocate([Range(extent.offset, extent.length) for _, extent in batch]) as places:
        moves: dict[int, list[Move]] = {}
        for layer, move in _moves(batch, places):
            moves.setdefault(layer, []).append(move)
        for layer, wanted in moves.items():
            transfer.copy(sources[layer].storage, target.storage, wanted)


def _moves(batch: Sequence[Found], places: Sequence[Extent]) -> Iterator[tuple[int, Move]]:
    """Pair two lists of extents that cover the same ranges of the disk, cut differently."""
    remaining = iter(places)
    place = next(remaining)
    for layer, extent in batch:
        at = extent.offset
        while at < extent.end:
            while place.end <= at:
                place = next(remaining)
            assert extent.file_offset is not None
            assert place.file_offset is not None
            stop = min(extent.end, place.end)
            source, goal = extent.file_offset + at - extent.offset, place.file_offset + at - place.offset
            yield layer, Move(source, goal, stop - at)
            at = stop
