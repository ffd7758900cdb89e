"""Which part of a VHDX a write goes to, told from the bytes that the file has at that moment."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from tests.support.memory import Pages
from vhdx.extents import Range
from vhdx.format import bat, header, log, metadata, region

_FRONT = 1 << 20
_GUID = slice(32, 48)  # of a log entry: the id of the log that it belongs to


class Place(enum.StrEnum):
    """A part of a file; all but the first three only of a VHDX that is in use as an image."""

    WHOLE = ""
    LENGTH = "length"
    TAIL = "tail"  # cut off
    HEADER_1 = "header 1"
    HEADER_2 = "header 2"
    LOG = "log"
    PAGES = "pages"  # region tables, metadata, BAT and the sector bitmaps that the BAT names
    PAYLOAD = "payload"


HEADERS = frozenset({Place.HEADER_1, Place.HEADER_2})


class Marks(NamedTuple):
    """What a header says of the rest of the file: which log counts, and the id of the disk's content."""

    log: UUID
    content: UUID


@dataclass
class Anatomy:
    """Where the parts of a VHDX lie that is all of *pages*.

    *logged* are the parts of the file that the last log entry puts bytes into, as far as that entry is flushed.
    """

    pages: Pages
    log: Range = field(init=False)
    tables: list[Range] = field(init=False)
    logged: list[Range] = field(init=False, default_factory=list)
    _entry: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.look()

    @property
    def marks(self) -> Marks:
        """What the header in force says."""
        found = header.current(self._copies(header.OFFSETS, 4096)).header
        return Marks(found.log_guid, found.data_write_guid)

    def place(self, offset: int, length: int) -> Place:
        """The part that a write to *offset* goes to."""
        part = Range(offset, length)
        if part.end <= region.OFFSETS[0]:
            return Place.HEADER_1 if offset < header.OFFSETS[1] else Place.HEADER_2
        if _meet(part, self.log):
            if self._entry is None:
                self._entry = offset - self.log.offset
            return Place.LOG
        known = (*self.tables, *self.logged)
        return Place.PAGES if offset < _FRONT or any(_meet(part, one) for one in known) else Place.PAYLOAD

    def is_logged(self, offset: int, length: int) -> bool:
        """Whether the last durable log entry holds all that is written here."""
        covered = sum(min(one.end, offset + length) - max(one.offset, offset) for one in self._in(offset, length))
        return covered >= length

    def _in(self, offset: int, length: int) -> list[Range]:
        return [one for one in self.logged if _meet(one, Range(offset, length))]

    def flushed(self) -> None:
        """What was written is durable: a log entry counts, and the tables are where they say."""
        if self._entry is not None:
            ring = self.pages.read(self.log.offset, self.log.length)
            guid = UUID(bytes_le=(ring + ring)[self._entry :][_GUID])
            entry = log.parse_entry(ring, self._entry, guid)
            changes = entry.places() if entry is not None else ()
            self.logged = [Range(at, what if isinstance(what, int) else len(what)) for at, what in changes]
            self._entry = None
        self.look()

    def look(self) -> None:
        """Find the parts anew."""
        self.log = header.current(self._copies(header.OFFSETS, 4096)).header.log
        regions = region.current(self._copies(region.OFFSETS, region.TABLE_SIZE))
        table, items = region.find(regions, region.BAT), region.find(regions, region.METADATA)
        self.tables = [table, items, *self._bitmaps(table, items)]

    def _bitmaps(self, table: Range, region: Range) -> list[Range]:
        found = metadata.system_items(metadata.parse_table(self.pages.read(region.offset, metadata.TABLE_SIZE), region))
        values = {guid: self.pages.read(region.offset + entry.offset, entry.length) for guid, entry in found.items()}
        disk = metadata.decode(values, region.offset)
        layout = bat.BatLayout(disk.virtual_size, disk.block_size, disk.logical_sector_size, disk.has_parent)
        places = []
        for chunk in range(layout.bitmap_entries):
            at = table.offset + layout.bitmap_index(chunk) * bat.ENTRY_SIZE
            raw = int.from_bytes(self.pages.read(at, bat.ENTRY_SIZE), "little")
            if bat.state(raw) == bat.BitmapState.PRESENT:
                places.append(Range(bat.file_offset(raw), bat.BITMAP_BLOCK_SIZE))
        return places

    def _copies(self, offsets: tuple[int, ...], length: int) -> list[bytes]:
        return [self.pages.read(offset, length) for offset in offsets]


def _meet(one: Range, other: Range) -> bool:
    return one.offset < other.end and other.offset < one.end
