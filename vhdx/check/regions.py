"""Checks of both region tables, and of the regions of the one in use (MS-VHDX 2.2.3)."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from vhdx.check.container import MIB, first_set
from vhdx.check.finding import Finding, found
from vhdx.check.overlapping import overlapping
from vhdx.extents import Range
from vhdx.format import checksum
from vhdx.format.header import AREA
from vhdx.format.region import BAT, ENTRY, METADATA, OFFSETS, TABLE_HEADER, TABLE_SIZE, RegionEntry

_CHECKSUM = 4
_MOST_ENTRIES = 2047
_LONGEST = {BAT: 513 * MIB, METADATA: 128 * MIB}
_NAMES = {BAT: "BAT", METADATA: "metadata"}
_REQUIRED = 1


@dataclass(frozen=True, slots=True)
class Regions:
    """File ranges of the regions; None for one that is missing or invalid."""

    bat: Range | None
    metadata: Range | None
    places: tuple[tuple[str, Range], ...]
    """Name and file range of every structure except blocks, each inside the file."""


def check_regions(area: bytes, log: Range | None, size: int) -> Generator[Finding, None, Regions | None]:
    """The regions, or None if no table is valid; *area* is the first MiB of a file of *size* bytes."""
    tables: list[tuple[int, list[RegionEntry]]] = []
    for number, offset in enumerate(OFFSETS):
        entries = yield from _table(area[offset : offset + TABLE_SIZE], number)
        if entries is not None:
            tables.append((number, entries))
    if not tables:
        message = "no copy is valid, so BAT and metadata cannot be located; restore the file from a backup"
        yield found("region-table-none-valid", OFFSETS[0], message)
        return None
    if len(tables) == 2 and tables[0][1] != tables[1][1]:
        yield found("region-tables-differ", OFFSETS[1], "the second copy differs from the first; the first is used")
    number, entries = tables[0]
    usable = yield from _entries(entries, OFFSETS[number], size)
    places = [(_name(entry), entry.range) for entry in usable]
    if log is not None:
        places.append(("log", log))
    yield from _overlaps(places, OFFSETS[number])
    first = {entry.guid: entry.range for entry in reversed(usable)}
    return Regions(first.get(BAT), first.get(METADATA), tuple(places))


def _name(entry: RegionEntry) -> str:
    return f"{_NAMES.get(entry.guid, entry.guid)} region"


def _table(copy: bytes, number: int) -> Generator[Finding, None, list[RegionEntry] | None]:
    offset, name = OFFSETS[number], f"copy {number + 1}"
    if copy[:4] != b"regi":
        yield found("region-table-signature", offset, f"the signature of {name} is {copy[:4]!r} instead of b'regi'")
        return None
    if not checksum.is_sealed(copy, field=_CHECKSUM):
        stored, right = int.from_bytes(copy[4:8], "little"), checksum.crc32c(copy, field=_CHECKSUM)
        message = f"the checksum of {name} is {stored:#010x} instead of {right:#010x}; the copy is ignored"
        yield found("region-table-checksum", offset, message)
        return None
    header = TABLE_HEADER.parse(copy, offset)
    if header.reserved:
        yield found("region-table-reserved", offset + 12, f"the reserved field of {name} is {header.reserved:#x}")
    if header.entry_count > _MOST_ENTRIES:
        message = f"{name} has {header.entry_count} entries; the maximum is {_MOST_ENTRIES}"
        yield found("region-table-count", offset + 8, message)
        return None
    places = [TABLE_HEADER.size + at * ENTRY.size for at in range(header.entry_count)]
    at = first_set(copy, TABLE_HEADER.size + header.entry_count * ENTRY.size, TABLE_SIZE)
    if at is not None:
        yield found("region-table-padding", offset + at, f"bytes after the last entry of {name} are not zero")
    return [ENTRY.parse(copy[at : at + ENTRY.size], offset + at) for at in places]


def _entries(
    entries: Sequence[RegionEntry], table: int, size: int
) -> Generator[Finding, None, list[RegionEntry]]:
    """Check each entry and the set of entries; returns the entries whose file ranges are valid."""
    usable = []
    for number, entry in enumerate(entries):
        at = table + TABLE_HEADER.size + number * ENTRY.size
        misplaced = list(_place(entry, at, size))
        yield from misplaced
        yield from _kind(entry, at)
        if any(other.guid == entry.guid for other in entries[:number]):
            yield found("region-duplicate", at, f"the {_name(entry)} has more than one entry")
        elif not misplaced:
            usable.append(entry)
    for guid, name in _NAMES.items():
        if all(entry.guid != guid for entry in entries):
            yield found("region-missing", table, f"there is no entry for the {name} region")
    return usable


def _place(entry: RegionEntry, at: int, size: int) -> Iterator[Finding]:
    place = f"the {_name(entry)} at {entry.file_offset} of {entry.length} bytes"
    longest = _LONGEST.get(entry.guid, entry.length)
    if not entry.length or entry.length > longest:
        limit = f"; the maximum is {longest}" if entry.length else ""
        yield found("region-length", at, f"{place} has an invalid length{limit}")
    if entry.file_offset % MIB or entry.length % MIB:
        yield found("region-alignment", at, f"{place} is not 1 MiB aligned")
    if entry.file_offset < AREA:
        yield found("region-in-headers", at, f"{place} overlaps the header section")
    if entry.range.end > size:
        message = f"{place} extends beyond end of file at {size}; the file is truncated"
        yield found("region-beyond-end", at, message)


def _kind(entry: RegionEntry, at: int) -> Iterator[Finding]:
    if entry.flags & ~_REQUIRED:
        yield found("region-reserved", at, f"the {_name(entry)} has reserved flags set ({entry.flags:#x})")
    if entry.guid in _NAMES:
        if not entry.flags & _REQUIRED:
            message = f"the {_name(entry)} is not marked as required; qemu writes such files"
            yield found("region-not-required", at, message)
    elif entry.flags & _REQUIRED:
        message = f"region {entry.guid} is required but unknown, so the file must not be opened; use newer software"
        yield found("region-unknown-required", at, message)
    else:
        yield found("region-unknown", at, f"region {entry.guid} is unknown; ignored")


def _overlaps(places: Sequence[tuple[str, Range]], table: int) -> Iterator[Finding]:
    for (before, taken), (name, place) in overlapping(places):
        message = f"the {before} at {taken.offset} and the {name} at {place.offset} overlap; do not write to this image"
        yield found("region-overlap", table, message)
