"""The map of full blocks that blktap keeps behind the block table of a VHD: a header of one sector, then bits.

A set bit says that a block is allocated and that all of its sectors are here; blktap's programs believe it over the
block's own sector bitmap. Bits count from the most significant one. The version of the creator promises the map: a
file that has none then is refused by them. No specification tells of it but blktap's own sources.
"""

from dataclasses import dataclass

from construct import Bytes, Int32ub, Int64ub, Struct

from vhdx.format.record import Record
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR
from vhdx.format.vhd_footer import Footer

COOKIE = b"tdbatmap"
LATEST = 0x00010002
_SIGNED = 0x00010001
"""The version whose checksum counts bytes from 128 on as negative."""
_MAKER = b"tap"
_BEFORE_MAPS = 0x00000001
_ALWAYS, _OTHERS = 0x00010002, 0x00020000
_HIGH = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class BatmapHeader:
    """Where the bits are: a byte offset, a number of sectors; and their checksum."""

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
    """Whether such a batmap in the file is valid."""
    return footer.is_dynamic and footer.creator.startswith(_MAKER) and footer.creator_version > _BEFORE_MAPS


def is_promised(footer: Footer) -> bool:
    """Whether blktap refuses the file without one."""
    return is_possible(footer) and _ALWAYS <= footer.creator_version < _OTHERS


def header_place(table_offset: int, max_entries: int) -> int:
    """Where the header is: behind all the entries that the dynamic header counts, in whole sectors."""
    return table_offset + -(-max_entries * ENTRY_SIZE // SECTOR) * SECTOR


def bits_size(blocks: int) -> int:
    """Bytes of the bits of so many blocks, in whole sectors."""
    return -(-blocks // (8 * SECTOR)) * SECTOR


def checksum(bits: bytes | bytearray, version: int) -> int:
    """What the header has to say of *bits*, all of their sectors."""
    total = sum(bits)
    if version == _SIGNED:
        total -= 256 * (len(bits) - len(bits.translate(None, _HIGH)))
    return ~total & 0xFFFFFFFF
