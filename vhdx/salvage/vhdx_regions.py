"""The regions of a damaged VHDX, from a valid copy of the table or from damaged copies that agree (MS-VHDX 2.2.3)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import region
from vhdx.format.header import AREA
from vhdx.format.region import BAT, ENTRY, METADATA, OFFSETS, TABLE_HEADER, TABLE_SIZE, RegionEntry
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Noting

_MIB = 1 << 20
_LONGEST = {BAT: 513 * _MIB, METADATA: 128 * _MIB}
_NAMES = {BAT: "BAT", METADATA: "metadata"}
_REQUIRED = 1
_COUNT = struct.Struct("<8xI")
_MOST_ENTRIES = 2047


@dataclass(frozen=True, slots=True)
class SalvageRegions:
    """*others* are the file ranges of other regions; *doubtful*: the location of the BAT is a guess."""

    bat: Range
    metadata: Range
    others: tuple[Range, ...]
    doubtful: bool


def read_regions(medium: Medium, noting: Noting) -> SalvageRegions:
    """Raises FormatError when BAT or metadata cannot be located, UnsupportedFeature for an unknown required region."""
    copies = [(number, offset, medium.whole(offset, TABLE_SIZE)) for number, offset in enumerate(OFFSETS)]
    valid: list[tuple[int, list[RegionEntry]]] = []
    for number, offset, copy in copies:
        try:
            if copy is None:
                noting.tell("region table", offset, f"copy {number + 1} cannot be read")
            else:
                valid.append((number, region.parse(copy, offset)))
        except FormatError as error:
            noting.tell("region table", offset, f"copy {number + 1} is not valid ({error.reason})")
    if not valid:
        return _guessed([copy for _, _, copy in copies if copy is not None], noting)
    if len(valid) == 2 and valid[0][1] != valid[1][1]:
        noting.trust("region table", OFFSETS[1], "the copies differ; the first was used")
    number, entries = valid[0]
    return _stated(entries, OFFSETS[number], noting)


def _stated(entries: Sequence[RegionEntry], offset: int, noting: Noting) -> SalvageRegions:
    """The regions of a table with a correct checksum, whose fields may still be invalid."""
    for entry in entries:
        if entry.guid not in _NAMES and entry.flags & _REQUIRED:
            raise UnsupportedFeature(f"{noting.file}: region {entry.guid} is required but unknown")
        if entry.flags & ~_REQUIRED:
            noting.trust("region table entry", offset, f"region {entry.guid} has reserved flags {entry.flags:#x}")
    places: dict[UUID, Range] = {}
    for guid, name in _NAMES.items():
        named = {entry.range for entry in entries if entry.guid == guid}
        if len(named) != 1 or not all(_is_place(guid, place) for place in named):
            reason = f"the {name} region is ambiguous: {len(named)} offsets are recorded" if len(named) != 1 else (
                f"invalid {name} region: {min(named).length} bytes at {min(named).offset}"
            )
            raise FormatError("region table", offset, reason, "2.2.3")
        places[guid] = named.pop()
    others = tuple(entry.range for entry in entries if entry.guid not in _NAMES and entry.length)
    return _apart(places[BAT], places[METADATA], others, offset, doubtful=False)


def _guessed(copies: Sequence[bytes], noting: Noting) -> SalvageRegions:
    """The regions from tables with a wrong checksum."""
    places: dict[UUID, Range] = {}
    doubtful = False
    for guid, name in _NAMES.items():
        named = [set(_find(copy, guid)) for copy in copies]
        if not any(named):
            reason = f"no copy is valid, and none gives a location of the {name} region"
            raise FormatError("region table", OFFSETS[0], reason, "2.2.3")
        choices = set.union(*named)
        if len(choices) > 1:
            reason = f"no copy is valid, and they differ on the location of the {name} region"
            raise FormatError("region table", OFFSETS[0], reason, "2.2.3")
        places[guid] = choices.pop()
        doubtful = doubtful or (guid == BAT and not (len(named) == 2 and all(named)))
    message = "no copy is valid; the entries of BAT and metadata are valid and were used"
    noting.trust("region table", OFFSETS[0], message)
    return _apart(places[BAT], places[METADATA], (), OFFSETS[0], doubtful=doubtful)


def _find(copy: bytes, guid: UUID) -> list[Range]:
    """The valid file ranges for a region in a table with a wrong checksum."""
    found = []
    for number in range(_MOST_ENTRIES):
        at = TABLE_HEADER.size + number * ENTRY.size
        if copy.startswith(guid.bytes_le, at):
            place = ENTRY.parse(copy[at : at + ENTRY.size]).range
            if _is_place(guid, place):
                found.append(place)
    return found


def _is_place(guid: UUID, place: Range) -> bool:
    return (
        not (place.offset % _MIB or place.length % _MIB)
        and AREA <= place.offset < 1 << 62
        and 0 < place.length <= _LONGEST[guid]
    )


def _apart(bat: Range, metadata: Range, others: tuple[Range, ...], offset: int, *, doubtful: bool) -> SalvageRegions:
    if bat.offset < metadata.end and metadata.offset < bat.end:
        raise FormatError("region table", offset, "BAT and metadata overlap, so neither can be read", "2.2.3")
    return SalvageRegions(bat, metadata, others, doubtful)
