"""Zero and discard ranges of an open VHDX; whole blocks by their table entries."""

from collections.abc import Sequence

from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.bat import PRESENT, PayloadState
from vhdx.image.placing import filled
from vhdx.image.vhdx.allocation import Allocation, pages_per_block
from vhdx.image.vhdx.file import VhdxFile
from vhdx.storage import transfer


def zero(file: VhdxFile, offset: int, length: int) -> None:
    """Make a range read as zeros, masking any parent."""
    _clear(file, offset, length, PayloadState.ZERO)


def discard(file: VhdxFile, offset: int, length: int) -> None:
    """Discard the whole blocks inside a range: they read as zeros, never as the parent, and their space is freed.

    A fixed image keeps its blocks and their content.
    """
    _clear(file, offset, length, PayloadState.UNMAPPED)


def drop_zeros(file: VhdxFile, ranges: Sequence[Range]) -> None:
    """Free whole blocks that are known to hold zeros; the content does not change, nor does the DataWriteGuid."""
    file.touch()
    size = file.layout.block_size
    for wanted in ranges:
        for block in range(-(-wanted.offset // size), -(-wanted.end // size)):
            if min((block + 1) * size, file.layout.virtual_size) <= wanted.end:
                _clear_block(file, block, PayloadState.ZERO)


def _clear(file: VhdxFile, offset: int, length: int, new: PayloadState) -> None:
    layout = file.layout
    at, end = offset, offset + length
    while at < end:
        block, within = divmod(at, layout.block_size)
        start = block * layout.block_size
        if not layout.has_parent:
            with file.latches.looking():
                absent = file.table.absent_run(block, -(-end // layout.block_size))
            if absent:
                at = (block + absent) * layout.block_size
                continue
        stop = min(start + layout.block_size, end)
        whole = within == 0 and stop == min(start + layout.block_size, layout.virtual_size)
        if whole and not file.metadata.leave_block_allocated:
            _clear_block(file, block, new)
        elif new is PayloadState.ZERO:
            _zero_part(file, Range(at, stop - at))
        at = stop


def _clear_block(file: VhdxFile, block: int, new: PayloadState) -> None:
    """In one step, while no payload is being allocated there. A write in place pins the old space by the gate."""
    while True:
        with file.staging(pages_per_block(file)):
            if file.latches.blocks.is_idle(block):
                _stage_clear(file, block, new)
                return
            file.latches.blocks.wait()


def _stage_clear(file: VhdxFile, block: int, new: PayloadState) -> None:
    raw = file.table.payload(block)
    state = bat.state(raw)
    if state in PRESENT:
        assert file.space is not None
        # In this order: an interruption in between leaks space until the file is opened again, and does no harm.
        file.table.set_payload(block, new)
        file.space.release(bat.file_offset(raw), file.layout.block_size)
    elif state == PayloadState.NOT_PRESENT and file.layout.has_parent:
        file.table.set_payload(block, new)


def _zero_part(file: VhdxFile, part: Range) -> None:
    with file.latches.looking():
        state = bat.state(file.table.payload(part.offset // file.layout.block_size))
    if state in PRESENT or (state == PayloadState.NOT_PRESENT and file.layout.has_parent):
        with filled(file.life, Allocation(file, [part])) as places:
            transfer.zero(file.storage, [(place.file_offset, place.length) for place in places if place.file_offset])
