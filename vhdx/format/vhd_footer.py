"""The footer of a VHD, at the end of the file and, for dynamic and differencing images, also at its start (VHD 1.0).

All numbers are big-endian. Old files have a footer of 511 bytes, which lacks the final zero.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from construct import Adapter, Bytes, Const, Int8ub, Int16ub, Int32ub, Int64ub, Padding, Struct

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.format import vhd_checksum
from vhdx.format.record import Record
from vhdx.format.vhd_geometry import LARGEST, SECTOR, Geometry, geometry

COOKIE = b"conectix"
POISON = b"v_poison"
"""The cookie that vhd-util writes while a file must not be opened."""
SIZE = 512
OLD_SIZE = 511
NO_OFFSET = (1 << 64) - 1
LARGEST_DISK = 2040 << 30
"""The largest disk that Windows accepts."""
LARGEST_AZURE = 32 << 40
"""The largest fixed data disk that Azure accepts; the size field could hold more."""

_SECTION = "VHD 1.0 footer"
_CHECKSUM = 64
_EPOCH = 946684800  # 2000-01-01 UTC
_VERSION = 0x00010000
_RESERVED_FEATURE = 2
HOSTS = {b"Wi2k": "Windows", b"Mac ": "Macintosh"}
"""Values of the creator host OS field."""
_OWN_CREATOR, _OWN_VERSION, _OWN_HOST = b"win ", 0x000A0000, b"Wi2k"
_CHS_CREATORS = (b"vpc ", b"vs  ", b"qemu")
"""Creators whose files some readers size by the geometry."""


class VhdType(IntEnum):
    """Disk types of the footer."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4

_TYPES = frozenset(map(int, VhdType))


class UniqueId(Adapter):  # type: ignore[misc]
    """A unique id as stored in a VHD: no byte swapping."""

    def _decode(self, obj: bytes, context: object, path: object) -> UUID:  # noqa: ARG002  construct's signature
        return UUID(bytes=bytes(obj))

    def _encode(self, obj: UUID, context: object, path: object) -> bytes:  # noqa: ARG002
        return obj.bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """One footer. *data_offset* is the file offset of the dynamic header, NO_OFFSET in a fixed image."""

    features: int
    version: int
    data_offset: int
    timestamp: int
    creator: bytes
    creator_version: int
    creator_host: bytes
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    unique_id: UUID
    saved_state: int
    reserved: bytes

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.cylinders, self.heads, self.sectors_per_track)

    @property
    def is_dynamic(self) -> bool:
        """Whether the file has a dynamic header and blocks."""
        return self.disk_type in (VhdType.DYNAMIC, VhdType.DIFFERENCING)

    @property
    def creator_text(self) -> str:
        """The creating program, its version and its host, printable."""
        app, host = (_printable(text) for text in (self.creator, self.creator_host))
        return f"{app} v{self.creator_version >> 16}.{self.creator_version & 0xFFFF} {host}".strip()


FOOTER: Record[Footer] = Record(
    Footer,
    Struct(
        "cookie" / Const(COOKIE),
        "features" / Int32ub,
        "version" / Int32ub,
        "data_offset" / Int64ub,
        "timestamp" / Int32ub,
        "creator" / Bytes(4),
        "creator_version" / Int32ub,
        "creator_host" / Bytes(4),
        "original_size" / Int64ub,
        "current_size" / Int64ub,
        "cylinders" / Int16ub,
        "heads" / Int8ub,
        "sectors_per_track" / Int8ub,
        "disk_type" / Int32ub,
        "checksum" / Padding(4),
        "unique_id" / UniqueId(Bytes(16)),
        "saved_state" / Int8ub,
        "reserved" / Bytes(427),
    ),
    structure="footer",
    section=_SECTION,
)


def has_old_bitmaps(footer: Footer) -> bool:
    """Whether a differencing image has sector bitmaps of tapdisk 0.1, which uses another bit order."""
    old = footer.creator.startswith(b"tap") and footer.creator_version == 0x00000001
    return old and footer.disk_type == VhdType.DIFFERENCING


class FooterReading(NamedTuple):
    """A parsed footer, and whether its checksum is correct."""

    footer: Footer
    sealed: bool


def _printable(text: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text.rstrip(b"\0 "))


def timestamp(now: float) -> int:
    """*now* (seconds since 1970-01-01 UTC) as a VHD timestamp: seconds since 2000-01-01 UTC."""
    return max(int(now) - _EPOCH, 0) & 0xFFFFFFFF


def new_footer(kind: VhdType, size: int, unique_id: UUID, *, data_offset: int, stamp: int) -> Footer:
    """The footer of a new image. No reader sizes files of this creator by their geometry."""
    return Footer(
        features=_RESERVED_FEATURE,
        version=_VERSION,
        data_offset=data_offset,
        timestamp=stamp,
        creator=_OWN_CREATOR,
        creator_version=_OWN_VERSION,
        creator_host=_OWN_HOST,
        original_size=size,
        current_size=size,
        cylinders=geometry(size).cylinders,
        heads=geometry(size).heads,
        sectors_per_track=geometry(size).sectors_per_track,
        disk_type=kind,
        unique_id=unique_id,
        saved_state=0,
        reserved=bytes(427),
    )


def build(footer: Footer) -> bytes:
    """The 512 bytes of a footer, checksum included."""
    return vhd_checksum.seal(FOOTER.build(footer), field=_CHECKSUM)


def parse(data: bytes, offset: int) -> FooterReading:
    """The footer in *data* of 512 or 511 bytes; *offset* is its file offset.

    A footer with a wrong checksum is accepted only if every other field is valid. Raises FormatError,
    UnsupportedFeature.
    """
    whole = data.ljust(SIZE, b"\0")
    if whole.startswith(POISON):
        reason = "vhd-util marked the file unsafe during an interrupted change; use vhd-util to revert it"
        raise FormatError(FOOTER.structure, offset, reason, _SECTION)
    footer = FOOTER.parse(whole, offset)
    sealed = vhd_checksum.is_sealed(whole[:SIZE], field=_CHECKSUM)
    reason = "" if sealed else _oddity(footer)
    if reason:
        raise FormatError(FOOTER.structure, offset, f"the checksum is wrong and {reason}", _SECTION)
    if footer.version >> 16 != 1:
        raise UnsupportedFeature(f"footer at offset {offset}: format version {footer.version:#x} is not supported")
    if footer.disk_type not in _TYPES:
        raise UnsupportedFeature(f"footer at offset {offset}: disk type {footer.disk_type} is not supported")
    reason = _fault(footer)
    if reason:
        raise FormatError(FOOTER.structure, offset, reason, _SECTION)
    return FooterReading(footer, sealed)


def _fault(footer: Footer) -> str:
    """The field that makes the disk unreadable, or ""."""
    if not footer.current_size or footer.current_size % SECTOR:
        return f"invalid disk size {footer.current_size}: must be a positive multiple of {SECTOR}"
    if footer.is_dynamic and (footer.data_offset % SECTOR or footer.data_offset < SIZE):
        return f"invalid offset {footer.data_offset} of the dynamic header"
    return ""


def _oddity(footer: Footer) -> str:
    """A field value that makes more than the checksum suspect, or ""."""
    if footer.features not in (_RESERVED_FEATURE, _RESERVED_FEATURE | 1):
        return f"the features are {footer.features:#x}"
    if footer.version != _VERSION:
        return f"the version is {footer.version:#x}"
    if footer.disk_type not in _TYPES:
        return f"the type is {footer.disk_type}"
    if not footer.is_dynamic and footer.data_offset not in (NO_OFFSET, 0xFFFFFFFF):
        return f"a fixed image gives an offset of a dynamic header, {footer.data_offset}"
    if footer.saved_state or any(footer.reserved):
        return "reserved bytes are not zero"
    return _fault(footer) or ("" if footer.geometry.size > 0 else "the geometry is empty")


def is_left_of_fixed(data: bytes, disk: int) -> bool:
    """Whether damaged bytes at the end of a file, after *disk* bytes, were the footer of a fixed disk.

    At least two fields must have the values of that footer: no other footer has both, and guest data hardly ever does.
    """
    if data[16:24] in (NO_OFFSET.to_bytes(8, "big"), (0xFFFFFFFF).to_bytes(8, "big")):
        said = [True, data.startswith(COOKIE)]
    else:
        said = []
    size, kind = disk.to_bytes(8, "big"), VhdType.FIXED.to_bytes(4, "big")
    return sum([*said, data[40:48] == size, data[48:56] == size, data[60:64] == kind]) > 1


def size_warning(footer: Footer) -> str:
    """The warning that other programs would use another disk size, or ""."""
    by_geometry = footer.geometry.size
    if footer.creator not in _CHS_CREATORS or footer.geometry == LARGEST or by_geometry == footer.current_size:
        return ""
    return (
        f"the size is {footer.current_size} bytes; some programs use the {by_geometry} bytes of the geometry instead,"
        f" because the creator is {_printable(footer.creator)!r}"
    )
