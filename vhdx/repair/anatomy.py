"""The structures that BAT repairs need, of a VHDX whose headers, log and region tables are valid."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vhdx.check.blocks import scan
from vhdx.extents import Range
from vhdx.format import bat, header, metadata, region
from vhdx.format.bat import BITMAP_BLOCK_SIZE, ENTRY_SIZE, MIB, BatLayout, BitmapState
from vhdx.format.header import AREA
from vhdx.format.metadata import DiskMetadata
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread, preads

_FREE = re.compile(b"\0+")


@dataclass(frozen=True, slots=True)
class Anatomy:
    """*structures* are the file ranges of log and regions; *locator*: there is a parent locator, used or not."""

    storage: Storage
    disk: DiskMetadata
    layout: BatLayout
    region: Range
    structures: tuple[Range, ...]
    locator: bool

    @classmethod
    def of(cls, storage: Storage) -> "Anatomy":
        """Raises FormatError, UnsupportedFeature."""
        current = header.current(preads(storage, [(offset, header.HEADER.size) for offset in header.OFFSETS]))
        log = current.header.log
        regions = region.current(preads(storage, [(offset, region.TABLE_SIZE) for offset in region.OFFSETS]))
        region.verify(regions, log=log, file_size=storage.size())
        place = region.find(regions, region.METADATA)
        items = metadata.system_items(metadata.parse_table(pread(storage, place.offset, metadata.TABLE_SIZE), place))
        contents = preads(storage, [(place.offset + item.offset, item.length) for item in items.values()])
        disk = metadata.decode(dict(zip(items, contents, strict=True)), place.offset)
        layout = BatLayout(disk.virtual_size, disk.block_size, disk.logical_sector_size, disk.has_parent)
        table = region.find(regions, region.BAT)
        bat.verify_region(layout, table)
        structures = (*(entry.range for entry in regions), *([log] if log.length else []))
        return cls(storage, disk, layout, table, structures, metadata.PARENT_LOCATOR in items)

    def entries(self) -> Iterator[tuple[int, int]]:
        """Every nonzero BAT entry of the disk: (index, raw)."""
        return scan(self.storage, Range(self.region.offset, self.layout.entries * ENTRY_SIZE))

    def padding(self) -> Iterator[tuple[int, int]]:
        """Every nonzero entry in the region that belongs to no block or sector bitmap of the disk."""
        layout = self.layout
        for index, raw in self.entries():
            if self.is_payload(index) and index - index // (layout.chunk_ratio + 1) >= layout.payload_blocks:
                yield index, raw
        start = layout.entries * ENTRY_SIZE
        for index, raw in scan(self.storage, Range(self.region.offset + start, self.region.length - start)):
            yield layout.entries + index, raw

    def is_payload(self, index: int) -> bool:
        """Whether an entry is for a payload block rather than a sector bitmap."""
        return index % (self.layout.chunk_ratio + 1) != self.layout.chunk_ratio

    def names_block(self, index: int, raw: int) -> bool:
        """Whether an entry is present and its range is inside the file, after the header section."""
        held = bat.state(raw) in bat.PRESENT if self.is_payload(index) else bat.state(raw) == BitmapState.PRESENT
        place = self.place(index, raw)
        return held and place.offset >= AREA and place.end <= self.storage.size()

    def place(self, index: int, raw: int) -> Range:
        """The file range of an entry."""
        length = self.layout.block_size if self.is_payload(index) else BITMAP_BLOCK_SIZE
        return Range(bat.file_offset(raw), length)

    def free(self) -> Iterator[Range]:
        """Unreferenced ranges of whole MiB; the last may extend beyond end of file.

        The range of an entry beyond end of disk is not free: the disk may have been larger.
        """
        taken = bytearray(-(-self.storage.size() // MIB))
        places = [Range(0, AREA), *self.structures]
        places += [self.place(index, raw) for index, raw in self.padding() if self.names_block(index, raw)]
        for place in places:
            _mark(taken, place)
        for index, raw in self.entries():
            held = bat.place(raw) is not None if self.is_payload(index) else bat.state(raw) == BitmapState.PRESENT
            if held:
                _mark(taken, self.place(index, raw))
        for found in _FREE.finditer(taken):
            yield Range(found.start() * MIB, (found.end() - found.start()) * MIB)


def _mark(taken: bytearray, place: Range) -> None:
    end = min(place.end // MIB, len(taken))
    start = min(place.offset // MIB, end)
    taken[start:end] = b"\1" * (end - start)
