"""A block table with unreadable parts, read in pieces through a bounded cache."""

import re
import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

from vhdx.extents import Range
from vhdx.salvage.medium import Medium

_PIECE = 64 << 10
_KEPT = 128
_CODES = {4: "I", 8: "Q"}


class Entries:
    """*count* entries of *size* bytes at *offset*; an entry whose bytes are all *blank* is unused."""

    def __init__(
        self, medium: Medium, offset: int, count: int, *, size: int, order: Literal["little", "big"], blank: bytes
    ) -> None:
        self._medium = medium
        self._size = size
        self._order: Literal["little", "big"] = order
        self._blank = blank
        self._run = re.compile(re.escape(blank) + b"*")
        self._pieces: OrderedDict[int, tuple[bytes, list[Range]]] = OrderedDict()
        self.place = Range(offset, count * size)
        self.unused = int.from_bytes(blank * size)

    def _piece(self, number: int) -> tuple[bytes, list[Range]]:
        """Bytes of a piece and its lost ranges, relative to the start of the table."""
        piece = self._pieces.get(number)
        if piece is None:
            start = number * _PIECE
            length = min(_PIECE, self.place.length - start)
            data, bad = self._medium.read(self.place.offset + start, length)
            piece = data, [Range(lost.offset - self.place.offset, lost.length) for lost in bad]
            self._pieces[number] = piece
            if len(self._pieces) > _KEPT:
                self._pieces.popitem(last=False)
        else:
            self._pieces.move_to_end(number)
        return piece

    def run(self, index: int, stop: int) -> tuple[int, int | None]:
        """Length and value of a run of equal entries from *index* to before *stop*; a run may be split.

        The value None means lost. Only unused and lost entries form runs.
        """
        at, end = index * self._size, stop * self._size
        number = at // _PIECE
        data, bad = self._piece(number)
        start = number * _PIECE
        end = min(end, start + len(data))
        for lost in bad:
            if lost.offset < at + self._size and at < lost.end:
                return max((min(lost.end, end) - at) // self._size, 1), None
            if lost.offset >= at + self._size:
                end = min(end, lost.offset // self._size * self._size)
                break
        match = self._run.match(data, at - start, end - start)
        blank = (match.end() - (at - start)) // self._size if match else 0
        if blank:
            return blank, self.unused
        return 1, int.from_bytes(data[at - start : at - start + self._size], self._order)

    def used(self) -> Iterator[tuple[int, int]]:
        """Every readable entry that is in use: (index, raw)."""
        there = min(max(self._medium.end - self.place.offset, 0), self.place.length)
        for number in range(-(-there // _PIECE)):
            data, bad = self._piece(number)
            if data.count(self._blank) == len(data):
                continue
            entries = array(_CODES[self._size], data)
            if sys.byteorder != self._order:
                entries.byteswap()
            first = number * _PIECE // self._size
            for index, raw in enumerate(entries, first):
                if raw != self.unused and not (bad and self._lost(index, bad)):
                    yield index, raw

    def _lost(self, index: int, bad: list[Range]) -> bool:
        at = index * self._size
        return any(lost.offset < at + self._size and at < lost.end for lost in bad)
