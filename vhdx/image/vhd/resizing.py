"""Changing the size of the disk in an open VHD with blocks, the table moved when there is no room behind it.

Growing shows nothing old: neither bytes or bits behind the former end of the last block, nor table entries, nor what a
larger parent has there. All of that is made right while it is still behind the end of the disk; one step then changes
the size. Shrinking changes the size first; afterwards the blocks behind the end are freed, and bytes and bits behind it
are cleared in the block that it falls into, since not every program that grows a disk clears them.

A file of blktap keeps its map of full blocks right behind the table, whatever becomes of that; its table is not made
smaller, as blktap has tables larger than the disk.
"""

from dataclasses import replace

from vhdx.errors import Error
from vhdx.extents import Range
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, VhdLayout
from vhdx.format.vhd_batmap import header_place
from vhdx.format.vhd_footer import LARGEST_DISK, Footer
from vhdx.format.vhd_geometry import geometry
from vhdx.image.vhd.batmap import room_of
from vhdx.image.vhd.clearing import clear_block, zero
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.front import drop_table, is_free_of_others, promised_batmap
from vhdx.image.vhd.restating import restate
from vhdx.image.vhd.survey import MOST_BLOCKS
from vhdx.image.vhd.table import VhdTable
from vhdx.storage import transfer
from vhdx.storage.base import Move

_PIECE = 1 << 20


def size_fault(size: int, block_size: int | None, *, largest: int = LARGEST_DISK) -> str:
    """What is wrong with a disk of *size* bytes; empty when nothing is. *block_size* is None for a fixed one.

    Up to *largest* bytes are taken: more than Windows takes only for Azure.
    """
    if size <= 0 or size % SECTOR:
        return f"a disk of {size} bytes is not whole sectors of {SECTOR}"
    if size > largest:
        advice = "; use VHDX" if largest == LARGEST_DISK else ""
        return f"a disk of {size} bytes is larger than the {largest} bytes of a VHD{advice}"
    if block_size is not None and -(-size // block_size) > MOST_BLOCKS:
        return f"a disk of {size} bytes has too many blocks of {block_size}; make them larger"
    return ""


def resized(footer: Footer, size: int) -> Footer:
    """*footer* with another size; the original size stays."""
    shape = geometry(size)
    return replace(
        footer,
        current_size=size,
        cylinders=shape.cylinders,
        heads=shape.heads,
        sectors_per_track=shape.sectors_per_track,
    )


def resize(file: VhdFile, size: int, *, below: int) -> None:
    """Give the disk another size; *below* is the virtual size of what lies under this layer.

    A stop leaves the old or the new size. Raises Error for a size that cannot be, OutOfSpace.
    """
    reason = size_fault(size, file.layout.block_size)
    if reason:
        raise Error(f"{file.storage.name}: {reason}")
    old = file.layout.virtual_size
    if size == old:
        return
    file.touch()
    file.commit()
    with file.life.poisoning():
        if size > old:
            _grow(file, size, below)
        else:
            _shrink(file, size)


def _grow(file: VhdFile, size: int, below: int) -> None:
    old = file.layout.virtual_size
    _clear_behind_end(file, old)
    file.commit()
    before = (file.table.offset, file.batmap)
    _adopt_table(file, replace(file.layout, virtual_size=size))
    if file.layout.has_parent and below > old:
        zero(file, old, min(size, below) - old)
    file.commit()
    header = replace(file.header, table_offset=file.table.offset, max_entries=_entries(file, file.layout))
    restate(file, header, resized(file.footer, size))
    if file.table.offset != before[0]:
        drop_table(file, *before)


def _entries(file: VhdFile, layout: VhdLayout) -> int:
    """How many entries the header counts: those of the disk. Behind them a map of full blocks is looked for."""
    return layout.blocks if file.batmap is None else max(layout.blocks, file.header.max_entries)


def _shrink(file: VhdFile, size: int) -> None:
    layout = replace(file.layout, virtual_size=size)
    restate(file, replace(file.header, max_entries=_entries(file, layout)), resized(file.footer, size))
    block, end = layout.blocks, file.layout.blocks
    while block < end:
        block += file.table.unused_run(block, end)
        if block < end:
            clear_block(file, block)
            block += 1
    _clear_behind_end(file, size)
    file.commit()
    file.table = VhdTable(file.storage, layout, file.table.offset, file.fixed_places)


def _clear_behind_end(file: VhdFile, end: int) -> None:
    """Zeros behind *end* in the block that it falls into, and over a parent no bits that say otherwise."""
    layout = file.layout
    block, within = divmod(end, layout.block_size)
    place = file.table.place(block) if within else None
    if place is None:
        return
    file.not_full(block)
    transfer.zero(file.storage, [(place + layout.bitmap_size + within, layout.block_size - within)])
    if layout.has_parent:
        behind = Range(within // SECTOR, (layout.block_size - within) // SECTOR)
        file.bitmaps.put(block, place, [behind], value=False)


def _adopt_table(file: VhdFile, layout: VhdLayout) -> None:
    """Go on with a larger table, elsewhere when something lies behind this one; its new entries name nothing."""
    assert file.space is not None
    old, offset = file.table, file.table.offset
    end = offset + old.layout.table_size
    if file.batmap is not None and is_free_of_others(file, Range(end, file.batmap.header_at - end)):
        end = file.batmap.header_at
    longer = Range(end, offset + layout.table_size - end)
    batmap = promised_batmap(file)
    if longer.length > 0:
        if batmap is None and file.space.claim(longer):
            # One structure from here on, so that dropping it later drops all of it.
            file.space.drop(longer.offset)
            file.space.drop(offset)
            file.space.claim(Range(offset, layout.table_size))
            file.grow()
        else:
            offset = file.take_bytes(layout.table_size + room_of(batmap, layout.blocks)).offset
            held = old.layout.blocks * ENTRY_SIZE
            transfer.copy(file.storage, file.storage, [Move(old.offset, offset, held)])
    _blank(file, offset + old.layout.blocks * ENTRY_SIZE, offset + layout.table_size)
    file.table = VhdTable(file.storage, layout, offset, file.fixed_places)
    if batmap is not None and offset != old.offset:
        file.batmap, writes = batmap.moved(header_place(offset, layout.blocks), old.layout.blocks, layout.blocks)
        file.storage.write(writes)


def _blank(file: VhdFile, start: int, end: int) -> None:
    for at in range(start, end, _PIECE):
        file.storage.write([(at, b"\xff" * min(_PIECE, end - at))])
