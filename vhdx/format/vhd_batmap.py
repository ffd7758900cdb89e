"""The batmap that blktap stores after the block table of a VHD: a header of one sector, then one bit per block.

A set bit means that the block is allocated and all of its sectors are present; blktap's programs trust it over the
block's sector bitmap. Bits start at the most significant one. From a certain creator version on, blktap's programs
refuse a file without a batmap. Only blktap's sources document it.
"""

from dataclasses import dataclass

from construct import Bytes, Int32ub, Int64ub, Struct

from vhdx.format.record import Record
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR
from vhdx.format.vhd_footer import Footer

COOKIE = b"tdbatmap"
LATEST = 0x00010002
_SIGNED = 0x00010001
"""The version whose checksum treats bytes as signed."""
_MAKER = b"tap"
_BEFORE_MAPS = 0x00000001
_ALWAYS, _OTHERS = 0x00010002, 0x00020000
_HIGH = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class BatmapHeader:
    """Location of the bits (byte offset, number of sectors) and their checksum."""

    cookie: bytes
    offset: int
    sectors: int
    version: int
    checksum: int


HEADER: Record[BatmapHeader] = Record(
    BatmapHeader,
    Struct(
        "cookie" / Bytes(8), "offset" / Int64ub, "sectors" / Int32ub, "version" / Int32ub, "checksum" / Int32ub
    ),
    structure="batmap",
    section="blktap",
)


def is_possible(footer: Footer) -> bool:
    """Whether the file may have a batmap."""
    return footer.is_dynamic and footer.creator.startswith(_MAKER) and footer.creator_version > _BEFORE_MAPS


def is_promised(footer: Footer) -> bool:
    """Whether blktap refuses the file without one."""
    return is_possible(footer) and _ALWAYS <= footer.creator_version < _OTHERS


def header_place(table_offset: int, max_entries: int) -> int:
    """Offset of the batmap header: after *max_entries* entries, sector-aligned."""
    return table_offset + -(-max_entries * ENTRY_SIZE // SECTOR) * SECTOR


def bits_size(blocks: int) -> int:
    """Bytes of the bits of *blocks* blocks, in whole sectors."""
    return -(-blocks // (8 * SECTOR)) * SECTOR


def checksum(bits: bytes | bytearray, version: int) -> int:
    """The checksum of *bits* (whole sectors) as the header stores it."""
    total = sum(bits)
    if version == _SIGNED:
        total -= 256 * (len(bits) - len(bits.translate(None, _HIGH)))
    return ~total & 0xFFFFFFFF
