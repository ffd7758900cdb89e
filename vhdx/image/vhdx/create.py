"""Making a VHDX: laid out as Windows lays it out, with the space that later commits need really allocated.

The file is not an image until its maker has closed it and given it its name; so it is built without a log and
flushed once, and a crash leaves a temporary that nothing takes for a disk.
"""

import sys
from array import array
from uuid import UUID

from vhdx.errors import Error
from vhdx.extents import Range
from vhdx.format import bat, header, identifier, metadata, region
from vhdx.format.bat import ENTRY_SIZE, BatLayout, PayloadState
from vhdx.format.header import AREA, Current, Header
from vhdx.format.metadata import DiskMetadata
from vhdx.format.record import NO_GUID
from vhdx.format.region import RegionEntry
from vhdx.image.base import CreateOptions, NewId, ParentLink
from vhdx.image.blocks import BlockImage
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.vhdx.blocks import vhdx_image
from vhdx.image.vhdx.file import VhdxFile, survey, survey_structures
from vhdx.image.vhdx.headers import Headers
from vhdx.image.vhdx.journal import UnloggedJournal
from vhdx.image.vhdx.pages import Pages
from vhdx.image.vhdx.parent import build_item
from vhdx.image.vhdx.table import BlockTable
from vhdx.storage import transfer
from vhdx.storage.base import Storage

MIB = 1 << 20
PAGE = 4096
_DYNAMIC_BLOCK = 32 * MIB
_DIFFERENCING_BLOCK = 2 * MIB


def create_vhdx(
    storage: Storage,
    *,
    size: int,
    disk_id: UUID,
    new_id: NewId,
    options: CreateOptions | None = None,
    parent: ParentLink | None = None,
) -> BlockImage:
    """An image in an empty *storage*, ready to be filled; closing it makes it complete and durable.

    Raises Error for a shape that the format does not allow, OutOfSpace.
    """
    options = options or CreateOptions()
    disk = _described(size, options, disk_id, None if parent is None else build_item(parent))
    reason = _fault(disk, options)
    if reason:
        raise Error(f"{storage.name}: {reason}")
    layout = BatLayout(disk.virtual_size, disk.block_size, disk.logical_sector_size, disk.has_parent)
    table_length = -(-layout.reserved_entries * ENTRY_SIZE // MIB) * MIB
    metadata_place = AREA + options.log_length
    regions = [
        RegionEntry(region.BAT, metadata_place + MIB, table_length),
        RegionEntry(region.METADATA, metadata_place, MIB),
    ]
    first = Header(1, new_id(), new_id(), NO_GUID, 0, 1, options.log_length, AREA)
    current = _lay_out(storage, options.creator, first, regions, disk)
    used = -(-layout.reserved_entries * ENTRY_SIZE // PAGE) * PAGE
    transfer.reserve(storage, [(AREA, options.log_length), (regions[0].file_offset, used)])
    if disk.leave_block_allocated:
        _allocate_all(storage, layout, regions[0].range)
    pages = Pages(storage)
    file = VhdxFile(
        storage=storage,
        latches=Latches(LifeCycle(storage, under_construction=True), storage.name),
        creator=options.creator,
        headers=Headers(storage, current, new_id),
        regions=regions,
        items=metadata.parse_table(metadata.build(disk)[: metadata.TABLE_SIZE], regions[1].range),
        metadata=disk,
        pages=pages,
        table=BlockTable(pages, layout, regions[0].range),
        new_id=new_id,
        link=parent,
        journal=UnloggedJournal(storage),
    )
    file.space = survey(file) if disk.leave_block_allocated else survey_structures(file)
    return vhdx_image(file)


def _allocate_all(storage: Storage, layout: BatLayout, region_place: Range) -> None:
    """Give every block of a fixed image its place, in the disk's order, and really allocate all of them."""
    start = region_place.end
    transfer.reserve(storage, [(start, layout.payload_blocks * layout.block_size)])
    for chunk in range(layout.chunks):
        first = chunk * layout.chunk_ratio
        count = min(layout.chunk_ratio, layout.payload_blocks - first)
        at = start + first * layout.block_size
        present = bat.entry(PayloadState.FULLY_PRESENT, at)
        entries = array("Q", range(present, present + count * layout.block_size, layout.block_size))
        if sys.byteorder == "big":
            entries.byteswap()
        storage.write([(region_place.offset + layout.payload_index(first) * ENTRY_SIZE, entries.tobytes())])


def fault(size: int, options: CreateOptions, *, has_parent: bool) -> str:
    """What the format does not allow about a new image; empty when it may be made."""
    return _fault(_described(size, options, NO_GUID, b"" if has_parent else None), options)


def _described(size: int, options: CreateOptions, disk_id: UUID, locator: bytes | None) -> DiskMetadata:
    return DiskMetadata(
        block_size=(_DYNAMIC_BLOCK if locator is None else _DIFFERENCING_BLOCK)
        if options.block_size is None
        else options.block_size,
        leave_block_allocated=options.fixed and locator is None,
        has_parent=locator is not None,
        virtual_size=size,
        disk_id=disk_id,
        logical_sector_size=512 if options.logical_sector_size is None else options.logical_sector_size,
        physical_sector_size=options.physical_sector_size,
        parent_locator=locator,
    )


def _fault(disk: DiskMetadata, options: CreateOptions) -> str:
    reason = metadata.unsound(disk)
    if not reason and (options.log_length % MIB or options.log_length < MIB):
        reason = f"a log of {options.log_length} bytes is not whole MiB"
    return reason


def _lay_out(
    storage: Storage, creator: str, first: Header, regions: list[RegionEntry], disk: DiskMetadata
) -> Current:
    second = header.successor(first, file_write_guid=first.file_write_guid)
    table = region.build(regions)
    metadata_place = region.find(regions, region.METADATA)
    items = metadata.build(disk)
    if len(items) > metadata_place.length:
        raise Error(f"{storage.name}: the path of the parent is too long to be recorded")
    storage.truncate(max(entry.range.end for entry in regions))
    storage.write(
        [
            (identifier.OFFSET, identifier.build(creator).ljust(header.OFFSETS[0], b"\0")),
            (header.OFFSETS[0], header.build(first)),
            (header.OFFSETS[1], header.build(second)),
            (region.OFFSETS[0], table),
            (region.OFFSETS[1], table),
            (metadata_place.offset, items.ljust(-(-len(items) // PAGE) * PAGE, b"\0")),
        ]
    )
    return Current(second, 1)
