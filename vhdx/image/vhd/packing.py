"""Making the file of an open VHD small: blocks from its end go into the holes before them.

A block is copied, the copy is durable, then its table entry names it; only after that its old place is free. So a stop
at any moment leaves each block where it was or where it is going, and the content never changes.
"""

from array import array

from vhdx.format.vhd_bat import SECTOR, UNUSED
from vhdx.image.base import Progress
from vhdx.image.vhd.file import VhdFile
from vhdx.storage import transfer
from vhdx.storage.base import Move

_BATCH = 64 << 20
_BLOCK_BITS = 32


def pack(file: VhdFile, on_progress: Progress) -> None:
    """Fill holes from the end of the file; *on_progress* counts the bytes moved, of those that may have to be."""
    space = file.touch()
    file.commit()
    residents = _residents(file)
    moved, most = 0, space.used_end
    span = file.layout.span
    batch: list[tuple[int, int, int]] = []
    while residents:
        packed = residents.pop()
        place = (packed >> _BLOCK_BITS) * SECTOR
        goal = space.take_block_before(place)
        if goal is None:
            break
        batch.append((packed & ((1 << _BLOCK_BITS) - 1), place, goal))
        if len(batch) * span >= _BATCH:
            moved += move(file, batch)
            on_progress(min(moved, most), most)
    move(file, batch)
    on_progress(most, most)


def _residents(file: VhdFile) -> "array[int]":
    """Every block that has a place, by ascending place: the place in sectors above the number of the block."""
    found = array("Q")
    for first, entries in file.table.scan():
        found.extend(
            raw << _BLOCK_BITS | block for block, raw in enumerate(entries, first) if raw != UNUSED
        )
    return array("Q", sorted(found))


def move(file: VhdFile, batch: list[tuple[int, int, int]]) -> int:
    """Copy blocks (number, place, new place), then one commit that names the copies, which are inside the file.

    Returns the bytes moved and leaves *batch* empty; on a failure nothing is moved.
    """
    assert file.space is not None
    span = file.layout.span
    try:
        transfer.copy(file.storage, file.storage, [Move(place, goal, span) for _, place, goal in batch])
    except BaseException:
        for _, _, goal in batch:
            file.space.give_back(goal)
        raise
    with file.life.poisoning():
        for block, place, goal in batch:
            file.table.set_place(block, goal)
            file.space.release(place)
        file.commit()
    moved = len(batch) * span
    batch.clear()
    return moved
