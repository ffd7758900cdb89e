"""Which parts of a file belong to what, a byte for every MiB that is taken; made only where something lies."""

from enum import IntEnum

from vhdx.extents import spans

MIB = 1 << 20
_PAGE = 1 << 16
"""MiB that are noted together."""


class PlaceOwner(IntEnum):
    """What a MiB belongs to."""

    FREE = 0
    STRUCTURE = 1
    BITMAP = 2
    BLOCK = 3


class Places:
    """Offsets and lengths in whole MiB."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def take(self, offset: int, length: int, owner: PlaceOwner) -> PlaceOwner:
        """Give what is free of a range to *owner*; the result is what the first part of it belonged to that was not."""
        mark = bytes((owner,))
        first, count = offset // MIB, -(-length // MIB)
        within = first % _PAGE
        parts = list(spans(first, count, _PAGE)) if within + count > _PAGE else [(first // _PAGE, within, count)]
        before = PlaceOwner.FREE
        for number, within, count in parts:
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = bytearray(_PAGE)
            if page.count(0, within, within + count) == count:
                page[within : within + count] = mark * count
                continue
            part = page[within : within + count]
            before = before or PlaceOwner(part.lstrip(b"\0")[0])
            page[within : within + count] = part.replace(b"\0", mark)
        return before

    @property
    def taken(self) -> int:
        """Bytes that belong to something."""
        return sum(_PAGE - page.count(0) for page in self._pages.values()) * MIB

    @property
    def end(self) -> int:
        """Where the last range that is taken ends."""
        if not self._pages:
            return 0
        last = max(self._pages)
        return (last * _PAGE + len(self._pages[last].rstrip(b"\0"))) * MIB
