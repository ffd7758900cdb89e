"""Locates the structures of a VHDX from the copies of headers and tables, despite damage.

A valid copy is used. If there is none, a recognisable one is used, and `doubt` gives the reason for mistrust.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from vhdx.dump.pending import Pending
from vhdx.dump.reading import read_some
from vhdx.errors import Error, FormatError
from vhdx.extents import Range
from vhdx.format import checksum, header, log, metadata, region
from vhdx.format.bat import ENTRY_SIZE, MIB, BatLayout, BitmapState, state
from vhdx.format.header import AREA, Header
from vhdx.format.log import Entry, Ring
from vhdx.format.metadata import TABLE_ENTRY, TABLE_HEADER, TableEntry
from vhdx.format.region import RegionEntry
from vhdx.storage.base import Storage
from vhdx.storage.stored import StoredBytes
from vhdx.storage.transfer import preads

MOST_ENTRIES = 2047
LONGEST_LOG = 128 * MIB
CHECKSUM = 4
NAMES = {region.BAT: "BAT", region.METADATA: "metadata"}
_LONGEST = {region.BAT: 513 * MIB, region.METADATA: 128 * MIB}


class DumpPlace(NamedTuple):
    """The file range of a structure, or None and the reason."""

    range: Range | None
    reason: str = ""


class Chosen(NamedTuple):
    """The header in use, its slot, and why it should not be trusted."""

    header: Header
    slot: int
    doubt: str


class DumpRegions(NamedTuple):
    """The region table in use, its number, and why it should not be trusted."""

    entries: list[RegionEntry]
    number: int
    doubt: str


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the metadata table; *offset* is the file offset of the item, *data* its content, perhaps cut."""

    entry: TableEntry
    offset: int
    data: bytes


class VhdxDump:
    """Reads structures on demand."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.size = storage.size()

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range, cut at end of file."""
        return read_some(self.storage, offset, length, self.size)

    @cached_property
    def copies(self) -> list[bytes]:
        """Both headers."""
        return [self.read(offset, header.HEADER.size) for offset in header.OFFSETS]

    @cached_property
    def chosen(self) -> Chosen | None:
        valid: list[Chosen] = []
        marked: list[Chosen] = []
        for slot, copy in enumerate(self.copies):
            if len(copy) < header.HEADER.size or not copy.startswith(b"head"):
                continue
            if checksum.is_sealed(copy, field=CHECKSUM):
                valid.append(Chosen(header.HEADER.parse(copy), slot, ""))
            else:
                marked.append(Chosen(header.HEADER.parse(copy), slot, "its checksum is wrong"))
        return max(valid or marked, key=lambda found: found.header.sequence_number, default=None)

    @cached_property
    def log(self) -> DumpPlace:
        if self.chosen is None:
            return DumpPlace(None, "not read: no header gives its location")
        place = self.chosen.header.log
        if not place.length:
            return DumpPlace(None, "the file has no space for a log")
        if place.offset < AREA or place.offset >= self.size:
            return DumpPlace(None, f"not read: header {self.chosen.slot + 1} gives an invalid offset, {place.offset}")
        if place.length > LONGEST_LOG:
            return DumpPlace(None, f"not read: {place.length} bytes exceed the maximum that can be replayed")
        return DumpPlace(Range(place.offset, min(place.length, self.size - place.offset)))

    @cached_property
    def ring(self) -> Ring:
        """The bytes of the log."""
        return b"" if self.log.range is None else StoredBytes(self.storage, self.log.range)

    @cached_property
    def active(self) -> list[Entry]:
        """The active sequence: the entries to be replayed."""
        chosen, place = self.chosen, self.log.range
        if chosen is None or place is None or not chosen.header.has_log or place.length < chosen.header.log_length:
            return []
        try:
            return log.scan(self.ring, chosen.header.log_guid)
        except FormatError:
            return []

    @cached_property
    def pending(self) -> Pending:
        return Pending(log.places(self.active))

    @cached_property
    def tables(self) -> list[bytes]:
        """Both region tables."""
        return [self.read(offset, region.TABLE_SIZE) for offset in region.OFFSETS]

    @cached_property
    def regions(self) -> DumpRegions | None:
        marked: DumpRegions | None = None
        for number, copy in enumerate(self.tables):
            entries = region_entries(copy) if copy.startswith(b"regi") else []
            sound = len(copy) == region.TABLE_SIZE and checksum.is_sealed(copy, field=CHECKSUM)
            if entries and sound:
                return DumpRegions(entries, number, "")
            if entries and marked is None:
                marked = DumpRegions(entries, number, "its checksum is wrong")
        return marked

    def place(self, guid: UUID) -> DumpPlace:
        """The file range of a region."""
        if self.regions is None:
            return DumpPlace(None, "not read: both copies of the region table are damaged")
        entry = next((entry for entry in self.regions.entries if entry.guid == guid), None)
        table = f"region table {self.regions.number + 1}"
        if entry is None:
            return DumpPlace(None, f"not read: {table} has no entry for it")
        if entry.file_offset < AREA or entry.file_offset >= self.size or not entry.length:
            where = f"{entry.length} bytes at {entry.file_offset}, but the file size is {self.size}"
            return DumpPlace(None, f"not read: {table} gives {where}")
        length = min(entry.length, self.size - entry.file_offset, _LONGEST.get(guid, entry.length))
        return DumpPlace(Range(entry.file_offset, length))

    @cached_property
    def bat(self) -> DumpPlace:
        return self.place(region.BAT)

    @cached_property
    def metadata(self) -> DumpPlace:
        return self.place(region.METADATA)

    def following(self, place: Range) -> str:
        """A note about a structure at *place*: doubts about its location, and pending log changes."""
        doubtful = self.regions is not None and self.regions.doubt
        doubt = "located by a region table with a wrong checksum, so the location may be wrong" if doubtful else ""
        return "; ".join(text for text in (doubt, self.pending.note(*place)) if text)

    @cached_property
    def table(self) -> bytes:
        """The metadata table."""
        place = self.metadata.range
        return b"" if place is None else self.read(place.offset, min(metadata.TABLE_SIZE, place.length))

    @cached_property
    def item_entries(self) -> list[TableEntry]:
        """The entries of the metadata table; none if the entry count is too large."""
        if len(self.table) < TABLE_HEADER.size:
            return []
        count = int.from_bytes(self.table[10:12], "little")
        if count > MOST_ENTRIES:
            return []
        places = [metadata.entry_offset(number) for number in range(count)]
        rows = [self.table[at : at + TABLE_ENTRY.size] for at in places]
        return [TABLE_ENTRY.parse(row) for row in rows if len(row) == TABLE_ENTRY.size]

    def item(self, entry: TableEntry, most: int) -> Item | None:
        """An item, at most *most* bytes of it; None if it cannot be read."""
        place = self.metadata.range
        if place is None or not entry.length or entry.offset < metadata.TABLE_SIZE or entry.offset >= place.length:
            return None
        offset = place.offset + entry.offset
        return Item(entry, offset, self.read(offset, min(entry.length, most, place.length - entry.offset)))

    def system_item(self, item_id: UUID, most: int) -> Item | None:
        """The first system item with that id."""
        for entry in self.item_entries:
            if entry.item_id == item_id and not entry.flags & metadata.IS_USER:
                return self.item(entry, most)
        return None

    def _number(self, item_id: UUID, length: int) -> int | None:
        item = self.system_item(item_id, length)
        return None if item is None or len(item.data) < length else int.from_bytes(item.data, "little")

    @cached_property
    def layout(self) -> BatLayout | None:
        """The layout of the BAT; None if the metadata does not give it."""
        parameters = self._number(metadata.FILE_PARAMETERS, 8)
        size = self._number(metadata.VIRTUAL_DISK_SIZE, 8)
        sector = self._number(metadata.LOGICAL_SECTOR_SIZE, 4)
        if parameters is None or size is None or sector not in (512, 4096):
            return None
        block, flags = parameters & 0xFFFFFFFF, parameters >> 32
        if block & (block - 1) or not MIB <= block <= 256 * MIB or not 0 < size <= metadata.LARGEST_DISK:
            return None
        return BatLayout(size, block, sector, bool(flags & 2))

    def name_of(self, offset: int) -> str:
        """Name of the structure at *offset*, according to headers and region tables."""
        places = [(f"header {number + 1}", Range(at, header.HEADER.size)) for number, at in enumerate(header.OFFSETS)]
        tables = [Range(at, region.TABLE_SIZE) for at in region.OFFSETS]
        places += [(f"region table {number + 1}", place) for number, place in enumerate(tables)]
        places.append(("the first MiB", Range(0, AREA)))
        large = (("the log", self.log), ("the BAT", self.bat), ("the metadata", self.metadata))
        places += [(name, place.range) for name, place in large if place.range is not None]
        for name, place in places:
            if place.offset <= offset < place.end:
                return name
        chunk = self._bitmaps.get(offset // MIB)
        if chunk is not None:
            return f"the sector bitmap of chunk {chunk}"
        return "blocks or free space" if offset < self.size else "space beyond end of file"

    @cached_property
    def _bitmaps(self) -> dict[int, int]:
        """Chunk numbers of sector bitmaps, by file offset in MiB."""
        layout, place = self.layout, self.bat.range
        if layout is None or place is None or not layout.has_parent:
            return {}
        indexes = (layout.bitmap_index(chunk) for chunk in range(layout.chunks))
        places = [place.offset + index * ENTRY_SIZE for index in indexes if (index + 1) * ENTRY_SIZE <= place.length]
        found: dict[int, int] = {}
        for chunk, entry in enumerate(preads(self.storage, [(at, ENTRY_SIZE) for at in places])):
            raw = int.from_bytes(entry, "little")
            if state(raw) == BitmapState.PRESENT:
                found[raw // MIB] = chunk
        return found


def region_entries(copy: bytes) -> list[RegionEntry]:
    """The entries of a region table; none if the entry count is too large."""
    count = int.from_bytes(copy[8:12], "little")
    start = region.TABLE_HEADER.size
    if count > MOST_ENTRIES:
        return []
    places = range(start, start + count * region.ENTRY.size, region.ENTRY.size)
    rows = [copy[at : at + region.ENTRY.size] for at in places]
    try:
        return [region.ENTRY.parse(row) for row in rows if len(row) == region.ENTRY.size]
    except Error:
        return []
