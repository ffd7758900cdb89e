"""Reads a damaged VHD."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Presence, Range, bit_runs
from vhdx.format import vhd_batmap, vhd_checksum, vhd_footer, vhd_header
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, VhdLayout, reverse_bits
from vhdx.format.vhd_footer import SIZE, VhdType
from vhdx.format.vhd_header import HEADER, HOME, NO_PARENT, DynamicHeader
from vhdx.image.base import DiskType, ImageInfo, ParentLink
from vhdx.image.vhd.describing import describe
from vhdx.image.vhd.parent import read_link
from vhdx.salvage.claims import ON_STRUCTURE, SHARED, Starts
from vhdx.salvage.entries import Entries
from vhdx.salvage.flat import FlatLayer
from vhdx.salvage.layer import BEHIND_END, ENTRY_LOST, Piece, held, lost
from vhdx.salvage.medium import Medium, is_medium_error
from vhdx.salvage.report import Noting
from vhdx.salvage.vhd_front import FoundFront, find_footer
from vhdx.storage.base import Storage

_COOKIE = b"cxsparse"
_CHECKSUM = 36
_BITMAP_LOST = "the sector bitmap of its block cannot be read"


def open_vhd_layer(storage: Storage, noting: Noting, *, told: bool) -> "VhdLayer | FlatLayer":
    """Open the image in *storage*; *told*: the caller named the format.

    Raises FormatError when the disk cannot be described, UnsupportedFeature.
    """
    medium = Medium(storage)
    found = find_footer(medium, noting, told=told)
    if not found.footer.is_dynamic:
        if found.footer.current_size > found.end:
            size = found.footer.current_size
            message = f"the disk has {size} bytes, but the file only {found.end} before the footer: it is truncated"
            noting.trust("footer", found.end, message)
        return FlatLayer(_described(found, DiskType.FIXED), Medium(storage, end=found.end))
    return _with_blocks(Medium(storage, end=found.end), found, noting)


def _with_blocks(medium: Medium, found: FoundFront, noting: Noting) -> "VhdLayer":
    offset, head, sealed = _header(medium, found, noting)
    footer = found.footer
    if found.made:
        footer = replace(footer, current_size=head.max_entries * head.block_size)
    differencing = footer.disk_type == VhdType.DIFFERENCING
    if not found.sealed and sealed and head.parent_id != NO_PARENT:
        differencing = True
    if vhd_footer.has_old_bitmaps(replace(footer, disk_type=VhdType.DIFFERENCING if differencing else VhdType.DYNAMIC)):
        raise UnsupportedFeature(f"{noting.file}: sector bitmaps of tapdisk 0.1 are not supported")
    layout = VhdLayout(footer.current_size, head.block_size, differencing)
    table = Range(head.table_offset, layout.blocks * ENTRY_SIZE)
    fixed = [Range(0, SIZE), Range(offset, HEADER.size)]
    reason = ""
    if head.max_entries < layout.blocks or (not sealed and not found.sealed and head.max_entries != layout.blocks):
        reason = f"it has {head.max_entries} entries, but the disk has {layout.blocks} blocks"
    elif any(table.offset < place.end and place.offset < table.end for place in fixed):
        reason = f"the recorded offset {table.offset} overlaps a header"
    elif table.offset >= medium.end:
        reason = f"the recorded offset {table.offset} is beyond end of file"
    if reason:
        reason += "; one value is wrong, so blocks cannot be located"
        raise FormatError("block table", table.offset, reason, HEADER.section, file=noting.file)
    link, locators = _link(medium, head, noting) if differencing else (None, [])
    kind = DiskType.DIFFERENCING if differencing else DiskType.DYNAMIC
    info = replace(_described(found, kind), virtual_size=footer.current_size, block_size=head.block_size, parent=link)
    taken = [*fixed, table, *locators]
    if vhd_batmap.is_possible(footer):
        taken += _batmap(medium, head)
    return VhdLayer(medium, info, layout, table, taken, noting, doubtful=not sealed)


def _described(found: FoundFront, kind: DiskType) -> ImageInfo:
    """The image's properties; without a footer it has no id."""
    info = describe(found.footer, kind)
    return replace(info, linkage=None, disk_id=None, creator="") if found.made else info


def _header(medium: Medium, found: FoundFront, noting: Noting) -> tuple[int, DynamicHeader, bool]:
    """Offset of the dynamic header, the header, and whether its checksum is correct."""
    stated = found.footer.data_offset
    for offset in dict.fromkeys((stated, HOME)):
        data = medium.whole(offset, HEADER.size)
        if data is None or not data.startswith(_COOKIE):
            continue
        if offset != stated:
            message = f"there is none at the recorded offset {stated}; the one at {offset} was used"
            noting.trust(HEADER.structure, offset, message)
        head, sealed = HEADER.parse(data, offset), vhd_checksum.is_sealed(data, field=_CHECKSUM)
        reason = vhd_header.block_size_fault(head.block_size)
        if head.version >> 16 != 1:
            reason = f"version {head.version:#x} is unknown"
        elif head.table_offset % SECTOR:
            reason = f"the block table at {head.table_offset} is not sector-aligned"
        if reason:
            reason += ", so blocks cannot be located"
            raise FormatError(HEADER.structure, offset, reason, HEADER.section, file=noting.file)
        if not sealed:
            noting.trust(HEADER.structure, offset, "its checksum is wrong; its fields are valid and were used")
        return offset, head, sealed
    reason = "there is none, so blocks cannot be located"
    raise FormatError(HEADER.structure, stated, reason, HEADER.section, file=noting.file)


def _link(medium: Medium, head: DynamicHeader, noting: Noting) -> tuple[ParentLink, list[Range]]:
    try:
        link, warnings = read_link(medium.storage, head, medium.storage.size())
    except OSError as error:
        if not is_medium_error(error):
            raise
        link, warnings = read_link(medium.storage, replace(head, locators=bytes(len(head.locators))), 0)
        warnings.append("the paths in the parent locators cannot be read")
    for warning in warnings:
        noting.tell("parent locator", None, warning)
    places = [Range(entry.data_offset, entry.data_length) for entry in head.entries if entry.data_length]
    return link, places


def _batmap(medium: Medium, head: DynamicHeader) -> list[Range]:
    """File ranges of the batmap, in a file created by blktap."""
    at = vhd_batmap.header_place(head.table_offset, head.max_entries)
    data = medium.whole(at, SECTOR)
    if data is None or not data.startswith(vhd_batmap.COOKIE):
        return []
    found = vhd_batmap.HEADER.parse(data, at)
    return [Range(at, SECTOR), Range(found.offset, found.sectors * SECTOR)]


@dataclass(slots=True)
class VhdLayer:
    """Implements `SalvageLayer`; created by `open_vhd_layer`. *taken* are ranges that no block may overlap."""

    medium: Medium
    info: ImageInfo
    layout: VhdLayout
    table: Range
    taken: list[Range]
    noting: Noting
    doubtful: bool
    entries: Entries = field(init=False)
    starts: Starts = field(init=False)
    _bits: tuple[int, bytes | None] = (-1, None)

    def __post_init__(self) -> None:
        self.entries = Entries(
            self.medium, self.table.offset, self.layout.blocks, size=ENTRY_SIZE, order="big", blank=b"\xff"
        )
        self.starts = Starts((), self.layout.span // SECTOR)

    @property
    def needs_parent(self) -> bool:
        """Whether it is a differencing image."""
        return self.layout.has_parent

    def survey(self) -> None:
        """Scan the table. Raises FormatError if the offset of the table was guessed, and wrong."""
        inside = (start for _, start in self.entries.used() if start * SECTOR < self.medium.end)
        self.starts = Starts(inside, self.layout.span // SECTOR)
        if self.doubtful:
            self._verify_guess()

    def _verify_guess(self) -> None:
        """Verify that the bytes at the recorded offset are a block table that fits this file."""
        for block, start in self.entries.used():
            place = Range(start * SECTOR, self.layout.span)
            wrong = BEHIND_END if place.end > self.medium.end else self._dispute(place)
            if wrong:
                raise self._no_table(f"block {block}: {wrong}")
        clear = max(place.end for place in self.taken)
        if not len(self.starts) and self.medium.end - clear >= self.layout.span:
            raise self._no_table("it is empty, but the file is not")

    def _no_table(self, reason: str) -> FormatError:
        reason = f"the checksum of the dynamic header is wrong, and there is no valid table at its offset ({reason})"
        return FormatError("block table", self.table.offset, reason, HEADER.section, file=self.noting.file)

    def _dispute(self, place: Range) -> str:
        if any(place.offset < other.end and other.offset < place.end for other in self.taken):
            return ON_STRUCTURE
        return SHARED if self.starts.shared(place.offset // SECTOR) else ""

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """The pieces of a range."""
        size = self.layout.block_size
        at, end = offset, offset + length
        while at < end:
            block = at // size
            count, start = self.entries.run(block, -(-end // size))
            stop = min((block + count) * size, end)
            if start is None:
                yield lost(at, stop, ENTRY_LOST)
            elif start == self.entries.unused:
                yield Piece(at, stop - at, Presence.NOT_PRESENT)
            else:
                yield from self._pieces_of(block, start * SECTOR, at, stop)
            at = stop

    def _pieces_of(self, block: int, place: int, at: int, stop: int) -> Iterator[Piece]:
        reason = BEHIND_END if place >= self.medium.end else self._dispute(Range(place, self.layout.span))
        if reason:
            yield lost(at, stop, reason)
            return
        start, data = block * self.layout.block_size, place + self.layout.bitmap_size
        if not self.layout.has_parent:
            yield from held(self.medium, SECTOR, at, stop, data + at - start)
            return
        bits = self._bitmap(block, place)
        if bits is None:
            yield lost(at, stop, _BITMAP_LOST)
            return
        for first, count, here in bit_runs(bits, (at - start) // SECTOR, (stop - at) // SECTOR):
            within, length = first * SECTOR, count * SECTOR
            if here:
                yield from held(self.medium, SECTOR, start + within, start + within + length, data + within)
            else:
                yield Piece(start + within, length, Presence.NOT_PRESENT)

    def _bitmap(self, block: int, place: int) -> bytes | None:
        if self._bits[0] != block:
            data = self.medium.whole(place, self.layout.bitmap_size)
            self._bits = block, None if data is None else reverse_bits(data)
        return self._bits[1]

    def close(self) -> None:
        """Close the file."""
        self.medium.storage.close()
