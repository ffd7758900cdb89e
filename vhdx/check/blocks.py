"""Checks of the BAT, sector bitmaps and payload blocks of a VHDX (MS-VHDX 2.5).

Holes and zeros in the table cost almost nothing, so the cost depends on the allocated space, not on the disk size.
"""

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from vhdx.check.finding import MOST_OF_A_CODE, MOST_OF_ALL, Finding, counted, found
from vhdx.check.metadata import CheckedDisk
from vhdx.check.reading import pieces
from vhdx.check.regions import Regions
from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.bat import BITMAP_BLOCK_SIZE, ENTRY_SIZE, BatLayout, BitmapState, PayloadState
from vhdx.format.bat import file_offset as place_of
from vhdx.format.bat import state as state_of
from vhdx.format.header import AREA
from vhdx.image.places import MIB, PlaceOwner, Places
from vhdx.storage.base import Storage
from vhdx.storage.transfer import PIECE, allocated, pread

_RESERVED = 0xFFFF8
_NOT_PLACE = 0xFFFFF
_FULLY_PRESENT = int(PayloadState.FULLY_PRESENT)
_DRAFT_UNMAPPED = 5
_FEW_BLOCKS = 16


def scan(view: Storage, region: Range) -> Iterator[tuple[int, int]]:
    """Every nonzero entry in the region: (index, raw). Holes of the file are not read."""
    blank = bytes(PIECE)
    for piece in allocated(view, region.offset, region.length):
        # A damaged region table may give a misaligned region.
        start = piece.offset - (piece.offset - region.offset) % ENTRY_SIZE
        end = min(piece.end + (region.offset - piece.end) % ENTRY_SIZE, region.end)
        for at, data in pieces(view, Range(start, end - start)):
            if data == blank[: len(data)]:
                continue
            entries = array("Q", data)
            if sys.byteorder == "big":
                entries.byteswap()
            first = (at - region.offset) // ENTRY_SIZE
            yield from ((first + number, raw) for number, raw in enumerate(entries) if raw)


@dataclass(slots=True)
class Table:
    """One pass over the BAT of a file, and its totals."""

    view: Storage
    region: Range
    disk: CheckedDisk
    size: int
    places: Places
    present: int = 0
    placed: int = 0
    breaks: int = 0
    undefined: int = 0
    empty: int = 0
    full: int = 0
    _end: int = 0
    _chunk: int = 0
    _partial: "array[int]" = field(default_factory=lambda: array("Q"))
    _overlapping: dict[int, Range] = field(default_factory=dict)
    _overlaps: int = 0

    @property
    def layout(self) -> BatLayout:
        return self.disk.layout

    def at(self, index: int) -> int:
        """File offset of entry *index*."""
        return self.region.offset + index * ENTRY_SIZE

    def findings(self) -> Iterator[Finding]:
        """Findings of each entry, then of the totals."""
        layout = self.layout
        needed = layout.entries * ENTRY_SIZE
        if needed > self.region.length:
            message = (
                f"{layout.entries} entries need {needed} bytes, but the region has {self.region.length}; "
                "the disk size or block size is wrong"
            )
            yield found("bat-too-small", self.region.offset, message)
            return
        ratio, blocks = layout.chunk_ratio, layout.payload_blocks
        for index, raw in scan(self.view, Range(self.region.offset, needed)):
            chunk, within = divmod(index, ratio + 1)
            if chunk != self._chunk:
                yield from self._settle(None)
                self._chunk = chunk
            if within == ratio:
                yield from self._bitmap(index, raw)
                continue
            # Nearly all entries of a large disk are of this kind, and valid.
            usual = raw & _NOT_PLACE == _FULLY_PRESENT and index - chunk < blocks
            if not usual or not self._present(index, raw - _FULLY_PRESENT):
                yield from self._payload(index, raw)
            if self._overlaps > MOST_OF_ALL:
                break
        yield from self._settle(None)
        yield from self._shared(needed)
        rest = scan(self.view, Range(self.region.offset + needed, self.region.length - needed))
        for index, raw in islice(rest, 1):
            last = layout.entries - 1
            message = f"entry {last + 1 + index} is {raw:#018x}, but the table ends with entry {last}"
            yield found("bat-padding", self.at(last + 1 + index), message)
        yield from self._sums()

    def _present(self, index: int, offset: int) -> bool:
        """Count a fully present block if its file range may be valid; otherwise return False."""
        length = self.disk.layout.block_size
        end = offset + length
        if offset < AREA or end > self.size:
            return False
        before = self.places.take(offset, length, PlaceOwner.BLOCK)
        if before is PlaceOwner.STRUCTURE:
            return False
        if before is not PlaceOwner.FREE:
            self._note(index, Range(offset, length))
        self.present += 1
        self.placed += 1
        self.breaks += offset != self._end
        self._end = end
        return True

    def _payload(self, index: int, raw: int) -> Iterator[Finding]:
        layout, state, offset, at = self.layout, state_of(raw), place_of(raw), self.at(index)
        block = index - index // (layout.chunk_ratio + 1)
        if block >= layout.payload_blocks:
            message = f"entry {index} is {raw:#018x}, but the disk ends with block {layout.payload_blocks - 1}"
            yield found("bat-beyond-disk", at, message)
            return
        what = f"block {block} (entry {index}, {raw:#018x})"
        if raw & _RESERVED:
            yield found("bat-reserved-bits", at, f"{what}: reserved bits are set")
        match state:
            case PayloadState.NOT_PRESENT if offset:
                yield found("bat-absent-with-place", at, f"{what}: not present, but has a file offset")
            case PayloadState.ZERO if offset:
                message = f"{what}: a zero block has a file offset, which Windows cannot read"
                yield found("bat-zero-with-place", at, message)
            case PayloadState.NOT_PRESENT | PayloadState.ZERO:
                pass
            case PayloadState.UNDEFINED | PayloadState.UNMAPPED:
                self.undefined += state == PayloadState.UNDEFINED
                if offset:
                    yield from self._block(what, index, offset)
            case PayloadState.FULLY_PRESENT | PayloadState.PARTIALLY_PRESENT:
                self.present += 1
                if state == PayloadState.PARTIALLY_PRESENT:
                    yield from self._partially(block, what, at)
                if offset:
                    yield from self._block(what, index, offset)
                else:
                    yield found("bat-no-place", at, f"{what}: present, but has no file offset")
            case _:
                hint = " (unmapped in drafts of the format)" if state == _DRAFT_UNMAPPED else ""
                yield found("bat-state", at, f"{what}: state {state} is undefined{hint}")

    def _partially(self, block: int, what: str, at: int) -> Iterator[Finding]:
        if self.layout.has_parent:
            self._partial.append(block)
        else:
            message = f"{what}: partially present, but there is no parent"
            yield found("bat-partial-without-parent", at, message)

    def _block(self, what: str, index: int, offset: int) -> Iterator[Finding]:
        yield from self._take(what, index, Range(offset, self.layout.block_size), PlaceOwner.BLOCK)
        self.placed += 1
        self.breaks += offset != self._end
        self._end = offset + self.layout.block_size

    def _bitmap(self, index: int, raw: int) -> Iterator[Finding]:
        at, offset, chunk = self.at(index), place_of(raw), index // (self.layout.chunk_ratio + 1)
        what = f"the sector bitmap of chunk {chunk} (entry {index}, {raw:#018x})"
        if raw & _RESERVED:
            yield found("bat-reserved-bits", at, f"{what}: reserved bits are set")
        state = state_of(raw)
        usable: Range | None = None
        if state == BitmapState.PRESENT:
            if not self.layout.has_parent:
                yield found("bat-bitmap-without-parent", at, f"{what}: present, but there is no parent")
            if offset:
                usable = Range(offset, BITMAP_BLOCK_SIZE)
                overlaps = self._overlaps
                problems = list(self._take(what, index, usable, PlaceOwner.BITMAP))
                yield from problems
                if problems or self._overlaps > overlaps:
                    # Its bits would belong to another structure.
                    self._partial = array("Q")
            else:
                yield found("bat-no-place", at, f"{what}: present, but has no file offset")
        elif state != BitmapState.NOT_PRESENT:
            yield found("bat-bitmap-state", at, f"{what}: state {state} is undefined for a sector bitmap")
        elif offset:
            yield found("bat-absent-with-place", at, f"{what}: not present, but has a file offset")
        yield from self._settle(usable)

    def _settle(self, bitmap: Range | None) -> Iterator[Finding]:
        """At the end of a chunk: check its partially present blocks against their bits."""
        partial, self._partial = self._partial, array("Q")
        if not partial:
            return
        if bitmap is None:
            index = self.layout.bitmap_index(self._chunk)
            message = (
                f"{counted(len(partial), 'partially present block')} in chunk {self._chunk}, first block "
                f"{partial[0]}, but entry {index} has no sector bitmap"
            )
            yield found("bat-bitmap-missing", self.at(index), message)
            return
        bits = pread(self.view, bitmap.offset, bitmap.length)
        for block in partial:
            yield from self._bits(block, bits, bitmap.offset)

    def _bits(self, block: int, bits: bytes, at: int) -> Iterator[Finding]:
        layout = self.layout
        start = layout.bitmap_place(block)
        value = int.from_bytes(bits[start : start + layout.bitmap_bytes], "little")
        size = min(layout.block_size, layout.virtual_size - block * layout.block_size)
        inside = (1 << size // layout.logical_sector_size) - 1
        if value & ~inside:
            message = f"block {block}: bits are set for sectors beyond end of disk"
            yield found("bitmap-beyond-disk", at + start, message)
        self.empty += not value & inside
        self.full += value & inside == inside

    def _take(self, what: str, index: int, place: Range, owner: PlaceOwner) -> Iterator[Finding]:
        at, where = self.at(index), f"{what}: range of {place.length} bytes at {place.offset}"
        if place.end > self.size:
            if owner is not PlaceOwner.BLOCK or place.offset + bat.covered(self.layout, index) > self.size:
                message = f"{where} extends beyond end of file at {self.size}; the file is truncated"
                yield found("bat-beyond-end", at, message)
                return
            message = f"{where} extends beyond end of file at {self.size}, but its part of the disk does not"
            yield found("bat-last-block-short", at, message)
        before = self.places.take(place.offset, place.length, owner)
        if before is PlaceOwner.STRUCTURE or place.offset < AREA:
            yield found("bat-in-structure", at, f"{where} overlaps the log or a region; do not write to this image")
        elif before is not PlaceOwner.FREE:
            self._note(index, place)

    def _note(self, index: int, place: Range) -> None:
        self._overlaps += 1
        if len(self._overlapping) < MOST_OF_A_CODE:
            self._overlapping[index] = place

    def _shared(self, needed: int) -> Iterator[Finding]:
        """Blocks and bitmaps that overlap an earlier one, each with the name of that one.

        Finding the names takes another pass over the table, so one pass serves all.
        """
        if not self._overlapping:
            return
        entries = scan(self.view, Range(self.region.offset, needed))
        others = bat.sharers(entries, self.layout, self._overlapping)
        for index, place in self._overlapping.items():
            what, other = bat.owner(self.layout, index), others[index]
            message = (
                f"{what} (entry {index}): range of {place.length} bytes at {place.offset} overlaps "
                f"{bat.owner(self.layout, other)} (entry {other}); do not write to this image"
            )
            yield found("bat-overlap", self.at(index), message)
        for _ in range(self._overlaps - len(self._overlapping)):
            yield found("bat-overlap", None, "another block overlaps an earlier one")

    def _sums(self) -> Iterator[Finding]:
        layout, at = self.layout, self.region.offset
        if self.undefined:
            yield found("bat-undefined", at, f"{counted(self.undefined, 'undefined block')}, read as zeros")
        if self.empty:
            yield found("bitmap-empty", at, f"{counted(self.empty, 'partially present block')} with no sector present")
        if self.full:
            yield found("bitmap-full", at, f"{counted(self.full, 'partially present block')} with all sectors present")
        if self.disk.fixed and self.present < layout.payload_blocks:
            missing = counted(layout.payload_blocks - self.present, "block")
            yield found("bat-fixed-unallocated", at, f"{missing} of {layout.payload_blocks} not allocated")
        if self.placed > _FEW_BLOCKS and self.breaks > self.placed // 2:
            message = f"{self.breaks} of {self.placed} blocks do not follow the preceding block"
            yield found("blocks-fragmented", at, message)


def check_blocks(view: Storage, regions: Regions, disk: CheckedDisk, places: Places) -> Iterator[Finding]:
    """Check the BAT and the file ranges that it allocates; *places* is filled."""
    assert regions.bat is not None
    size = view.size()
    places.take(0, AREA, PlaceOwner.STRUCTURE)
    for _, place in regions.places:
        places.take(place.offset, place.length, PlaceOwner.STRUCTURE)
    yield from Table(view, regions.bat, disk, size, places).findings()
    layout = disk.layout
    least = AREA + sum(place.length for _, place in regions.places) + layout.payload_blocks * layout.block_size
    if disk.fixed and size < least:
        message = f"the file has {size} bytes; the structures and all blocks of the fixed disk need {least}"
        yield found("fixed-file-short", None, message)


def check_space(view: Storage, disk: CheckedDisk, places: Places) -> Iterator[Finding]:
    """Unreferenced space in the file; *places* are those that `check_blocks` found in use."""
    unused = view.size() // MIB * MIB - places.taken
    if unused > 0:
        remedy = "" if disk.fixed else "; compacting frees them"
        yield found("space-unused", None, f"{unused} bytes of the file are not referenced{remedy}")
