"""The footer of a VHD, at the end of the file and, where blocks are dynamic, also at its start (VHD 1.0).

All numbers are big-endian. Old files have a footer of 511 bytes, to which a zero is missing.
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
"""The cookie that vhd-util puts there while a file must not be opened."""
SIZE = 512
OLD_SIZE = 511
NO_OFFSET = (1 << 64) - 1
LARGEST_DISK = 2040 << 30
"""What Windows takes."""
LARGEST_AZURE = 32 << 40
"""What Azure takes as a fixed disk, for data; the field for the size would hold more."""

_SECTION = "VHD 1.0 footer"
_CHECKSUM = 64
_EPOCH = 946684800  # 2000-01-01 UTC
_VERSION = 0x00010000
_RESERVED_FEATURE = 2
HOSTS = {b"Wi2k": "Windows", b"Mac ": "Macintosh"}
"""Systems that a creator names as its own."""
_OWN_CREATOR, _OWN_VERSION, _OWN_HOST = b"win ", 0x000A0000, b"Wi2k"
_CHS_CREATORS = (b"vpc ", b"vs  ", b"qemu")
"""Programs whose files are read by their geometry, by some readers."""


class VhdType(IntEnum):
    """How the file holds its disk."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4

_TYPES = frozenset(map(int, VhdType))


class UniqueId(Adapter):  # type: ignore[misc]
    """An id as its bytes stand in a VHD: no field is swapped."""

    def _decode(self, obj: bytes, context: object, path: object) -> UUID:  # noqa: ARG002  construct's signature
        return UUID(bytes=bytes(obj))

    def _encode(self, obj: UUID, context: object, path: object) -> bytes:  # noqa: ARG002
        return obj.bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """One footer. *data_offset* is the place of the dynamic header, NO_OFFSET in a fixed image."""

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
    """Whether sector bitmaps that hide a parent are those of the first tapdisk, which counts their bits otherwise."""
    old = footer.creator.startswith(b"tap") and footer.creator_version == 0x00000001
    return old and footer.disk_type == VhdType.DIFFERENCING


class FooterReading(NamedTuple):
    """A footer as found, and whether its checksum is right."""

    footer: Footer
    sealed: bool


def _printable(text: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text.rstrip(b"\0 "))


def timestamp(now: float) -> int:
    """How the moment *now* (seconds since 1970-01-01 UTC) is recorded: seconds since 2000."""
    return max(int(now) - _EPOCH, 0) & 0xFFFFFFFF


def new_footer(kind: VhdType, size: int, unique_id: UUID, *, data_offset: int, stamp: int) -> Footer:
    """The footer of a new image. The creator is one whose files nobody takes by their geometry."""
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
    """The footer in *data* of 512 or 511 bytes; *offset* is its place in the file.

    With a wrong checksum it is accepted only if every other field is valid. Raises FormatError, UnsupportedFeature.
    """
    whole = data.ljust(SIZE, b"\0")
    if whole.startswith(POISON):
        reason = "vhd-util was interrupted while changing the file and marked it unsafe; let vhd-util revert that"
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
        return f"the dynamic header cannot lie at {footer.data_offset}"
    return ""


def _oddity(footer: Footer) -> str:
    """A field that a writer with only a wrong checksum would not have written, or ""."""
    if footer.features not in (_RESERVED_FEATURE, _RESERVED_FEATURE | 1):
        return f"the features are {footer.features:#x}"
    if footer.version != _VERSION:
        return f"the version is {footer.version:#x}"
    if footer.disk_type not in _TYPES:
        return f"the type is {footer.disk_type}"
    if not footer.is_dynamic and footer.data_offset not in (NO_OFFSET, 0xFFFFFFFF):
        return f"a fixed image names a dynamic header at {footer.data_offset}"
    if footer.saved_state or any(footer.reserved):
        return "reserved bytes are not zero"
    return _fault(footer) or ("" if footer.geometry.size > 0 else "the geometry is empty")


def is_left_of_fixed(data: bytes, disk: int) -> bool:
    """Whether damaged bytes at the end of a file, behind *disk* bytes, were the footer of a fixed disk.

    Two fields say so that together are as they are in no other footer, and hardly in a guest's data.
    """
    if data[16:24] in (NO_OFFSET.to_bytes(8, "big"), (0xFFFFFFFF).to_bytes(8, "big")):
        said = [True, data.startswith(COOKIE)]
    else:
        said = []
    size, kind = disk.to_bytes(8, "big"), VhdType.FIXED.to_bytes(4, "big")
    return sum([*said, data[40:48] == size, data[48:56] == size, data[60:64] == kind]) > 1


def size_warning(footer: Footer) -> str:
    """Where other programs would take the disk for another size; empty where none would."""
    by_geometry = footer.geometry.size
    if footer.creator not in _CHS_CREATORS or footer.geometry == LARGEST or by_geometry == footer.current_size:
        return ""
    return (
        f"the size is {footer.current_size} bytes; some programs take the {by_geometry} bytes of the geometry instead,"
        f" since {_printable(footer.creator)!r} made it"
    )
