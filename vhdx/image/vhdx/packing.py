"""Making the file of an open VHDX small: blocks from its end go into the holes before them.

A block is copied, the copy is durable, then one commit makes the table name it; only after that its old place is free.
So a stop at any moment leaves each block where it was or where it is going, and the content never changes.
"""

from array import array
from typing import NamedTuple

from vhdx.errors import Error
from vhdx.format import bat
from vhdx.format.bat import BITMAP_BLOCK_SIZE, BitmapState, PayloadState
from vhdx.image.base import Progress
from vhdx.image.vhdx.allocation import pages_per_block
from vhdx.image.vhdx.file import VhdxFile
from vhdx.storage import transfer
from vhdx.storage.base import Move

MIB = 1 << 20
_BATCH = 64 * MIB
_INDEX_BITS = 32


class _Resident(NamedTuple):
    """What lies at a place: the BAT entry that names it and its bytes."""

    entry: int
    place: int
    length: int


def pack(file: VhdxFile, on_progress: Progress) -> None:
    """Fill holes from the end of the file; *on_progress* counts the bytes moved, of those that may have to be.

    Raises Error for a fixed image, OutOfSpace; what was moved until then stays moved.
    """
    if file.metadata.leave_block_allocated:
        raise Error(f"{file.storage.name}: a fixed image keeps every block, so there is nothing to pack")
    space = file.touch()
    file.commit()
    residents, anchors = _scan(file)
    with file.life.poisoning():
        _drop_anchors(file, anchors)
        file.commit()
    moved, most = 0, space.used_end
    batch: list[tuple[_Resident, int]] = []
    least = 1 << 63
    while residents:
        resident = _resident(file, residents.pop())
        # Where there was no room before a higher place, there is none before a lower one.
        goal = space.allocate_before(resident.length, resident.place) if resident.length < least else None
        if goal is not None:
            batch.append((resident, goal))
        else:
            least = min(least, resident.length)
        if batch and (goal is None or sum(one.length for one, _ in batch) >= _BATCH or not residents):
            moved += _move(file, batch)
            batch.clear()
            on_progress(min(moved, most), most)
    on_progress(most, most)


def _scan(file: VhdxFile) -> tuple["array[int]", list[int]]:
    """What the table names, in one pass over it.

    First everything that can move, by ascending place: the place in MiB above the index of its entry. Then the
    indexes of blocks that hold nothing but keep a place.
    """
    layout = file.layout
    found, anchors = array("Q"), []
    for index, raw in file.table.scan(file.storage):
        chunk, within = divmod(index, layout.chunk_ratio + 1)
        state = bat.state(raw)
        if within == layout.chunk_ratio:
            held = chunk < layout.chunks and state == BitmapState.PRESENT
        elif index - chunk >= layout.payload_blocks:
            continue
        else:
            held = state in bat.PRESENT
            if not held and bat.place(raw) is not None:
                anchors.append(index)
        if held:
            found.append(bat.file_offset(raw) // MIB << _INDEX_BITS | index)
    return array("Q", sorted(found)), anchors


def _drop_anchors(file: VhdxFile, anchors: list[int]) -> None:
    assert file.space is not None
    for index in anchors:
        block = index - index // (file.layout.chunk_ratio + 1)
        raw = file.table.payload(block)
        file.make_room(pages_per_block(file))
        file.space.release(bat.file_offset(raw), file.layout.block_size)
        file.table.set_payload(block, PayloadState(bat.state(raw)))


def _resident(file: VhdxFile, packed: int) -> _Resident:
    index = packed & ((1 << _INDEX_BITS) - 1)
    is_bitmap = index % (file.layout.chunk_ratio + 1) == file.layout.chunk_ratio
    length = BITMAP_BLOCK_SIZE if is_bitmap else file.layout.block_size
    return _Resident(index, (packed >> _INDEX_BITS) * MIB, length)


def _move(file: VhdxFile, batch: list[tuple[_Resident, int]]) -> int:
    """Copy, then one commit (or few) that names the copies; returns the bytes moved."""
    assert file.space is not None
    moves = [Move(resident.place, goal, resident.length) for resident, goal in batch]
    try:
        transfer.copy(file.storage, file.storage, moves)
    except BaseException:
        for resident, goal in batch:
            file.space.give_back(goal, resident.length)
        raise
    with file.life.poisoning():
        for resident, goal in batch:
            file.make_room(pages_per_block(file))
            _name(file, resident, goal)
            file.space.release(resident.place, resident.length)
        file.commit()
    return sum(move.length for move in moves)


def _name(file: VhdxFile, resident: _Resident, goal: int) -> None:
    """Stage that *resident* lies at *goal* now."""
    chunk, within = divmod(resident.entry, file.layout.chunk_ratio + 1)
    if within == file.layout.chunk_ratio:
        file.pages.forget(goal, BITMAP_BLOCK_SIZE)
        file.table.set_bitmap_block(chunk, goal)
    else:
        block = resident.entry - chunk
        file.table.set_payload(block, PayloadState(bat.state(file.table.payload(block))), goal)
