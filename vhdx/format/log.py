"""The log: entries in a ring, the active sequence, and the changes that a replay makes (MS-VHDX 2.3).

An entry holds whole 4 KiB pages. Entries of earlier sessions remain in the ring with other GUIDs; they are not errors.
An entry with a valid checksum may still request an impossible change; such a log is rejected, not skipped.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from construct import Const, Int32ul, Int64ul, Padding, Struct

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import checksum
from vhdx.format.record import GUID, Record

PAGE = 4096
LOWEST_TARGET = 192 << 10
"""Identifier and headers are never written through the log."""

_CHECKSUM = 4
_MIB = 1 << 20
_MOST_ZERO_RANGES = 1 << 16
_MOST_WASTED = 16  # lengths of the ring
_PIECE = 128 << 10


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """The start of an entry. *tail* is the ring offset of the oldest entry that must be replayed with this one."""

    entry_length: int
    tail: int
    sequence_number: int
    descriptor_count: int
    reserved: int
    log_guid: UUID
    flushed_file_offset: int
    last_file_offset: int


ENTRY_HEADER: Record[EntryHeader] = Record(
    EntryHeader,
    Struct(
        "signature" / Const(b"loge"),
        "checksum" / Padding(4),
        "entry_length" / Int32ul,
        "tail" / Int32ul,
        "sequence_number" / Int64ul,
        "descriptor_count" / Int32ul,
        "reserved" / Int32ul,
        "log_guid" / GUID,
        "flushed_file_offset" / Int64ul,
        "last_file_offset" / Int64ul,
    ),
    structure="log entry",
    section="2.3.1.1",
)

# An entry whose checksum is already verified may hold hundreds of descriptors and data sectors.
_ZERO_DESCRIPTOR = struct.Struct("<4s4xQQQ")  # signature, length, file offset, sequence number
_DATA_DESCRIPTOR = struct.Struct("<4s4s8sQQ")  # signature, trailing and leading bytes, file offset, sequence number
_DATA_SECTOR = struct.Struct("<4sI4084sI")  # signature, sequence number's high half, bytes, low half
_DESCRIPTOR_SIZE = 32


class PageWrite(NamedTuple):
    """A page of 4 KiB to be written at *offset*."""

    offset: int
    data: bytes


class ZeroRange(NamedTuple):
    """A range of the file to be zeroed."""

    offset: int
    length: int


Change = PageWrite | ZeroRange


class Ring(Protocol):
    """The bytes of a log: any sequence whose slices are bytes, in memory or not."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A valid entry at *position* in the ring. Its data stays in the ring and is read on demand."""

    position: int
    header: EntryHeader
    ring: Ring

    @property
    def pages(self) -> int:
        """Number of pages that it writes; its other changes are ranges of zeros."""
        return self.header.entry_length // PAGE - _descriptor_sectors(self.header.descriptor_count)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, page data included: takes as much memory as the entry."""
        return tuple(
            ZeroRange(offset, what) if isinstance(what, int) else PageWrite(offset, what.fetch())
            for offset, what in self.places()
        )

    def places(self) -> Iterator[tuple[int, "LoggedPage | int"]]:
        """Each change as (file offset, page still in the ring or length of zeros)."""
        at = self.position + _descriptor_sectors(self.header.descriptor_count) * PAGE
        for signature, trailing, leading, offset, _ in _descriptors(self.ring, self.position, self.header):
            if signature == b"zero":
                yield offset, int.from_bytes(leading, "little")
            else:
                yield offset, LoggedPage(self.ring, at % len(self.ring), leading + trailing)
                at += PAGE


class LoggedPage:
    """A page whose first eight and last four bytes are in its descriptor, and the rest in the ring."""

    __slots__ = ("_edges", "_end", "_ring", "_sector", "_start")

    def __init__(self, ring: Ring, sector: int, edges: bytes, start: int = 0, end: int = PAGE) -> None:
        self._ring = ring
        self._sector = sector
        self._edges = edges
        self._start = start
        self._end = end

    def __len__(self) -> int:
        return self._end - self._start

    def part(self, start: int, end: int) -> "LoggedPage":
        """The bytes from *start* to *end* within the page, not read yet."""
        return LoggedPage(self._ring, self._sector, self._edges, self._start + start, self._start + end)

    def fetch(self) -> bytes:
        """Read the bytes."""
        body = self._ring[self._sector + 8 : self._sector + PAGE - 4]
        return b"".join((self._edges[:8], body, self._edges[8:]))[self._start : self._end]


def entry_length(pages: int) -> int:
    """Length in bytes of an entry with *pages* pages."""
    return (_descriptor_sectors(pages) + pages) * PAGE


def most_pages(log_length: int) -> int:
    """The most pages of an entry such that the previous entry survives while it is written.

    The log must hold a valid sequence at every moment, so two entries have to fit into the ring side by side.
    """
    room = log_length // PAGE // 2
    pages = room - 1
    while pages > 0 and _descriptor_sectors(pages) + pages > room:
        pages -= 1
    return pages


def _descriptor_sectors(count: int) -> int:
    return -(-(ENTRY_HEADER.size + count * _DESCRIPTOR_SIZE) // PAGE)


def build_entry(header: EntryHeader, pages: Sequence[PageWrite]) -> bytes:
    """The bytes of an entry; its length and descriptor count are computed from *pages*."""
    number = header.sequence_number
    full = EntryHeader(
        entry_length=entry_length(len(pages)),
        tail=header.tail,
        sequence_number=number,
        descriptor_count=len(pages),
        reserved=0,
        log_guid=header.log_guid,
        flushed_file_offset=header.flushed_file_offset,
        last_file_offset=header.last_file_offset,
    )
    head = ENTRY_HEADER.build(full) + b"".join(
        _DATA_DESCRIPTOR.pack(b"desc", page.data[4092:], page.data[:8], page.offset, number) for page in pages
    )
    sectors = b"".join(
        _DATA_SECTOR.pack(b"data", number >> 32, page.data[8:4092], number & 0xFFFFFFFF) for page in pages
    )
    body = head.ljust(_descriptor_sectors(len(pages)) * PAGE, b"\0") + sectors
    return checksum.seal(body, field=_CHECKSUM)


def parse_entry(ring: Ring, position: int, log_guid: UUID) -> Entry | None:
    """The entry at *position*, or None if no valid entry of this log starts there."""
    if ring[position : position + 4] != b"loge":
        return None
    header = ENTRY_HEADER.parse(ring[position : position + ENTRY_HEADER.size])
    sectors = _descriptor_sectors(header.descriptor_count)
    if (
        header.log_guid != log_guid
        or header.sequence_number == 0
        or header.entry_length % PAGE
        or not sectors * PAGE <= header.entry_length < len(ring)
        or header.tail % PAGE
        or header.tail >= len(ring)
    ):
        return None
    stored = int.from_bytes(ring[position + _CHECKSUM : position + _CHECKSUM + 4], "little")
    if stored != checksum_of(ring, position, header.entry_length):
        return None
    entry = Entry(position, header, ring)
    zero_ranges = header.descriptor_count - entry.pages
    if zero_ranges > _MOST_ZERO_RANGES:
        raise _too_many(zero_ranges)
    return entry if _is_whole(entry) else None


def _too_many(zero_ranges: int) -> FormatError:
    reason = f"{zero_ranges} ranges of zeros are more than any writer creates, and would take too long to replay"
    return FormatError("log", None, reason, "2.3.1.2")


def checksum_of(ring: Ring, position: int, length: int) -> int:
    """The computed checksum of the *length* bytes of an entry at *position*, which may wrap around the ring."""
    return checksum.crc32c_of(_unwrapped(ring, position, length), field=_CHECKSUM)


def _unwrapped(ring: Ring, position: int, length: int) -> Iterator[bytes]:
    """Pages of an entry, in contiguous pieces."""
    end = position + length
    for start, stop in ((position, min(end, len(ring))), (0, end - len(ring))):
        for at in range(start, stop, _PIECE):
            yield ring[at : min(at + _PIECE, stop)]


def _descriptors(
    ring: Ring, position: int, header: EntryHeader
) -> Iterator[tuple[bytes, bytes, bytes, int, int]]:
    """Signature, trailing and leading bytes of a page, file offset, sequence number."""
    left, at = header.descriptor_count, ENTRY_HEADER.size
    for sector in range(_descriptor_sectors(header.descriptor_count)):
        start = (position + sector * PAGE) % len(ring)
        page = ring[start : start + PAGE]
        count = min((PAGE - at) // _DESCRIPTOR_SIZE, left)
        yield from _DATA_DESCRIPTOR.iter_unpack(page[at : at + count * _DESCRIPTOR_SIZE])
        left, at = left - count, 0


def _is_whole(entry: Entry) -> bool:
    """Whether all descriptors and data sectors are present and belong to this entry."""
    ring, number, pages = entry.ring, entry.header.sequence_number, 0
    for signature, _, _, _, sequence in _descriptors(ring, entry.position, entry.header):
        if sequence != number or signature not in (b"zero", b"desc"):
            return False
        pages += signature == b"desc"
    if pages != entry.pages:
        return False
    first = entry.position + entry.header.entry_length - pages * PAGE
    for at in range(first, first + pages * PAGE, PAGE):
        place = at % len(ring)
        mark, high, _, low = _DATA_SECTOR.unpack(ring[place : place + PAGE])
        if mark != b"data" or (high << 32 | low) != number:
            return False
    return True


def scan(ring: Ring, log_guid: UUID) -> list[Entry]:
    """The active sequence (2.3.2), from the tail entry to the newest; empty if there is none.

    One pass over the ring: the search continues after each sequence. Raises FormatError when the ring is full of
    invalid overlapping entries, or holds more ranges of zeros than can be replayed in bounded time.
    """
    best: list[Entry] = []
    position = wasted = 0
    while position < len(ring):
        sequence = list(_sequence(ring, position, log_guid))
        if not sequence:
            wasted += _claimed_length(ring, position, log_guid)
            if wasted > _MOST_WASTED * len(ring):
                raise FormatError("log", None, "full of overlapping invalid entries", "2.3.3")
            position += PAGE
            continue
        position += sum(entry.header.entry_length for entry in sequence)
        active = _from_tail(sequence)
        if active and (not best or active[-1].header.sequence_number > best[-1].header.sequence_number):
            best = active
    return best


def _claimed_length(ring: Ring, position: int, log_guid: UUID) -> int:
    """Number of bytes that were checked for the invalid entry at *position*."""
    if ring[position : position + 4] != b"loge":
        return 0
    header = ENTRY_HEADER.parse(ring[position : position + ENTRY_HEADER.size])
    return min(header.entry_length, len(ring)) if header.log_guid == log_guid else 0


def _sequence(ring: Ring, position: int, log_guid: UUID) -> Iterator[Entry]:
    entry = parse_entry(ring, position, log_guid)
    walked = zero_ranges = 0
    while entry is not None:
        walked += entry.header.entry_length
        if walked > len(ring):
            return
        zero_ranges += entry.header.descriptor_count - entry.pages
        if zero_ranges > _MOST_ZERO_RANGES:
            raise _too_many(zero_ranges)
        yield entry
        following = parse_entry(ring, (entry.position + entry.header.entry_length) % len(ring), log_guid)
        if following is None or following.header.sequence_number != entry.header.sequence_number + 1:
            return
        entry = following


def _from_tail(sequence: list[Entry]) -> list[Entry]:
    tail = sequence[-1].header.tail
    starts = [number for number, entry in enumerate(sequence) if entry.position == tail]
    return sequence[starts[0] :] if starts else []


def verify(entries: Sequence[Entry], *, log: Range, file_size: int) -> None:
    """Verify that every change of the active sequence is possible in a file of this size. Raises FormatError."""
    newest = entries[-1].header
    if file_size < newest.flushed_file_offset:
        reason = f"file truncated: {newest.flushed_file_offset} bytes when this was logged, {file_size} now"
        raise FormatError("log", log.offset, reason, "2.3.3")
    for entry in entries:
        for offset, what in entry.places():
            length = what if isinstance(what, int) else PAGE
            end = offset + length
            reason = ""
            if offset % PAGE or length % PAGE or not length:
                reason = "is not a multiple of 4 KiB"
            elif offset < LOWEST_TARGET:
                reason = "would overwrite the headers"
            elif offset < log.end and end > log.offset:
                reason = "would overwrite the log"
            elif end > max(newest.last_file_offset, newest.flushed_file_offset, file_size):
                reason = "is beyond the file size recorded in the log"
            if reason:
                reason = f"a change at {offset} of {length} bytes {reason}"
                raise FormatError("log entry", log.offset + entry.position, reason, "2.3.1")


def changes(entries: Sequence[Entry]) -> list[Change]:
    """All changes in replay order, page data included."""
    return [change for entry in entries for change in entry.changes]


def places(entries: Sequence[Entry]) -> Iterator[tuple[int, LoggedPage | int]]:
    """Each change in replay order as (file offset, page or length of zeros); see `Entry.places`."""
    for entry in entries:
        yield from entry.places()


def file_size_after(entries: Sequence[Entry], file_size: int) -> int:
    """The file size after the replay, rounded up to whole MiB if the file must grow."""
    needed = entries[-1].header.last_file_offset
    return file_size if needed <= file_size else -(-needed // _MIB) * _MIB
