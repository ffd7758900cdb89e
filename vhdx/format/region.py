"""Region tables: the locations of BAT and metadata (MS-VHDX 2.2.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from construct import Const, Int32ul, Int64ul, Padding, Struct

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import checksum
from vhdx.format.header import AREA
from vhdx.format.record import GUID, Record

OFFSETS = (192 << 10, 256 << 10)
TABLE_SIZE = 64 << 10
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")

_ALIGNMENT = 1 << 20
_MOST_ENTRIES = 2047
_LONGEST = {BAT: 513 << 20, METADATA: 128 << 20}
_REQUIRED = 1
_CHECKSUM = 4


@dataclass(frozen=True, slots=True)
class RegionTableHeader:
    """The start of a region table."""

    entry_count: int
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class RegionEntry:
    """One region; bit 0 of *flags* (Required): a reader that does not know the region must not open the file."""

    guid: UUID
    file_offset: int
    length: int
    flags: int = _REQUIRED

    @property
    def range(self) -> Range:
        return Range(self.file_offset, self.length)


TABLE_HEADER: Record[RegionTableHeader] = Record(
    RegionTableHeader,
    Struct("signature" / Const(b"regi"), "checksum" / Padding(4), "entry_count" / Int32ul, "reserved" / Int32ul),
    structure="region table",
    section="2.2.3.1",
)
ENTRY: Record[RegionEntry] = Record(
    RegionEntry,
    Struct("guid" / GUID, "file_offset" / Int64ul, "length" / Int32ul, "flags" / Int32ul),
    structure="region table entry",
    section="2.2.3.2",
)


def parse(copy: bytes, offset: int | None = None) -> list[RegionEntry]:
    """The entries of one copy, checksum verified. Raises FormatError."""
    header = TABLE_HEADER.parse(copy, offset)
    if not checksum.is_sealed(copy[:TABLE_SIZE], field=_CHECKSUM):
        raise FormatError(TABLE_HEADER.structure, offset, "the checksum is wrong", TABLE_HEADER.section)
    if header.entry_count > _MOST_ENTRIES or header.reserved:
        reason = f"{header.entry_count} entries (maximum {_MOST_ENTRIES}), or the reserved field is not zero"
        raise FormatError(TABLE_HEADER.structure, offset, reason, TABLE_HEADER.section)
    start = TABLE_HEADER.size
    places = range(start, start + header.entry_count * ENTRY.size, ENTRY.size)
    return [ENTRY.parse(copy[at : at + ENTRY.size], None if offset is None else offset + at) for at in places]


def build(entries: Sequence[RegionEntry]) -> bytes:
    """The 64 KiB of a region table, checksum included."""
    body = TABLE_HEADER.build(RegionTableHeader(len(entries))) + b"".join(ENTRY.build(entry) for entry in entries)
    return checksum.seal(body.ljust(TABLE_SIZE, b"\0"), field=_CHECKSUM)


def current(copies: Iterable[bytes]) -> list[RegionEntry]:
    """The entries of the first valid copy; later copies are not read. Raises FormatError when none is valid."""
    reasons: list[str] = []
    for number, copy in enumerate(copies):
        try:
            return parse(copy, OFFSETS[number])
        except FormatError as error:
            reasons.append(f"copy {number + 1}: {error.reason}")
    reason = f"no copy is valid ({'; '.join(reasons)})"
    raise FormatError(TABLE_HEADER.structure, OFFSETS[0], reason, TABLE_HEADER.section)


def verify(entries: Sequence[RegionEntry], *, log: Range, file_size: int) -> None:
    """Verify that regions are 1 MiB aligned, inside the file, do not overlap, and include BAT and metadata.

    Raises FormatError, or UnsupportedFeature for an unknown required region.
    """
    for entry in entries:
        if entry.guid not in _LONGEST and entry.flags & _REQUIRED:
            raise UnsupportedFeature(f"region {entry.guid} is required and unknown")
        _verify_place(entry, file_size)
    guids = [entry.guid for entry in entries]
    for guid, name in ((BAT, "BAT"), (METADATA, "metadata")):
        if guids.count(guid) != 1:
            reason = f"{guids.count(guid)} entries for the {name} region; must be one"
            raise FormatError(TABLE_HEADER.structure, OFFSETS[0], reason, TABLE_HEADER.section)
    if len(set(guids)) != len(guids):
        raise FormatError(TABLE_HEADER.structure, OFFSETS[0], "a region has two entries", TABLE_HEADER.section)
    taken = sorted([entry.range for entry in entries] + ([log] if log.length else []))
    for first, second in pairwise(taken):
        if first.end > second.offset:
            reason = f"the regions at {first.offset} and {second.offset} overlap"
            raise FormatError(TABLE_HEADER.structure, OFFSETS[0], reason, TABLE_HEADER.section)


def _verify_place(entry: RegionEntry, file_size: int) -> None:
    place = f"region {entry.guid} at {entry.file_offset} of {entry.length} bytes"
    reason = ""
    if entry.file_offset % _ALIGNMENT or entry.length % _ALIGNMENT or not entry.length:
        reason = f"{place} is not 1 MiB aligned"
    elif entry.file_offset < AREA:
        reason = f"{place} overlaps the header section"
    elif entry.range.end > file_size:
        reason = f"{place} extends beyond end of file at {file_size}"
    elif entry.length > _LONGEST.get(entry.guid, entry.length):
        reason = f"{place} is larger than the maximum"
    elif entry.flags & ~_REQUIRED:
        reason = f"{place} has reserved flags {entry.flags:#x}"
    if reason:
        raise FormatError(ENTRY.structure, OFFSETS[0], reason, ENTRY.section)


def find(entries: Sequence[RegionEntry], guid: UUID) -> Range:
    """The file range of a region; `verify` guarantees that it exists."""
    return next(entry.range for entry in entries if entry.guid == guid)
