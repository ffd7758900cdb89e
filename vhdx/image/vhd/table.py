"""The block table of an open VHD: entries read on demand in pieces, changes staged by the sector."""

import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator

from vhdx.extents import Range
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED, VhdLayout
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_PIECE = 64 << 10
_KEPT = 128
_UNUSED_RUN = re.compile(b"\xff*")
_UNUSED_ENTRY = b"\xff" * ENTRY_SIZE


class VhdTable:
    """Entries are verified when they are used, so one bad entry does not hide the rest of a disk from readers.

    *taken* is what no block may lie on: headers and the table itself.
    """

    def __init__(self, storage: Storage, layout: VhdLayout, offset: int, taken: list[Range]) -> None:
        self._storage = storage
        self._taken = [(other.offset, other.end) for other in (*taken, Range(offset, layout.blocks * ENTRY_SIZE))]
        self._span = layout.span
        self.bitmap_size = layout.bitmap_size
        self._file_size = 0  # as it was last looked up
        self._pieces: OrderedDict[int, bytearray] = OrderedDict()
        self._staged: dict[int, bytearray] = {}
        self._committing: dict[int, bytearray] = {}
        self.layout = layout
        self.offset = offset

    def place(self, block: int) -> int | None:
        """Where a block lies in the file, bitmap first; None for one that does not. Raises FormatError."""
        piece, within = self._piece(block * ENTRY_SIZE)
        raw = int.from_bytes(piece[within : within + ENTRY_SIZE], "big")
        if raw == UNUSED:
            return None
        start = raw * SECTOR
        end = start + self._span
        if end > self._file_size:
            self._file_size = self._storage.size()
        if end > self._file_size:
            reason = f"the block at {start} extends beyond end of file at {self._file_size}"
            raise vhd_bat.fault(block, self.offset, reason)
        for first, behind in self._taken:
            if start < behind and first < end:
                raise vhd_bat.fault(block, self.offset, f"the block at {start} lies on a header or the table")
        return start

    def unused_run(self, block: int, end: int) -> int:
        """How many blocks from *block* on, before *end*, have no place; found without a loop over them."""
        first = block
        while block < end:
            piece, within = self._piece(block * ENTRY_SIZE)
            stop = min(within + (end - block) * ENTRY_SIZE, len(piece))
            match = _UNUSED_RUN.match(piece, within, stop)
            block += (match.end() - within) // ENTRY_SIZE if match else 0
            if match is None or match.end() < stop:
                break
        return block - first

    def set_place(self, block: int, place: int | None) -> None:
        """Stage where a block lies."""
        entry = _UNUSED_ENTRY if place is None else (place // SECTOR).to_bytes(ENTRY_SIZE, "big")
        number, within = divmod(block * ENTRY_SIZE, SECTOR)
        piece, at = self._piece(block * ENTRY_SIZE)
        piece[at : at + ENTRY_SIZE] = entry
        if number not in self._staged:
            self._staged[number] = piece[at - within : at - within + SECTOR]
        self._staged[number][within : within + ENTRY_SIZE] = entry

    def freeze(self) -> list[tuple[int, bytes]]:
        """The sectors of the commit that begins, each whole or not at all there afterwards.

        What is staged from here on is for the next one. Those of a commit that was broken off come along.
        """
        self._committing = {**self._committing, **self._staged}
        self._staged = {}
        found = sorted(self._committing.items())
        return [(self.offset + number * SECTOR, bytes(data)) for number, data in found]

    def settle(self) -> None:
        """The sectors of the commit are written."""
        self._committing.clear()

    @property
    def staged_size(self) -> int:
        """Bytes of memory that staged sectors take."""
        return (len(self._staged) + len(self._committing)) * SECTOR

    def _piece(self, at: int) -> tuple[bytearray, int]:
        number, within = divmod(at, _PIECE)
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._load(number)
        else:
            self._pieces.move_to_end(number)
        return piece, within

    def _load(self, number: int) -> bytearray:
        start = number * _PIECE
        wanted = min(_PIECE, self.layout.table_size - start)
        # Only the padding behind the last entry can be cut off: the entries were found to be inside the file.
        there = min(wanted, max(self._storage.size() - self.offset - start, 0))
        piece = bytearray(pread(self._storage, self.offset + start, there)).ljust(wanted, b"\xff")
        for sector in range(start // SECTOR, (start + wanted) // SECTOR):
            staged = self._staged.get(sector) or self._committing.get(sector)
            if staged is not None:
                piece[sector * SECTOR - start : (sector + 1) * SECTOR - start] = staged
        self._pieces[number] = piece
        if len(self._pieces) > _KEPT:
            self._pieces.popitem(last=False)
        return piece

    def scan(self) -> Iterator[tuple[int, "array[int]"]]:
        """The entries as they are in the file, in pieces: number of the first block, entries."""
        length = self.layout.blocks * ENTRY_SIZE
        for at in range(0, length, 1 << 20):
            piece = pread(self._storage, self.offset + at, min(1 << 20, length - at))
            if piece.count(0xFF) != len(piece):
                yield at // ENTRY_SIZE, vhd_bat.decode_entries(piece)
