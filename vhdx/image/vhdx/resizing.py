"""Changing the size of the disk in an open VHDX, the table moved when it outgrows its region.

Growing shows nothing old: neither bytes behind the former end of the last block, nor table entries from before a
shrink, nor what a larger parent has there. All of that is made right while it is still behind the end of the disk;
one commit then changes the size. Shrinking changes the size first; afterwards the blocks behind the end are freed, and
bytes and bits behind it are cleared in what stays, since not every program that grows a disk clears them.
"""

from dataclasses import replace

from vhdx.errors import Error
from vhdx.extents import Range
from vhdx.format import bat, metadata, region
from vhdx.format.bat import ENTRY_SIZE, BatLayout, PayloadState
from vhdx.image.vhdx.allocation import pages_per_block
from vhdx.image.vhdx.clearing import zero
from vhdx.image.vhdx.file import VhdxFile
from vhdx.image.vhdx.table import BlockTable
from vhdx.storage import transfer
from vhdx.storage.base import Move

MIB = 1 << 20


def resize(file: VhdxFile, size: int, *, below: int) -> None:
    """Give the disk another size; *below* is the virtual size of what lies under this layer.

    A stop leaves the old or the new size. Raises Error for a size that cannot be.
    """
    disk = replace(file.metadata, virtual_size=size)
    reason = metadata.unsound(disk)
    if reason:
        raise Error(f"{file.storage.name}: {reason}")
    old = file.metadata.virtual_size
    if size == old:
        return
    file.begin()
    with file.life.poisoning():
        if size > old:
            _clear_behind_end(file, old)
            moved = _adopt_layout(file, _layout(file, size))
            file.metadata = disk
            if not moved:
                _clear_entries(file, old)
            if below > old:
                zero(file, old, min(size, below) - old)
            if disk.leave_block_allocated:
                _allocate_entries(file, old)
            _record_size(file, size)
            file.commit()
        else:
            _record_size(file, size)
            file.commit()
            _free_behind_end(file, size)
            _clear_behind_end(file, size)
            file.table = BlockTable(file.pages, _layout(file, size), file.table.region)
            file.metadata = disk
            file.commit()


def _layout(file: VhdxFile, size: int) -> BatLayout:
    return replace(file.layout, virtual_size=size)


def _record_size(file: VhdxFile, size: int) -> None:
    entry = file.item(metadata.VIRTUAL_DISK_SIZE)
    assert entry is not None
    file.make_room(2)
    file.pages.stage(file.metadata_region.offset + entry.offset, size.to_bytes(8, "little"))


def _clear_behind_end(file: VhdxFile, end: int) -> None:
    """Zeros behind *end* in the block that it falls into, and no bits behind it in that chunk."""
    layout = file.layout
    block, within = divmod(end, layout.block_size)
    place = bat.place(file.table.payload(block)) if within else None
    if place is not None:
        behind = [(place + within, layout.block_size - within)]
        transfer.zero(file.storage, behind)
        if file.metadata.leave_block_allocated:
            transfer.reserve(file.storage, behind)
    chunk, first = divmod(block, layout.chunk_ratio)
    if not layout.has_parent or not (first or within) or file.table.bitmap_block(chunk) is None:
        return
    for other in range(block, (chunk + 1) * layout.chunk_ratio):
        file.make_room(pages_per_block(file))
        file.table.clear_bits(other, within // layout.logical_sector_size if other == block else 0)


def _clear_entries(file: VhdxFile, old: int) -> None:
    """Entries that were padding until now must not come to life with what they happen to hold."""
    layout = file.layout
    block = -(-old // layout.block_size)
    while block < layout.payload_blocks:
        block += file.table.absent_run(block, layout.payload_blocks)
        if block < layout.payload_blocks:
            file.make_room(pages_per_block(file))
            file.table.set_payload(block, PayloadState.NOT_PRESENT)
            block += 1
    for chunk in range(replace(layout, virtual_size=old).bitmap_entries, layout.bitmap_entries):
        file.make_room(1)
        file.table.clear_bitmap_block(chunk)


def _allocate_entries(file: VhdxFile, old: int) -> None:
    """The blocks that a fixed disk gains, allocated and zeroed while they are still behind its end."""
    layout = file.layout
    for block in range(-(-old // layout.block_size), layout.payload_blocks):
        place = file.take(layout.block_size)
        whole = [(place.offset, layout.block_size)]
        if not place.fresh:
            transfer.zero(file.storage, whole)
        transfer.reserve(file.storage, whole)
        file.make_room(pages_per_block(file))
        file.table.set_payload(block, PayloadState.FULLY_PRESENT, place.offset)


def _free_behind_end(file: VhdxFile, size: int) -> None:
    layout = file.layout
    assert file.space is not None
    block = -(-size // layout.block_size)
    first_chunk = -(-block // layout.chunk_ratio)
    while block < layout.payload_blocks:
        block += file.table.absent_run(block, layout.payload_blocks)
        if block < layout.payload_blocks:
            file.make_room(pages_per_block(file))
            place = bat.place(file.table.payload(block))
            if place is not None:
                file.space.release(place, layout.block_size)
            file.table.set_payload(block, PayloadState.NOT_PRESENT)
            block += 1
    if layout.has_parent:
        for chunk in range(first_chunk, layout.chunks):
            bitmap = file.table.bitmap_block(chunk)
            if bitmap is not None:
                file.make_room(pages_per_block(file))
                file.space.release(bitmap, bat.BITMAP_BLOCK_SIZE)
                file.table.clear_bitmap_block(chunk)


def _adopt_layout(file: VhdxFile, layout: BatLayout) -> bool:
    """Go on with a larger table, in a larger region where this one is too small.

    Tells whether it was; in a region of its own nothing but zeros follows the entries there were.
    """
    if layout.entries * ENTRY_SIZE <= file.table.region.length:
        file.table = BlockTable(file.pages, layout, file.table.region)
        return False
    old = file.table.region
    assert file.space is not None
    file.commit()
    length = -(-layout.reserved_entries * ENTRY_SIZE // MIB) * MIB
    place = file.take(length)
    used = file.layout.entries * ENTRY_SIZE
    whole = [(place.offset, length)]
    if not place.fresh:
        transfer.zero(file.storage, whole)
    transfer.reserve(file.storage, whole)
    shift = place.offset - old.offset
    held = transfer.allocated(file.storage, old.offset, used)
    transfer.copy(
        file.storage, file.storage, [Move(piece.offset, piece.offset + shift, piece.length) for piece in held]
    )
    file.pages.forget(place.offset, length)
    moved = [
        replace(entry, file_offset=place.offset, length=length) if entry.guid == region.BAT else entry
        for entry in file.regions
    ]
    table = region.build(moved)
    file.make_room(2 * region.TABLE_SIZE // 4096 + 2)
    for offset in region.OFFSETS:
        file.pages.stage(offset, table)
    file.space.release(old.offset, old.length)
    file.regions = moved
    file.table = BlockTable(file.pages, layout, Range(place.offset, length))
    return True
