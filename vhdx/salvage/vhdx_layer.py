"""Reads a damaged VHDX."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vhdx.errors import FormatError
from vhdx.extents import Presence, Range, bit_runs
from vhdx.format import bat, identifier
from vhdx.format.bat import BITMAP_BLOCK_SIZE, ENTRY_SIZE, MIB, BatLayout, BitmapState, PayloadState
from vhdx.format.header import AREA
from vhdx.format.metadata import DiskMetadata
from vhdx.image.base import ImageInfo, ParentLink
from vhdx.image.vhdx.describing import describe
from vhdx.salvage.claims import Claims
from vhdx.salvage.entries import Entries
from vhdx.salvage.layer import BEHIND_END, ENTRY_LOST, Piece, held, lost
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Noting
from vhdx.salvage.vhdx_log import Front, read_front
from vhdx.salvage.vhdx_metadata import read_disk, read_parent
from vhdx.salvage.vhdx_regions import SalvageRegions, read_regions
from vhdx.storage.base import Storage

_PARENT_DENIED = "not present; it may have been in a parent, but HasParent is not set"
_BITMAP_LOST = "the sector bitmap of its block is missing or cannot be read"


def open_vhdx_layer(storage: Storage, noting: Noting) -> "VhdxLayer":
    """Open the image in *storage*. Raises FormatError when the disk cannot be described, UnsupportedFeature."""
    if storage.size() < AREA:
        reason = f"{storage.size()} bytes are too few for the headers and tables of a VHDX"
        raise FormatError("file", None, reason, file=noting.file)
    creator = _creator(Medium(storage), noting)
    front = read_front(storage, noting)
    medium = Medium(front.view, end=front.end)
    regions = read_regions(medium, noting)
    disk = read_disk(medium, regions.metadata, noting)
    layout = BatLayout(disk.virtual_size, disk.block_size, disk.logical_sector_size, disk.has_parent)
    if layout.entries * ENTRY_SIZE > regions.bat.length or regions.bat.offset >= medium.end:
        reason = (
            f"the {layout.entries} entries of the disk do not fit into its {regions.bat.length} bytes at "
            f"{regions.bat.offset}: one value is wrong, so blocks cannot be located"
        )
        raise FormatError("BAT", regions.bat.offset, reason, "2.5")
    link = read_parent(disk, regions.metadata.offset, noting)
    return VhdxLayer(medium, _info(disk, front, creator, link), layout, front, regions, noting)


def _creator(medium: Medium, noting: Noting) -> str:
    data = medium.whole(0, identifier.IDENTIFIER.size)
    if data is None or not data.startswith(identifier.SIGNATURE):
        noting.tell("file identifier", 0, "the signature is missing")
        return ""
    return identifier.IDENTIFIER.parse(data, 0).creator_text


def _info(disk: DiskMetadata, front: Front, creator: str, link: ParentLink | None) -> ImageInfo:
    linkage = None if front.header is None else front.header.data_write_guid
    return describe(disk, linkage=linkage, creator=creator, log_entries=front.log_entries, parent=link)


@dataclass(slots=True)
class VhdxLayer:
    """Implements `SalvageLayer`; created by `open_vhdx_layer`."""

    medium: Medium
    info: ImageInfo
    layout: BatLayout
    front: Front
    regions: SalvageRegions
    noting: Noting
    entries: Entries = field(init=False)
    claims: Claims = field(init=False)
    _bits: tuple[int, bytes | None] = (-1, None)
    _denies_parent: bool = False

    def __post_init__(self) -> None:
        bat_place = self.regions.bat
        self.entries = Entries(
            self.medium, bat_place.offset, self.layout.entries, size=ENTRY_SIZE, order="little", blank=b"\0"
        )
        self.claims = Claims(MIB)

    @property
    def needs_parent(self) -> bool:
        """Whether it is a differencing image."""
        return self.layout.has_parent

    def survey(self) -> None:
        """Scan the table. Raises FormatError if the offset of the table was guessed, and wrong."""
        for place in (Range(0, AREA), self.regions.bat, self.regions.metadata, *self.regions.others, self.front.log):
            if place is not None and place.offset < self.medium.end:
                self.claims.structure(self._inside(place))
        absent = partial = 0
        for index, raw in self.entries.used():
            place = self._claimed(index, raw)
            if place is not None and place.offset < self.medium.end:
                self.claims.claim(self._inside(place))
            partial += not self._is_bitmap(index) and bat.state(raw) == PayloadState.PARTIALLY_PRESENT
            absent += place is None and bat.state(raw) == PayloadState.NOT_PRESENT and raw >= MIB
        if absent:
            message = f"{absent} entries of blocks that are not present have a file offset; ignored"
            self.noting.trust("BAT", self.regions.bat.offset, message)
        if partial and not self.layout.has_parent:
            message = f"{partial} blocks are partially present, so there was a parent, but HasParent is not set"
            self.noting.trust("BAT", self.regions.bat.offset, message)
            self._denies_parent = True
        if self.regions.doubtful:
            self._verify_guess()

    def _inside(self, place: Range) -> Range:
        return Range(place.offset, min(place.end, self.medium.end) - place.offset)

    def _is_bitmap(self, index: int) -> bool:
        return index % (self.layout.chunk_ratio + 1) == self.layout.chunk_ratio

    def _block(self, index: int) -> int:
        return index - index // (self.layout.chunk_ratio + 1)

    def _claimed(self, index: int, raw: int) -> Range | None:
        """The file range of an entry, valid or not."""
        if self._is_bitmap(index):
            offset = bat.file_offset(raw)
            return Range(offset, BITMAP_BLOCK_SIZE) if offset and bat.state(raw) != BitmapState.NOT_PRESENT else None
        if self._block(index) >= self.layout.payload_blocks:
            return None
        offset = bat.place(raw) or 0
        return Range(offset, self.layout.block_size) if offset else None

    def _verify_guess(self) -> None:
        """Verify that the bytes at the recorded offset are a BAT that fits this file."""
        present = 0
        for index, raw in self.entries.used():
            if self._is_bitmap(index):
                wrong = bat.bitmap_fault(raw)
            elif self._block(index) >= self.layout.payload_blocks:
                continue
            else:
                wrong = bat.payload_fault(raw, has_parent=self.layout.has_parent)
            place = self._claimed(index, raw)
            if not wrong and place is not None:
                wrong = BEHIND_END if place.end > self.medium.end else self.claims.dispute(place)
            present += place is not None
            if wrong:
                raise self._no_table(f"entry {index} there: {wrong}")
        if not present and self.claims.unclaimed(self.medium.end):
            raise self._no_table("it is empty, but the file is not")

    def _no_table(self, reason: str) -> FormatError:
        reason = f"no copy of the region table is valid, and the recorded BAT does not fit the file ({reason})"
        return FormatError("BAT", self.regions.bat.offset, reason, "2.5", file=self.noting.file)

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """The pieces of a range."""
        size, ratio = self.layout.block_size, self.layout.chunk_ratio
        at, end = offset, offset + length
        while at < end:
            block = at // size
            last = min((block // ratio + 1) * ratio, -(-end // size))
            index = self.layout.payload_index(block)
            count, raw = self.entries.run(index, index + last - block)
            stop = min((block + count) * size, end)
            if raw is None:
                yield lost(at, stop, ENTRY_LOST)
            elif not raw:
                yield self._absent(at, stop)
            else:
                yield from self._pieces_of(block, raw, at, stop)
            at = stop

    def _absent(self, at: int, stop: int) -> Piece:
        return lost(at, stop, _PARENT_DENIED) if self._denies_parent else Piece(at, stop - at, Presence.NOT_PRESENT)

    def _pieces_of(self, block: int, raw: int, at: int, stop: int) -> Iterator[Piece]:
        reason = bat.payload_fault(raw, has_parent=self.layout.has_parent)
        place = bat.place(raw)
        if not reason and place is not None:
            if place >= self.medium.end:
                reason = BEHIND_END if bat.state(raw) in bat.PRESENT else ""
            else:
                reason = self.claims.dispute(self._inside(Range(place, self.layout.block_size)))
        if reason:
            yield lost(at, stop, reason)
            return
        within = at - block * self.layout.block_size
        match bat.state(raw):
            case PayloadState.FULLY_PRESENT:
                assert place is not None
                yield from held(self.medium, self.layout.logical_sector_size, at, stop, place + within)
            case PayloadState.PARTIALLY_PRESENT:
                assert place is not None
                yield from self._partial(block, place, at, stop)
            case PayloadState.NOT_PRESENT:
                yield self._absent(at, stop)
            case _:
                yield Piece(at, stop - at, Presence.ZERO)

    def _partial(self, block: int, place: int, at: int, stop: int) -> Iterator[Piece]:
        bits = self._bitmap(block)
        if bits is None:
            yield lost(at, stop, _BITMAP_LOST)
            return
        sector, start = self.layout.logical_sector_size, block * self.layout.block_size
        for first, count, here in bit_runs(bits, (at - start) // sector, (stop - at) // sector):
            within, length = first * sector, count * sector
            if here:
                yield from held(self.medium, sector, start + within, start + within + length, place + within)
            else:
                yield Piece(start + within, length, Presence.NOT_PRESENT)

    def _bitmap(self, block: int) -> bytes | None:
        if self._bits[0] != block:
            self._bits = block, self._read_bitmap(block)
        return self._bits[1]

    def _read_bitmap(self, block: int) -> bytes | None:
        index = self.layout.bitmap_index(self.layout.chunk_of(block))
        _, raw = self.entries.run(index, index + 1)
        if raw is None or bat.bitmap_fault(raw) or bat.state(raw) != BitmapState.PRESENT:
            return None
        place = Range(bat.file_offset(raw), BITMAP_BLOCK_SIZE)
        if place.offset >= self.medium.end or self.claims.dispute(self._inside(place)):
            return None
        return self.medium.whole(place.offset + self.layout.bitmap_place(block), self.layout.bitmap_bytes)

    def close(self) -> None:
        """Close the file."""
        self.medium.storage.close()
