"""Zero and discard ranges of an open VHD.

A VHD has no entry for zeros: without a parent whole blocks are freed, over a parent zeros are written.
"""

from collections.abc import Sequence

from vhdx.extents import Range
from vhdx.image.base import ALLOCATE_LIMIT
from vhdx.image.placing import filled
from vhdx.image.vhd.allocation import VhdAllocation
from vhdx.image.vhd.file import VhdFile
from vhdx.storage import transfer


def zero(file: VhdFile, offset: int, length: int) -> None:
    """Make a range read as zeros, masking any parent."""
    if file.layout.has_parent:
        _write_zeros(file, Range(offset, length))
        return
    _clear(file, offset, length, zero_parts=True)


def discard(file: VhdFile, offset: int, length: int) -> None:
    """Discard the whole blocks inside a range; over a parent, which would become visible, keep everything."""
    if not file.layout.has_parent:
        _clear(file, offset, length, zero_parts=False)


def drop_zeros(file: VhdFile, ranges: Sequence[Range], *, masked: bool) -> None:
    """Free whole blocks that are known to hold zeros, unless a parent would become visible."""
    file.touch()
    if masked and file.layout.has_parent:
        return
    size = file.layout.block_size
    for wanted in ranges:
        for block in range(-(-wanted.offset // size), -(-wanted.end // size)):
            if min((block + 1) * size, file.layout.virtual_size) <= wanted.end:
                clear_block(file, block)


def _write_zeros(file: VhdFile, wanted: Range) -> None:
    at = wanted.offset
    while at < wanted.end:
        part = Range(at, min(ALLOCATE_LIMIT, wanted.end - at))
        with filled(file.life, VhdAllocation(file, [part])) as places:
            transfer.zero(file.storage, [(place.file_offset, place.length) for place in places if place.file_offset])
        at = part.end


def _clear(file: VhdFile, offset: int, length: int, *, zero_parts: bool) -> None:
    size = file.layout.block_size
    at, end = offset, offset + length
    while at < end:
        block, within = divmod(at, size)
        with file.latches.looking():
            unused = file.table.unused_run(block, -(-end // size))
        if unused:
            at = (block + unused) * size
            continue
        stop = min((block + 1) * size, end)
        if within == 0 and stop == min((block + 1) * size, file.layout.virtual_size):
            clear_block(file, block)
        elif zero_parts:
            _write_zeros(file, Range(at, stop - at))
        at = stop


def clear_block(file: VhdFile, block: int) -> None:
    """Stage that a block is unused, while no payload is being allocated there.

    A write in place pins the old space by the gate.
    """
    while True:
        with file.staging():
            if file.latches.blocks.is_idle(block):
                _stage_clear(file, block)
                return
            file.latches.blocks.wait()


def _stage_clear(file: VhdFile, block: int) -> None:
    place = file.table.place(block)
    if place is None:
        return
    assert file.space is not None
    file.not_full(block)
    # In this order: an interruption in between leaks space until the file is opened again, and does no harm.
    file.table.set_place(block, None)
    file.bitmaps.forget(block)
    file.space.release(place)
