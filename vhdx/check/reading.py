"""Reads of long file ranges, with many requests in flight and bounded memory."""

from collections.abc import Iterator

from vhdx.extents import Range
from vhdx.storage.base import Storage
from vhdx.storage.transfer import BUFFER, PIECE, allocated, preads


def pieces(storage: Storage, place: Range) -> Iterator[tuple[int, bytes]]:
    """The content of a range, in order, in pieces of at most 1 MiB: (offset, bytes)."""
    for start in range(place.offset, place.end, BUFFER):
        end = min(start + BUFFER, place.end)
        wanted = [(at, min(PIECE, end - at)) for at in range(start, end, PIECE)]
        yield from zip((at for at, _ in wanted), preads(storage, wanted), strict=True)


def is_blank(storage: Storage, place: Range) -> bool:
    """Whether all bytes of a range are zero; holes are not read."""
    zeros, blank = bytes(PIECE), True
    for part in allocated(storage, place.offset, place.length):
        for _, data in pieces(storage, part):
            blank = blank and data == zeros[: len(data)]
    return blank
