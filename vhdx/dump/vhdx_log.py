"""The log of a VHDX: all entries in the ring, active ones and those of earlier sessions (MS-VHDX 2.3)."""

import struct
from collections.abc import Iterator
from itertools import islice

from vhdx.dump.reading import Gloss, checksum, plain, record_fields, signature, sized
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, Value, absent
from vhdx.dump.vhdx_bat import MOST_FIELDS
from vhdx.dump.vhdx_file import VhdxDump
from vhdx.dump.words import counted, numbers, size_text
from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import header, log
from vhdx.format.log import ENTRY_HEADER, PAGE, EntryHeader
from vhdx.format.record import NO_GUID, RecordField

_DESCRIPTOR = struct.Struct("<4s4s8sQQ")
_MOST_WASTED = 16  # limit on bytes read for invalid entries, in ring lengths
_NEEDS = (DumpPart.HEADERS,)


def entries(file: VhdxDump) -> Iterator[Draft]:
    """The log as a whole, then everything with the signature of an entry, by file offset."""
    place, chosen = file.log.range, file.chosen
    if place is None or chosen is None:
        needs = _NEEDS if chosen is None or chosen.header.log_length else ()
        yield absent(DumpPart.LOG, "log", file.log.reason, takes=("log", "log entry"), needs=needs)
        return
    found = 0
    yield _whole(file, place)
    for draft in _Ring(file, place).drafts():
        found += 1
        yield draft
    if not found:
        yield absent(DumpPart.LOG, "log entry", "there is no entry in the log")


def _whole(file: VhdxDump, place: Range) -> Draft:
    assert file.chosen is not None
    active = file.active
    if not file.chosen.header.has_log:
        note = "not in use: nothing to replay"
    elif not active:
        note = "in use, but holds no valid sequence of entries, so it cannot be replayed"
    else:
        first, last = active[0].header.sequence_number, active[-1].header.sequence_number
        changes = counted(sum(entry.header.descriptor_count for entry in active), "change")
        note = (
            f"in use: {numbers(first, last - first + 1, 'entry', 'entries')} by sequence number, with {changes}, to be "
            "replayed"
        )
    slot = file.chosen.slot
    wanted = ("log_guid", "log_length", "log_offset")
    glosses: dict[str, Gloss] = {"log_length": sized}
    fields = record_fields(header.HEADER, file.copies[slot], header.OFFSETS[slot], glosses, f"header {slot + 1} ")
    told = tuple(field for field in fields if field.name.endswith(wanted))
    return Draft(Structure(DumpPart.LOG, "log", place.offset, place.length, told, note), ("log",), anywhere=True)


class _Ring:
    """Scans one log for entries, page by page."""

    def __init__(self, file: VhdxDump, place: Range) -> None:
        assert file.chosen is not None
        self._file = file
        self._place = place
        self._data = file.ring
        self._guid = file.chosen.header.log_guid
        self._active = {entry.position: number for number, entry in enumerate(file.active)}
        self._budget = _MOST_WASTED * len(self._data)

    def drafts(self) -> Iterator[Draft]:
        position = 0
        while position + ENTRY_HEADER.size <= len(self._data):
            if self._data[position : position + 4] != b"loge":
                position += PAGE
                continue
            head = ENTRY_HEADER.parse(self._data[position : position + ENTRY_HEADER.size])
            whole, note = self._judge(position, head)
            yield from self._entry(position, head, note, whole=whole)
            position += head.entry_length if whole else PAGE

    def _judge(self, position: int, head: EntryHeader) -> tuple[bool, str]:
        """Whether the entry is complete, and a note."""
        if position in self._active:
            return True, f"number {self._active[position] + 1} of {len(self._active)} to be replayed"
        self._budget -= min(head.entry_length, len(self._data))
        if self._budget < 0:
            return False, "not verified: the log is full of overlapping entries"
        try:
            entry = log.parse_entry(self._data, position, head.log_guid)
        except FormatError as error:
            return False, f"not valid: {error.reason}"
        if entry is None:
            return False, "not valid: torn or partially overwritten"
        if head.log_guid == self._guid != NO_GUID:
            return True, "valid, but older than the active sequence"
        return True, "from an earlier session: not replayed"

    def _entry(self, position: int, head: EntryHeader, note: str, *, whole: bool) -> Iterator[Draft]:
        at = self._place.offset + position
        name = f"log entry {head.sequence_number}"
        length = min(head.entry_length, len(self._data)) if whole else PAGE
        fields = self._fields(position, head, whole=whole)
        first = True
        while piece := tuple(islice(fields, MOST_FIELDS)):
            structure = Structure(DumpPart.LOG, name, at, length, piece, note if first else "continued")
            yield Draft(structure, ("log entry",) if first else ())
            first = False

    def _fields(self, position: int, head: EntryHeader, *, whole: bool) -> Iterator[Field]:
        data = self._data[position : position + ENTRY_HEADER.size]
        glosses: dict[str, Gloss] = {
            "signature": signature(b"loge"),
            "checksum": checksum(self._right(position, head)) if whole else _stored,
            "entry_length": sized,
            "tail": self._tail,
            "log_guid": self._log_guid,
            "flushed_file_offset": sized,
            "last_file_offset": sized,
        }
        yield from record_fields(ENTRY_HEADER, data, self._place.offset + position, glosses)
        yield from self._descriptors(position, head, whole=whole)

    def _right(self, position: int, head: EntryHeader) -> int:
        return log.checksum_of(self._data, position, head.entry_length)

    def _tail(self, field: RecordField) -> tuple[Value, str]:
        assert isinstance(field.value, int)
        return field.value, f"the oldest entry of the sequence is at {self._place.offset + field.value}"

    def _log_guid(self, field: RecordField) -> tuple[Value, str]:
        if field.value == self._guid != NO_GUID:
            return str(field.value), "matches the header: the log in use"
        return str(field.value), "differs from the header: an earlier session"

    def _descriptors(self, position: int, head: EntryHeader, *, whole: bool) -> Iterator[Field]:
        # Only the first page of an incomplete entry is read: its counts may have any value.
        most = (PAGE - ENTRY_HEADER.size) // _DESCRIPTOR.size
        count = head.descriptor_count if whole else min(head.descriptor_count, most)
        for number in range(count):
            at = (position + ENTRY_HEADER.size + number * _DESCRIPTOR.size) % len(self._data)
            raw = self._data[at : at + _DESCRIPTOR.size]
            if len(raw) < _DESCRIPTOR.size or raw[:4] not in (b"desc", b"zero"):
                return
            mark, _, length, target, _ = _DESCRIPTOR.unpack(raw)
            zeros = mark == b"zero"
            size = int.from_bytes(length, "little") if zeros else PAGE
            what = f"{size_text(size)} of zeros" if zeros else "a page"
            kind = "zero" if zeros else "data"
            meaning = f"{what} for file offset {target}, in {self._file.name_of(target)}"
            yield Field(f"descriptor {number + 1} ({kind})", self._place.offset + at, raw, target, meaning)


def _stored(field: RecordField) -> tuple[Value, str]:
    value, _ = plain(field._replace(value=int.from_bytes(field.raw, "little")))
    return value, "wrong, or not verified"
