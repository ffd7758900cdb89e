"""The dynamic disk header of a VHD: block table, block size, parent (VHD 1.0)."""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from construct import Bytes, Const, Int32ub, Int64ub, Padding, Struct

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.format import vhd_checksum, vhd_locator
from vhdx.format.record import Record
from vhdx.format.vhd_footer import NO_OFFSET, UniqueId
from vhdx.format.vhd_locator import LocatorPlace

HOME = 512
"""Offset of the header in every new file."""
SMALLEST_BLOCK, LARGEST_BLOCK = 4096, 256 << 20
NO_PARENT = UUID(int=0)

_SECTION = "VHD 1.0 dynamic disk header"
_CHECKSUM = 36
_VERSION = 0x00010000


@dataclass(frozen=True, slots=True)
class DynamicHeader:
    """One dynamic header; *locators* and *parent_name* are undecoded (see `vhd_locator`)."""

    table_offset: int
    version: int
    max_entries: int
    block_size: int
    parent_id: UUID = NO_PARENT
    parent_timestamp: int = 0
    parent_name: bytes = bytes(vhd_locator.NAME_SIZE)
    locators: bytes = bytes(vhd_locator.TABLE_SIZE)
    data_offset: int = NO_OFFSET  # reserved

    @property
    def entries(self) -> list[LocatorPlace]:
        """The parent locators in use."""
        return vhd_locator.parse_entries(self.locators)

    @property
    def locator_places(self) -> list[int]:
        """File offsets of the locators that occupy space. The offset of one without data is meaningless."""
        return [entry.data_offset for entry in self.entries if entry.data_length]


HEADER: Record[DynamicHeader] = Record(
    DynamicHeader,
    Struct(
        "cookie" / Const(b"cxsparse"),
        "data_offset" / Int64ub,
        "table_offset" / Int64ub,
        "version" / Int32ub,
        "max_entries" / Int32ub,
        "block_size" / Int32ub,
        "checksum" / Padding(4),
        "parent_id" / UniqueId(Bytes(16)),
        "parent_timestamp" / Int32ub,
        "reserved" / Padding(4),
        "parent_name" / Bytes(vhd_locator.NAME_SIZE),
        "locators" / Bytes(vhd_locator.TABLE_SIZE),
        "reserved2" / Padding(256),
    ),
    structure="dynamic header",
    section=_SECTION,
)


class HeaderReading(NamedTuple):
    """A parsed header, and whether its checksum is correct."""

    header: DynamicHeader
    sealed: bool


def new_header(
    *, table_offset: int, max_entries: int, block_size: int, parent_id: UUID = NO_PARENT, parent_name: bytes = b""
) -> DynamicHeader:
    """The header of a new image, without locators."""
    name = parent_name.ljust(vhd_locator.NAME_SIZE, b"\0")
    return DynamicHeader(table_offset, _VERSION, max_entries, block_size, parent_id, 0, name)


def build(header: DynamicHeader) -> bytes:
    """The 1024 bytes of a header, checksum included."""
    return vhd_checksum.seal(HEADER.build(header), field=_CHECKSUM)


def parse(data: bytes, offset: int) -> HeaderReading:
    """The header in *data*; *offset* is its file offset.

    A header with a wrong checksum is accepted only if every other field is valid. Raises FormatError,
    UnsupportedFeature.
    """
    header = HEADER.parse(data, offset)
    sealed = vhd_checksum.is_sealed(data[: HEADER.size], field=_CHECKSUM)
    reason = "" if sealed else _oddity(header)
    if reason:
        raise FormatError(HEADER.structure, offset, f"the checksum is wrong and {reason}", _SECTION)
    if header.version >> 16 != 1:
        raise UnsupportedFeature(f"dynamic header at offset {offset}: version {header.version:#x} is not supported")
    reason = block_size_fault(header.block_size)
    if not reason and header.table_offset % 512:
        reason = f"the block table at {header.table_offset} is not sector-aligned"
    if reason:
        raise FormatError(HEADER.structure, offset, reason, _SECTION)
    return HeaderReading(header, sealed)


def block_size_fault(block_size: int) -> str:
    """What is wrong with a block size, or ""."""
    if block_size & (block_size - 1) or not SMALLEST_BLOCK <= block_size <= LARGEST_BLOCK:
        return f"invalid block size {block_size}: must be a power of two from {SMALLEST_BLOCK} to {LARGEST_BLOCK}"
    return ""


def _oddity(header: DynamicHeader) -> str:
    """A field value that makes more than the checksum suspect, or ""."""
    if header.data_offset not in (NO_OFFSET, 0xFFFFFFFF):
        return f"the reserved data offset is {header.data_offset}"
    return "" if header.version == _VERSION else f"the version is {header.version:#x}"
