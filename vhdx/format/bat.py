"""The block allocation table: geometry, states, entries (MS-VHDX 2.5).

An entry has 64 bits: State in bits 0 to 2, FileOffsetMB in bits 20 to 63. Tables are handled as
buffers of such integers, never as one value per entry.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from vhdx.errors import FormatError
from vhdx.extents import Range

ENTRY_SIZE = 8
MIB = 1 << 20
BITMAP_BLOCK_SIZE = MIB
_STATE = 0b111
_RESERVED = 0xFFFF8


class PayloadState(IntEnum):
    """States of a payload BAT entry (2.5.1.1)."""

    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


class BitmapState(IntEnum):
    """States of a sector bitmap BAT entry (2.5.1.2)."""

    NOT_PRESENT = 0
    PRESENT = 6


PRESENT = frozenset({PayloadState.FULLY_PRESENT, PayloadState.PARTIALLY_PRESENT})


def entry(state: int, file_offset: int = 0) -> int:
    """The raw entry for a state and a file offset in bytes (a multiple of 1 MiB)."""
    return file_offset | state


def state(raw: int) -> int:
    """The state number of a raw entry, defined or not."""
    return raw & _STATE


def file_offset(raw: int) -> int:
    """The file offset in bytes."""
    return raw >> 20 << 20


def place(raw: int) -> int | None:
    """File offset of the space allocated to a payload entry, or None.

    An unmapped or undefined block may keep its space. The offset of a block that is not present is ignored.
    """
    return file_offset(raw) or None if state(raw) != PayloadState.NOT_PRESENT else None


@dataclass(frozen=True, slots=True)
class BatLayout:
    """Size and layout of the BAT of a disk. Sizes in bytes."""

    virtual_size: int
    block_size: int
    logical_sector_size: int
    has_parent: bool

    @property
    def chunk_ratio(self) -> int:
        """Payload blocks that share one sector-bitmap block."""
        return (self.logical_sector_size << 23) // self.block_size

    @property
    def payload_blocks(self) -> int:
        return -(-self.virtual_size // self.block_size)

    @property
    def chunks(self) -> int:
        return -(-self.payload_blocks // self.chunk_ratio)

    @property
    def bitmap_entries(self) -> int:
        """Entries for sector bitmaps; without a parent the table omits the one of the last chunk."""
        return self.chunks if self.has_parent else self.chunks - 1

    @property
    def entries(self) -> int:
        """Entries that the BAT must have."""
        if self.has_parent:
            return self.chunks * (self.chunk_ratio + 1)
        return self.payload_blocks + self.bitmap_entries

    @property
    def reserved_entries(self) -> int:
        """Entries to reserve: the count of a differencing disk, so that adding a parent moves nothing."""
        return self.chunks * (self.chunk_ratio + 1)

    @property
    def bitmap_bytes(self) -> int:
        """Bytes of sector bitmap per payload block."""
        return BITMAP_BLOCK_SIZE // self.chunk_ratio

    def payload_index(self, block: int) -> int:
        """The entry of payload block *block*."""
        return block + block // self.chunk_ratio

    def bitmap_index(self, chunk: int) -> int:
        """The entry of the sector-bitmap block of *chunk*."""
        return chunk * (self.chunk_ratio + 1) + self.chunk_ratio

    def chunk_of(self, block: int) -> int:
        return block // self.chunk_ratio

    def bitmap_place(self, block: int) -> int:
        """Byte offset of the bits of *block* in its chunk's sector bitmap block."""
        return block % self.chunk_ratio * self.bitmap_bytes


def payload_fault(raw: int, *, has_parent: bool) -> str:
    """The rule that a payload entry alone violates, or ""."""
    number = raw & _STATE
    if raw & _RESERVED:
        return f"reserved bits are set ({raw:#018x})"
    if number in (4, 5):
        return f"state {number} is undefined"
    if number == PayloadState.PARTIALLY_PRESENT and not has_parent:
        return "the block is partially present, but there is no parent"
    if number in PRESENT and raw < MIB:
        return "the block is present, but has no file offset"
    if number == PayloadState.ZERO and raw >= MIB:
        return "a zero block has a file offset"
    return ""


def bitmap_fault(raw: int) -> str:
    """The rule that a sector bitmap entry alone violates, or ""."""
    number = raw & _STATE
    if raw & _RESERVED:
        return f"reserved bits are set ({raw:#018x})"
    if number not in (BitmapState.NOT_PRESENT, BitmapState.PRESENT):
        return f"state {number} is undefined for a sector bitmap"
    if number == BitmapState.PRESENT and raw < MIB:
        return "the bitmap is present, but has no file offset"
    return ""


def verify_region(layout: BatLayout, region: Range) -> None:
    """Verify that the table fits its region. Raises FormatError."""
    needed = layout.entries * ENTRY_SIZE
    if needed > region.length:
        reason = f"{layout.entries} entries need {needed} bytes and the region has {region.length}"
        raise FormatError("BAT", region.offset, reason, "2.5")


def fault(index: int, region: Range, reason: str) -> FormatError:
    """The error for entry *index*."""
    return FormatError("BAT entry", region.offset + index * ENTRY_SIZE, f"entry {index}: {reason}", "2.5.1")


def held(layout: BatLayout, index: int, raw: int) -> Range | None:
    """The file range that an entry allocates to its block or sector bitmap, valid or not."""
    chunk, within = divmod(index, layout.chunk_ratio + 1)
    if within == layout.chunk_ratio:
        at = file_offset(raw) if state(raw) == BitmapState.PRESENT else 0
        return Range(at, BITMAP_BLOCK_SIZE) if at else None
    at = place(raw) or 0 if index - chunk < layout.payload_blocks else 0
    return Range(at, layout.block_size) if at else None


def covered(layout: BatLayout, index: int) -> int:
    """Bytes that the block of entry *index* needs: the last payload block may extend beyond end of disk."""
    chunk, within = divmod(index, layout.chunk_ratio + 1)
    if within == layout.chunk_ratio:
        return BITMAP_BLOCK_SIZE
    block = index - chunk
    return min(layout.block_size, layout.virtual_size - block * layout.block_size)


def owner(layout: BatLayout, index: int) -> str:
    """The block or sector bitmap that an entry belongs to, as text."""
    chunk, within = divmod(index, layout.chunk_ratio + 1)
    return f"the sector bitmap of chunk {chunk}" if within == layout.chunk_ratio else f"block {index - chunk}"


def sharers(entries: Iterable[tuple[int, int]], layout: BatLayout, wanted: Mapping[int, Range]) -> dict[int, int]:
    """For each of the *wanted* entries (index: file range), the first other entry whose file range overlaps it."""
    found: dict[int, int] = {}
    missing = sorted((taken.offset, taken.end, other) for other, taken in wanted.items())
    longest = max((taken.length for taken in wanted.values()), default=0)
    for index, raw in entries:
        mine = held(layout, index, raw)
        if mine is None:
            continue
        first = bisect_left(missing, (mine.offset - longest,))
        last = bisect_left(missing, (mine.end,))
        for offset, end, other in missing[first:last]:
            if other != index and mine.offset < end:
                found[other] = index
                missing.remove((offset, end, other))
        if not missing:
            break
    return found
