"""Headers: selecting the current one and building its successor (MS-VHDX 2.2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from construct import Const, Int16ul, Int32ul, Int64ul, Padding, Struct

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import checksum
from vhdx.format.record import GUID, NO_GUID, Record

OFFSETS = (64 << 10, 128 << 10)
AREA = 1 << 20
"""The header section (2.2): identifier, headers, region tables; nothing else may overlap it."""

_ALIGNMENT = 1 << 20
_LAST_SEQUENCE_NUMBER = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Header:
    """One header. A *log_guid* of zero means that the log is empty."""

    sequence_number: int
    file_write_guid: UUID
    data_write_guid: UUID
    log_guid: UUID
    log_version: int
    version: int
    log_length: int
    log_offset: int

    @property
    def log(self) -> Range:
        """The range of the log in the file."""
        return Range(self.log_offset, self.log_length)

    @property
    def has_log(self) -> bool:
        """Whether the log is in use."""
        return self.log_guid != NO_GUID


HEADER: Record[Header] = Record(
    Header,
    Struct(
        "signature" / Const(b"head"),
        "checksum" / Padding(4),
        "sequence_number" / Int64ul,
        "file_write_guid" / GUID,
        "data_write_guid" / GUID,
        "log_guid" / GUID,
        "log_version" / Int16ul,
        "version" / Int16ul,
        "log_length" / Int32ul,
        "log_offset" / Int64ul,
        "reserved" / Padding(4016),
    ),
    structure="header",
    section="2.2.2",
)
_CHECKSUM = 4


class Current(NamedTuple):
    """The current header and its slot (0 or 1)."""

    header: Header
    slot: int


def parse(copy: bytes, offset: int | None = None) -> Header:
    """One copy, signature and checksum verified. Raises FormatError."""
    header = HEADER.parse(copy, offset)
    if not checksum.is_sealed(copy[: HEADER.size], field=_CHECKSUM):
        raise FormatError(HEADER.structure, offset, "the checksum is wrong", HEADER.section)
    return header


def build(header: Header) -> bytes:
    """The 4 KiB of a header, checksum included."""
    return checksum.seal(HEADER.build(header), field=_CHECKSUM)


def current(copies: Sequence[bytes]) -> Current:
    """The current header: the only valid copy, or the one with the larger sequence number.

    Two identical copies count as one: Disk2vhd writes such files. Raises FormatError when no copy is valid or two
    different ones claim the same sequence number, UnsupportedFeature for a version of the format that is not 1.
    """
    valid: list[Current] = []
    reasons: list[str] = []
    for slot, copy in enumerate(copies):
        try:
            valid.append(Current(parse(copy, OFFSETS[slot]), slot))
        except FormatError as error:
            reasons.append(f"copy {slot + 1}: {error.reason}")
    if not valid:
        raise FormatError(HEADER.structure, OFFSETS[0], f"no copy is valid ({'; '.join(reasons)})", HEADER.section)
    numbers = [found.header.sequence_number for found in valid]
    if len(valid) == 2 and numbers[0] == numbers[1] and valid[0].header != valid[1].header:
        reason = "both copies have the same sequence number and different contents"
        raise FormatError(HEADER.structure, OFFSETS[0], reason, HEADER.section)
    best = max(valid, key=lambda found: found.header.sequence_number)
    _verify(best.header, OFFSETS[best.slot])
    return best


def _verify(header: Header, offset: int) -> None:
    if header.version != 1:
        raise UnsupportedFeature(f"header at offset {offset}: version {header.version} of the format is not supported")
    if header.has_log and header.log_version != 0:
        raise UnsupportedFeature(f"header at offset {offset}: version {header.log_version} of the log is not supported")
    misplaced = header.log_offset % _ALIGNMENT or header.log_length % _ALIGNMENT
    if misplaced or (header.log_length and header.log_offset < AREA):
        reason = (
            f"the log at {header.log_offset} of {header.log_length} bytes is not 1 MiB aligned or overlaps the header "
            "section"
        )
        raise FormatError(HEADER.structure, offset, reason, HEADER.section)
    if header.has_log and not header.log_length:
        raise FormatError(HEADER.structure, offset, "a log is in use but its length is zero", HEADER.section)


def successor(
    header: Header, *, file_write_guid: UUID, data_write_guid: UUID | None = None, log_guid: UUID | None = None
) -> Header:
    """The next header, for the other slot; never written through the log (2.2.2.1). None keeps a GUID.

    Raises FormatError when the sequence number cannot be incremented.
    """
    if header.sequence_number >= _LAST_SEQUENCE_NUMBER:
        raise FormatError(HEADER.structure, None, "the sequence number is the largest possible", HEADER.section)
    return replace(
        header,
        sequence_number=header.sequence_number + 1,
        file_write_guid=file_write_guid,
        data_write_guid=header.data_write_guid if data_write_guid is None else data_write_guid,
        log_guid=header.log_guid if log_guid is None else log_guid,
    )
