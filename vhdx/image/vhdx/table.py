"""The block table of an open file: payload entries and sector bitmaps, read and staged through `Pages`."""

import re
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from vhdx.errors import FormatError
from vhdx.extents import Presence, Range, put_bits
from vhdx.format import bat
from vhdx.format.bat import ENTRY_SIZE, BatLayout, BitmapState, PayloadState
from vhdx.image.vhdx.pages import Pages
from vhdx.storage.base import Storage
from vhdx.storage.transfer import allocated, pread

_ZEROS = re.compile(b"\0*")
_SCAN = 1 << 20


class Known(NamedTuple):
    """A decoded entry: the place in the file or what is there instead; the sector bitmap of a partial block."""

    place: int | Presence
    bits: bytes | None


_ABSENT, _ZERO = Known(Presence.NOT_PRESENT, None), Known(Presence.ZERO, None)
_KNOWN_BITMAPS = 8 << 20
"""Bytes of sector bitmaps that the decoded entries may hold."""


class BlockTable:
    """Entries are verified when they are used, so one bad entry does not hide the rest of a disk from readers."""

    def __init__(self, pages: Pages, layout: BatLayout, region: Range) -> None:
        bat.verify_region(layout, region)
        self._pages = pages
        self.layout = layout
        self.region = region
        self.block_size, self.sector_size = layout.block_size, layout.logical_sector_size
        self.virtual_size = layout.virtual_size
        self.known: dict[int, Known] = {}
        self.file_size = 0  # as it was last looked up
        self._most_known = max(_KNOWN_BITMAPS // layout.bitmap_bytes, 64)

    def learn(self, block: int) -> Known:
        """What the table says of a block; kept in `known` until that changes. Raises FormatError."""
        raw = self.payload(block)
        state, place = bat.state(raw), bat.file_offset(raw)
        known: Known
        if state == PayloadState.FULLY_PRESENT:
            known = Known(place, None)
        elif state == PayloadState.PARTIALLY_PRESENT:
            known = Known(place, self.bits(block))
        else:
            known = _ABSENT if state == PayloadState.NOT_PRESENT else _ZERO
        if len(self.known) >= self._most_known:
            self.known.clear()
        self.known[block] = known
        return known

    def payload(self, block: int) -> int:
        """The raw entry of a payload block. Raises FormatError when it breaks a rule."""
        raw = self._raw(self.layout.payload_index(block))
        if raw:
            reason = bat.payload_fault(raw, has_parent=self.layout.has_parent)
            if reason:
                raise bat.fault(self.layout.payload_index(block), self.region, reason)
        return raw

    def _raw(self, index: int) -> int:
        piece, within = self._pages.piece(self.region.offset + index * ENTRY_SIZE)
        if within + ENTRY_SIZE > len(piece):  # cut off while it is open: an entry that is gone says nothing
            raise bat.fault(index, self.region, "the file ends before it")
        return int.from_bytes(piece[within : within + ENTRY_SIZE], "little")

    def verify_inside(self, block: int, offset: int, length: int) -> None:
        """Raises FormatError when a part of *block* that lies at *offset* of the file reaches past its end."""
        self.file_size = self._pages.file_size
        if offset + length > self.file_size:
            reason = f"the file ends at {self.file_size}, before the {length} bytes of the block at {offset}"
            raise bat.fault(self.layout.payload_index(block), self.region, reason)

    def absent_run(self, block: int, end: int) -> int:
        """How many blocks from *block* on, before *end*, have an entry of all zeros; found without a loop over them.

        Holes of the file are not read.
        """
        index = self.layout.payload_index(block)
        last = self.layout.payload_index(end - 1) + 1
        while index < last:
            piece, within = self._pages.piece(self.region.offset + index * ENTRY_SIZE)
            stop = min(within + (last - index) * ENTRY_SIZE, len(piece))
            match = _ZEROS.match(piece, within, stop)
            zeros = (match.end() - within) // ENTRY_SIZE if match else 0
            index += zeros
            if within + zeros * ENTRY_SIZE < stop:
                break
            if index < last:
                start, behind = (self.region.offset + number * ENTRY_SIZE for number in (index, last))
                index = (self._pages.next_data(start, behind) - self.region.offset) // ENTRY_SIZE
        return min(index - index // (self.layout.chunk_ratio + 1), end) - block

    def bits(self, block: int) -> bytes:
        """The sector bitmap of a partially present block. Raises FormatError when the chunk has none."""
        place = self.bitmap_block(self.layout.chunk_of(block))
        if place is None:
            index = self.layout.payload_index(block)
            raise bat.fault(index, self.region, "the block is partially present, yet its chunk has no sector bitmap")
        return self._pages.read(place + self.layout.bitmap_place(block), self.layout.bitmap_bytes)

    def bitmap_block(self, chunk: int) -> int | None:
        """Where the sector-bitmap block of *chunk* lies, or None."""
        index = self.layout.bitmap_index(chunk)
        raw = self._raw(index)
        reason = bat.bitmap_fault(raw)
        if reason:
            raise bat.fault(index, self.region, reason)
        return bat.file_offset(raw) if bat.state(raw) == BitmapState.PRESENT else None

    def set_payload(self, block: int, state: PayloadState, file_offset: int = 0) -> None:
        """Stage a payload entry."""
        self.known.pop(block, None)
        self._stage(self.layout.payload_index(block), bat.entry(state, file_offset))

    def set_bitmap_block(self, chunk: int, file_offset: int) -> None:
        """Stage the entry of a new sector-bitmap block; its MiB must read as zeros."""
        self.known.clear()
        self._stage(self.layout.bitmap_index(chunk), bat.entry(BitmapState.PRESENT, file_offset))

    def clear_bitmap_block(self, chunk: int) -> None:
        """Stage that a chunk has no sector-bitmap block, whatever its entry holds."""
        self.known.clear()
        if self._raw(self.layout.bitmap_index(chunk)):
            self._stage(self.layout.bitmap_index(chunk), 0)

    def _stage(self, index: int, raw: int) -> None:
        self._pages.stage(self.region.offset + index * ENTRY_SIZE, raw.to_bytes(ENTRY_SIZE, "little"))

    def put_bits(self, block: int, sectors: list[Range], *, only: bool) -> bool:
        """Stage set bits for *sectors* of a block; with *only*, all others are cleared. True when all are set then."""
        place = self.bitmap_block(self.layout.chunk_of(block))
        if place is None:
            raise FormatError("BAT", self.region.offset, f"chunk {self.layout.chunk_of(block)} has no sector bitmap")
        bits = bytearray(self.layout.bitmap_bytes) if only else bytearray(self.bits(block))
        for run in sectors:
            put_bits(bits, run.offset, run.length, value=True)
        self.known.pop(block, None)
        self._pages.stage(place + self.layout.bitmap_place(block), bytes(bits))
        size = min(self.layout.block_size, self.layout.virtual_size - block * self.layout.block_size)
        count = size // self.layout.logical_sector_size
        return int.from_bytes(bits, "little") & ((1 << count) - 1) == (1 << count) - 1

    def clear_bits(self, block: int, first: int) -> None:
        """Stage that the bits of *block* from *first* on are clear; its chunk has a sector-bitmap block."""
        place = self.bitmap_block(self.layout.chunk_of(block))
        assert place is not None
        place += self.layout.bitmap_place(block)
        old = self._pages.read(place, self.layout.bitmap_bytes)
        bits = bytearray(old)
        put_bits(bits, first, len(bits) * 8 - first, value=False)
        if bits != old:
            self.known.pop(block, None)
            self._pages.stage(place, bytes(bits))

    def scan(self, storage: Storage) -> Iterator[tuple[int, int]]:
        """Every entry in place that is not all zeros: (index, raw). Holes of the file are not read.

        Reads around the cache, so nothing may be staged.
        """
        blank = bytes(_SCAN)
        length = self.layout.entries * ENTRY_SIZE
        for found in allocated(storage, self.region.offset, length):
            start = found.offset // ENTRY_SIZE * ENTRY_SIZE
            end = min(-(-found.end // ENTRY_SIZE) * ENTRY_SIZE, self.region.offset + length)
            for at in range(start, end, _SCAN):
                piece = pread(storage, at, min(_SCAN, end - at))
                if piece == blank[: len(piece)]:
                    continue
                entries = array("Q", piece)
                if sys.byteorder == "big":
                    entries.byteswap()
                first = (at - self.region.offset) // ENTRY_SIZE
                yield from ((first + number, raw) for number, raw in enumerate(entries) if raw)
