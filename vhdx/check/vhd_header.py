"""Checks of the dynamic header of a VHD and its parent locators (VHD 1.0)."""

from collections.abc import Generator, Iterator
from typing import NamedTuple

from vhdx.check.container import first_set
from vhdx.check.finding import Finding, found
from vhdx.check.overlapping import overlapping
from vhdx.check.vhd_batmap import CheckedBatmap, find_batmap
from vhdx.extents import Range
from vhdx.format import vhd_checksum, vhd_footer, vhd_header, vhd_locator
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, VhdLayout
from vhdx.format.vhd_footer import NO_OFFSET, SIZE, Footer, VhdType
from vhdx.format.vhd_header import HEADER, NO_PARENT, DynamicHeader
from vhdx.format.vhd_locator import PLATFORMS, LocatorPlace
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_CHECKSUM = 36
_NAME, _LOCATORS, _RESERVED, _RESERVED2 = 64, 576, 60, 768
_FOLLOWED = {code for code, platform in PLATFORMS.items() if platform.followed}


class VhdDisk(NamedTuple):
    """The values needed to interpret the block table; *end* is the offset of the footer.

    *rooms* are ranges reserved for the table and other structures; they may exceed the structure, or *end*.
    """

    layout: VhdLayout
    table_offset: int
    max_entries: int
    end: int
    structures: tuple[tuple[str, Range], ...]
    rooms: tuple[Range, ...]
    batmap: CheckedBatmap | None

    @property
    def table(self) -> Range:
        """The file range of the entries."""
        return Range(self.table_offset, self.layout.blocks * ENTRY_SIZE)


def check_header(storage: Storage, footer: Footer, at: int, end: int) -> Generator[Finding, None, VhdDisk | None]:
    """The disk that the dynamic header describes; *at* is the offset of the footer in use, *end* of the last one."""
    offset = footer.data_offset
    if offset % SECTOR or offset < SIZE or offset + HEADER.size > end:
        yield found("vhd-footer-data-offset", at + 16, f"invalid offset {offset} of the dynamic header")
        return None
    data = pread(storage, offset, HEADER.size)
    if data[:8] != b"cxsparse":
        yield found("vhd-header-signature", offset, f"the cookie is {data[:8]!r} instead of b'cxsparse'")
        return None
    if not vhd_checksum.is_sealed(data, field=_CHECKSUM):
        message = "its checksum is wrong, so many programs reject the file; it may have been edited by hand"
        yield found("vhd-header-checksum", offset + _CHECKSUM, message)
    header = HEADER.parse(data, offset)
    for start, stop in ((_RESERVED, _NAME), (_RESERVED2, HEADER.size)):
        spot = first_set(data, start, stop)
        if spot is not None:
            yield found("vhd-header-reserved", offset + spot, "reserved bytes are not zero")
    differencing = footer.disk_type == VhdType.DIFFERENCING
    if vhd_footer.has_old_bitmaps(footer):
        message = f"the sector bitmaps of {footer.creator_text} use another bit order"
        yield found("vhd-bitmap-order", at + 28, message)
    if differencing:
        yield from _parent(header, offset)
    elif header.parent_id != NO_PARENT or any(header.parent_name) or any(header.locators):
        yield found("vhd-parent-unused", offset + 40, "a parent id is recorded, but the disk has no parent")
    elif header.parent_timestamp:
        yield found("vhd-parent-unused", offset + 56, "a parent timestamp is recorded, but the disk has no parent")
    places = yield from _locators(storage, header, offset, end)
    layout = VhdLayout(footer.current_size, max(header.block_size, 1), differencing)
    usable = yield from _values(header, offset, layout, end)
    if not usable:
        return None
    places += [("copy of the footer", Range(0, SIZE)), ("dynamic header", Range(offset, HEADER.size))]
    places.append(("block table", Range(header.table_offset, layout.blocks * ENTRY_SIZE)))
    batmap = yield from find_batmap(storage, footer, header, layout, end)
    if batmap is not None:
        places += [("header of the batmap", batmap.header), ("batmap", batmap.bits)]
    yield from _overlaps(places)
    rooms = [Range(header.table_offset, header.max_entries * ENTRY_SIZE), *(entry.room for entry in header.entries)]
    return VhdDisk(layout, header.table_offset, header.max_entries, end, tuple(places), tuple(rooms), batmap)


def _values(header: DynamicHeader, at: int, layout: VhdLayout, end: int) -> Generator[Finding, None, bool]:
    if header.version >> 16 != 1:
        yield found("vhd-header-version", at + 24, f"version {header.version:#x} is not supported")
        return False
    if header.version & 0xFFFF:
        message = f"the version is {header.version >> 16}.{header.version & 0xFFFF}, but only 1.0 is defined"
        yield found("vhd-header-minor-version", at + 24, message)
    if header.data_offset not in (NO_OFFSET, 0xFFFFFFFF):
        yield found("vhd-header-next", at + 8, f"the reserved data offset is {header.data_offset}")
    reason = vhd_header.block_size_fault(header.block_size)
    if reason:
        yield found("vhd-block-size", at + 32, reason)
        return False
    if header.table_offset % SECTOR:
        yield found("vhd-table-alignment", header.table_offset, "the block table is not sector-aligned")
        return False
    if header.max_entries < layout.blocks:
        message = f"{header.max_entries} entries are too few for the {layout.blocks} blocks of the disk"
        yield found("vhd-table-too-small", header.table_offset, message)
        return False
    if header.table_offset + layout.blocks * ENTRY_SIZE > end:
        message = f"{layout.blocks} entries extend beyond end of file or into the footer, at {end}"
        yield found("vhd-table-beyond-end", header.table_offset, message)
        return False
    if header.max_entries > layout.blocks:
        message = f"{header.max_entries} entries for {layout.blocks} blocks; Azure rejects that"
        yield found("vhd-table-too-large", header.table_offset, message)
    return True


def _parent(header: DynamicHeader, at: int) -> Iterator[Finding]:
    if header.parent_id == NO_PARENT:
        yield found("vhd-parent-id-zero", at + 40, "the parent id is zero, so the parent cannot be verified")
    name = vhd_locator.decode_name(header.parent_name)
    if name is None:
        yield found("vhd-parent-name", at + _NAME, "the parent name is missing or not text")
    if name is None and not any(entry.code in vhd_locator.KEYS for entry in header.entries):
        yield found("vhd-locator-none", at + _LOCATORS, "no path to the parent is recorded; relink the image to it")


def _locators(
    storage: Storage, header: DynamicHeader, at: int, end: int
) -> Generator[Finding, None, list[tuple[str, Range]]]:
    """File ranges of the locators, whether the disk has a parent or not."""
    name = vhd_locator.decode_name(header.parent_name)
    places: list[tuple[str, Range]] = []
    codes: set[bytes] = set()
    if name is not None and header.parent_id != NO_PARENT and not _FOLLOWED & {entry.code for entry in header.entries}:
        message = f"the parent is recorded only as the name {name!r} in the header, which other programs do not use"
        yield found("vhd-locator-no-path", at + _LOCATORS, message)
    for number in range(vhd_locator.COUNT):
        start = number * vhd_locator.ENTRY.size
        raw = header.locators[start : start + vhd_locator.ENTRY.size]
        entry = vhd_locator.ENTRY.parse(raw)
        spot = at + _LOCATORS + start
        if not any(entry.code):
            continue
        yield from _marks(entry, raw, spot, codes)
        codes.add(entry.code)
        if entry.data_offset + entry.data_length > end:
            message = f"locator {entry.code!r} at {entry.data_offset} extends beyond end of file or into the footer"
            yield found("vhd-locator-beyond-end", spot, message)
            continue
        if not entry.data_length and entry.code not in PLATFORMS:
            continue
        if not entry.data_length:
            yield found("vhd-locator-empty", spot, f"locator {entry.code!r} has no data")
            continue
        if entry.data_space * SECTOR < entry.data_length:
            message = f"locator {entry.code!r}: {entry.data_length} bytes of data exceed its space, {entry.data_space}"
            yield found("vhd-locator-space", spot + 4, message)
        places.append((f"parent locator {entry.code!r}", Range(entry.data_offset, entry.data_length)))
        if entry.code in vhd_locator.KEYS:
            path = _path(storage, entry)
            if path is None:
                yield found("vhd-locator-text", spot, f"locator {entry.code!r} is not UTF-16 text")
            elif name is not None and _base(path) != _base(name):
                message = f"locator {entry.code!r} is {path!r}, but the parent name is {name!r}"
                yield found("vhd-locator-disagree", spot, message)
    return places


def _marks(entry: LocatorPlace, raw: bytes, spot: int, codes: set[bytes]) -> Iterator[Finding]:
    if entry.code not in PLATFORMS:
        yield found("vhd-locator-code", spot, f"unknown platform code {entry.code!r}")
    if entry.code in codes:
        yield found("vhd-locator-duplicate", spot, f"there is more than one locator {entry.code!r}")
    if any(raw[12:16]):
        yield found("vhd-locator-reserved", spot + 12, f"reserved bytes of locator {entry.code!r} are not zero")


def _path(storage: Storage, entry: LocatorPlace) -> str | None:
    if not 0 < entry.data_length <= vhd_locator.LONGEST:
        return None
    return vhd_locator.decode_path(pread(storage, entry.data_offset, entry.data_length))


def _base(path: str) -> str:
    return path.replace("/", "\\").rsplit("\\", 1)[-1].casefold()


def _overlaps(places: list[tuple[str, Range]]) -> Iterator[Finding]:
    for before, (name, place) in overlapping(places):
        message = f"the {before.name} at {before.place.offset} and the {name} at {place.offset} overlap"
        yield found("vhd-overlap", place.offset, f"{message}; do not write to this file")
