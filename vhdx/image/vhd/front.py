"""Metadata in front of the blocks, as blktap has it: its vhd-util refuses a file with a block before some of it.

Files of others may have their metadata anywhere. What a session has put behind blocks, this one or one that was
stopped, is moved when a session that changes the file ends. Blocks that are in the way move behind the others, as in
packing; then table, map of full blocks and parent locators are written to their new place, and the footer goes over to
the header that names them there. A stop leaves them where they were or where they go.
"""

from dataclasses import replace

from vhdx.errors import OutOfSpace, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import vhd_batmap, vhd_locator
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED
from vhdx.format.vhd_batmap import header_place
from vhdx.format.vhd_header import HEADER, HOME
from vhdx.format.vhd_locator import LocatorPlace
from vhdx.image.lifecycle import State
from vhdx.image.vhd.batmap import Batmap, room_of
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.packing import move
from vhdx.image.vhd.restating import restate
from vhdx.image.vhd.table import VhdTable
from vhdx.storage import transfer
from vhdx.storage.base import Buffer, Move
from vhdx.storage.transfer import pread

_FRONT = HOME + HEADER.size
_BATCH = 64 << 20


def promised_batmap(file: VhdFile) -> Batmap | None:
    """The map of full blocks; an empty one where the creator promises a map and there is none that is sound."""
    if file.batmap is None and vhd_batmap.is_promised(file.footer):
        return Batmap.empty()
    return file.batmap


def drop_table(file: VhdFile, offset: int, batmap: Batmap | None) -> None:
    """The table at *offset*, and its map, are needed no more, durably."""
    assert file.space is not None
    for place in (offset, *((batmap.header_at, batmap.place.offset) if batmap is not None else ())):
        file.space.drop(place)


def is_free_of_others(file: VhdFile, area: Range) -> bool:
    """Whether no block and no locator lies in *area*, as the file has them."""
    taken = [Range(entry.data_offset, entry.data_length) for entry in file.header.entries]
    return not any(place.offset < area.end and area.offset < place.end for place in taken) and not _inside(file, area)


def bring_to_front(file: VhdFile) -> None:
    """Have everything but blocks in front of the first block, in a file with a map of full blocks; durable on return.

    All is committed before. Without space for it, or while a reader holds a block that is in the way, it stays where it
    is: programs that open the file allow that, only vhd-util's check does not.
    """
    if file.batmap is None:
        return
    try:
        if file.footer.data_offset != HOME:
            restate(file, file.header, file.footer)
        if _is_behind_a_block(file):
            _bring(file)
    except (OutOfSpace, UnsupportedFeature):
        if file.life.state is State.POISONED:
            raise


def _bring(file: VhdFile) -> None:
    assert file.space is not None
    area = Range(_FRONT, _room(file))
    away = _make_way(file, area)
    if file.space.claim(area):
        file.space.drop(away.offset)
    else:
        # Metadata is in the way of itself, so it goes by another place.
        _put(file, away)
        if not file.space.claim(area):
            return
    _put(file, area)


def _is_behind_a_block(file: VhdFile) -> bool:
    assert file.batmap is not None
    places = [Range(file.table.offset, file.header.max_entries * ENTRY_SIZE), file.batmap.home, file.batmap.place]
    places += [entry.room for entry in file.header.entries]
    end = max(place.end for place in places) // SECTOR
    return any(raw < end for _, entries in file.table.scan() for raw in entries)


def _room(file: VhdFile) -> int:
    rooms = sum(_whole(entry) for entry in file.header.entries)
    return header_place(0, file.header.max_entries) + room_of(file.batmap, file.header.max_entries) + rooms


def _whole(entry: LocatorPlace) -> int:
    return -(-entry.room.length // SECTOR) * SECTOR


def _inside(file: VhdFile, area: Range) -> list[tuple[int, int]]:
    """The blocks that lie in *area*, as the file has them: number, place."""
    first, end = (area.offset - file.layout.span) // SECTOR + 1, -(-area.end // SECTOR)
    return [
        (block, raw * SECTOR)
        for start, entries in file.table.scan()
        for block, raw in enumerate(entries, start)
        if raw != UNUSED and first <= raw < end
    ]


def _make_way(file: VhdFile, area: Range) -> Range:
    """Move the blocks that lie in *area*; returns as much space elsewhere, taken."""
    assert file.space is not None
    file.space.fence(area)
    try:
        inside = _inside(file, area)
        most = max(_BATCH // file.layout.span, 1)
        for first in range(0, len(inside), most):
            _move_away(file, inside[first : first + most])
        return Range(file.take_bytes(area.length).offset, area.length)
    finally:
        file.space.unfence(area)


def _move_away(file: VhdFile, blocks: list[tuple[int, int]]) -> None:
    assert file.space is not None
    batch: list[tuple[int, int, int]] = []
    try:
        for block, place in blocks:
            batch.append((block, place, file.take_block().offset))
        file.grow()
    except BaseException:
        for _, _, goal in batch:
            file.space.give_back(goal)
        raise
    move(file, batch)


def _put(file: VhdFile, place: Range) -> None:
    """Table, map and locators go to *place*, which is taken for them; their former places are free."""
    assert file.space is not None
    assert file.batmap is not None
    try:
        file.grow()
        transfer.reserve(file.storage, [place])
    except BaseException:
        file.space.drop(place.offset)
        raise
    old, before, count = file.table, file.batmap, file.header.max_entries
    used, room = old.layout.blocks * ENTRY_SIZE, header_place(0, count)
    after, writes = before.moved(place.offset + room, old.layout.blocks, count)
    locators, data = _locators(file, after.home.end)
    with file.life.poisoning():
        transfer.copy(file.storage, file.storage, [Move(old.offset, place.offset, used)])
        file.storage.write([(place.offset + used, b"\xff" * (room - used)), *writes, *data])
    header = replace(file.header, table_offset=place.offset, locators=vhd_locator.build_entries(locators))
    former = file.header.locator_places
    restate(file, header, file.footer)
    file.batmap = after
    file.table = VhdTable(file.storage, old.layout, place.offset, file.fixed_places)
    # From here on each has its own place, to be given up by itself.
    file.space.drop(place.offset)
    parts = [Range(place.offset, room), Range(after.header_at, SECTOR), after.home, *(entry.room for entry in locators)]
    for part in parts:
        file.space.fence(part)
    drop_table(file, old.offset, before)
    for offset in former:
        file.space.drop(offset)


def _locators(file: VhdFile, at: int) -> tuple[list[LocatorPlace], list[tuple[int, Buffer]]]:
    """The parent locators one behind the other from byte *at* on, and what is to be written for them."""
    entries: list[LocatorPlace] = []
    writes: list[tuple[int, Buffer]] = []
    for entry in file.header.entries:
        data = pread(file.storage, entry.data_offset, entry.data_length)
        writes.append((at, data.ljust(_whole(entry), b"\0")))
        entries.append(replace(entry, data_offset=at))
        at += _whole(entry)
    return entries, writes
