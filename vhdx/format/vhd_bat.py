"""Layout of the block allocation table and sector bitmaps of a VHD (VHD 1.0).

An entry is the sector number of a block: first its sector bitmap, in whole sectors, then its data. Bitmaps in the file
start at the most significant bit of each byte; bitmaps returned here start at the least significant one, as in
`vhdx.extents`.
"""

import sys
from array import array
from dataclasses import dataclass

from vhdx.errors import FormatError
from vhdx.extents import Range

SECTOR = 512
ENTRY_SIZE = 4
UNUSED = 0xFFFFFFFF
LARGEST_FILE = UNUSED * SECTOR
"""No block can begin after this sector."""

_SECTION = "VHD 1.0 block allocation table"
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class VhdLayout:
    """The block layout of one disk; sizes in bytes."""

    virtual_size: int
    block_size: int
    has_parent: bool

    @property
    def blocks(self) -> int:
        return -(-self.virtual_size // self.block_size)

    @property
    def sectors_per_block(self) -> int:
        return self.block_size // SECTOR

    @property
    def bitmap_size(self) -> int:
        """Bytes of the sector bitmap before the data of a block."""
        return -(-self.sectors_per_block // (8 * SECTOR)) * SECTOR

    @property
    def span(self) -> int:
        """Bytes of a block and its bitmap."""
        return self.bitmap_size + self.block_size

    @property
    def table_size(self) -> int:
        """Bytes of the table, padded to whole sectors."""
        return -(-self.blocks * ENTRY_SIZE // SECTOR) * SECTOR


def reverse_bits(bitmap: bytes | bytearray) -> bytes:
    """Reverse the bit order of each byte: from the file's order to this package's, or back."""
    return bytes(bitmap).translate(_REVERSED)


def decode_entries(data: bytes) -> "array[int]":
    """Table entries as an array of integers."""
    entries = array("I", data)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def fault(block: int, table_offset: int, reason: str) -> FormatError:
    """The error for the entry of *block*."""
    return FormatError(f"block table entry {block}", table_offset + block * ENTRY_SIZE, reason, _SECTION)


def verify_table(offset: int, layout: VhdLayout, *, max_entries: int, file_size: int, taken: list[Range]) -> Range:
    """The file range of the entries. Raises FormatError if too few, beyond end of file or overlapping *taken*."""
    place = Range(offset, layout.blocks * ENTRY_SIZE)
    reason = ""
    if max_entries < layout.blocks:
        reason = f"{max_entries} entries are too few for the {layout.blocks} blocks of the disk"
    elif place.end > file_size:
        reason = f"its {place.length} bytes extend beyond end of file at {file_size}"
    elif any(place.offset < other.end and other.offset < place.end for other in taken):
        reason = f"its {place.length} bytes overlap a header"
    if reason:
        raise FormatError("block table", offset, reason, _SECTION)
    return place
