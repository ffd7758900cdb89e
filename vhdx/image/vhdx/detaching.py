"""Detaching a differencing VHDX from its parent, in place.

What would read differently without a parent has to be there before: no block may be partly present, whatever its state
says. Then the sector bitmaps go, which no entry needs any more, and one commit takes away the flag and the locator. A
stop leaves an image that has its parent or has none, and reads the same both ways as long as nothing but zeros is
missing in it.
"""

from dataclasses import replace

from vhdx.errors import Error
from vhdx.extents import all_equal
from vhdx.format import bat, metadata
from vhdx.format.bat import BITMAP_BLOCK_SIZE, PayloadState
from vhdx.format.metadata import PARENT_LOCATOR, TABLE_ENTRY, TABLE_HEADER, FileParameters, MetadataTableHeader
from vhdx.image.vhdx.allocation import pages_per_block
from vhdx.image.vhdx.file import VhdxFile
from vhdx.image.vhdx.table import BlockTable


def detach(file: VhdxFile) -> None:
    """Do away with the parent; what the image does not hold reads as zeros from then on. Durable on return.

    Raises Error when a block is only partly present: the rest of it would be lost.
    """
    if not file.metadata.has_parent:
        return
    file.touch()
    with file.life.poisoning():
        file.commit()
        _settle_partial(file)
        file.commit()
    _refuse_partial(file)
    with file.life.poisoning():
        _drop_bitmaps(file)
        file.commit()
        _drop_record(file)
        file.commit()
    file.metadata = replace(file.metadata, has_parent=False, parent_locator=None)
    file.table = BlockTable(file.pages, replace(file.layout, has_parent=False), file.table.region)
    file.link = None


def _settle_partial(file: VhdxFile) -> None:
    """Blocks that are called partly present, though all of them or none is there, get the state that says so."""
    assert file.space is not None
    for block in _partial(file):
        layout = file.layout
        sectors = min(layout.block_size, layout.virtual_size - block * layout.block_size) // layout.logical_sector_size
        here = all_equal(file.table.bits(block), 0, sectors)
        if here is None:
            continue
        file.make_room(pages_per_block(file))
        place = bat.file_offset(file.table.payload(block))
        if here:
            file.table.set_payload(block, PayloadState.FULLY_PRESENT, place)
        else:
            file.space.release(place, layout.block_size)
            file.table.set_payload(block, PayloadState.NOT_PRESENT)


def _partial(file: VhdxFile) -> list[int]:
    layout = file.layout
    found = []
    for index, raw in file.table.scan(file.storage):
        chunk, within = divmod(index, layout.chunk_ratio + 1)
        block = index - chunk
        payload = within != layout.chunk_ratio and block < layout.payload_blocks
        if payload and bat.state(raw) == PayloadState.PARTIALLY_PRESENT:
            found.append(block)
    return found


def _refuse_partial(file: VhdxFile) -> None:
    for block in _partial(file):
        where = f"the block at {block * file.layout.block_size}"
        raise Error(f"{file.storage.name}: {where} is only partly present, the rest of it is the parent's")


def _drop_bitmaps(file: VhdxFile) -> None:
    assert file.space is not None
    present = [chunk for chunk in range(file.layout.chunks) if file.table.bitmap_block(chunk) is not None]
    for chunk in present:
        place = file.table.bitmap_block(chunk)
        assert place is not None
        file.make_room(1)
        file.space.release(place, BITMAP_BLOCK_SIZE)
        file.table.clear_bitmap_block(chunk)


def _drop_record(file: VhdxFile) -> None:
    region = file.metadata_region.offset
    kept = [entry for entry in file.items if entry.item_id != PARENT_LOCATOR or entry.flags & metadata.IS_USER]
    table = TABLE_HEADER.build(MetadataTableHeader(0, len(kept))) + b"".join(TABLE_ENTRY.build(entry) for entry in kept)
    parameters = file.item(metadata.FILE_PARAMETERS)
    assert parameters is not None
    file.make_room(len(table) // 4096 + 4)
    file.pages.stage(region, table.ljust(metadata.entry_offset(len(file.items)), b"\0"))
    built = metadata.PARAMETERS.build(FileParameters(file.metadata.block_size, 0))
    file.pages.stage(region + parameters.offset, built)
    file.items = kept
