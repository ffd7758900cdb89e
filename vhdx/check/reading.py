"""Long ranges of a file, many requests in flight at once, a bounded part of them in memory."""

from collections.abc import Iterator

from vhdx.extents import Range
from vhdx.storage.base import Storage
from vhdx.storage.transfer import BUFFER, PIECE, allocated, preads


def pieces(storage: Storage, place: Range) -> Iterator[tuple[int, bytes]]:
    """A range inside the file, in order, in pieces of at most 1 MiB: (offset, bytes)."""
    for start in range(place.offset, place.end, BUFFER):
        end = min(start + BUFFER, place.end)
        wanted = [(at, min(PIECE, end - at)) for at in range(start, end, PIECE)]
        yield from zip((at for at, _ in wanted), preads(storage, wanted), strict=True)


def is_blank(storage: Storage, place: Range) -> bool:
    """Whether all bytes of a range inside the file are zero; all of it is read but the holes."""
    zeros, blank = bytes(PIECE), True
    for part in allocated(storage, place.offset, place.length):
        for _, data in pieces(storage, part):
            blank = blank and data == zeros[: len(data)]
    return blank
