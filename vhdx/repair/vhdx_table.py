"""Fixes for the BAT of a VHDX: invalid file offsets, entries of no block, and unreferenced space."""

import struct
from collections.abc import Callable, Iterator
from itertools import groupby

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.bat import ENTRY_SIZE, BitmapState, PayloadState
from vhdx.image.base import NewId
from vhdx.repair.anatomy import Anatomy
from vhdx.repair.fix import Case, Fix
from vhdx.repair.vhdx_front import touch
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_PAGE = 4096
_BATCH = 1024
_PIECE = 1 << 20
_ENTRY = struct.Struct("<Q")
_LARGEST_FILE = 128 << 40

Entries = Iterator[tuple[int, int]]
Chooser = Callable[[Anatomy], Entries]


def find_table(storage: Storage, case: Case) -> Fix | None:
    """The first fix for the BAT or for unreferenced space."""
    anatomy = Anatomy.of(storage)
    for code, choose, message in _KINDS:
        fix = _entries(anatomy, choose, case.new_id, code, message)
        if fix is not None:
            return fix
    # A fixed disk keeps space for all of its blocks.
    return _space(anatomy, case.new_id) if case.reclaim and not anatomy.disk.leave_block_allocated else None


def _zero_with_place(anatomy: Anatomy) -> Entries:
    for index, raw in anatomy.entries():
        if anatomy.is_payload(index) and bat.state(raw) == PayloadState.ZERO and bat.file_offset(raw):
            yield index, PayloadState.ZERO | raw & 0xFFFF8


def _absent_with_place(anatomy: Anatomy) -> Entries:
    for index, raw in anatomy.entries():
        if not bat.state(raw) and bat.file_offset(raw):
            yield index, raw & 0xFFFF8


def _padding(anatomy: Anatomy) -> Entries:
    return ((index, 0) for index, raw in anatomy.padding() if not anatomy.names_block(index, raw))


def _bitmaps(anatomy: Anatomy) -> Entries:
    """Sector bitmap entries to clear; none if anything indicates a parent, since HasParent might be what is wrong."""
    if anatomy.disk.has_parent or anatomy.locator:
        return
    found = []
    for index, raw in anatomy.entries():
        if anatomy.is_payload(index):
            if bat.state(raw) == PayloadState.PARTIALLY_PRESENT:
                return
        elif bat.state(raw) == BitmapState.PRESENT and not bat.bitmap_fault(raw):
            found.append((index, 0))
    yield from found


_KINDS: tuple[tuple[str, Chooser, str], ...] = (
    ("bat-zero-with-place", _zero_with_place, "zero blocks have a file offset; it is cleared"),
    ("bat-absent-with-place", _absent_with_place, "blocks that are not present have a file offset; it is cleared"),
    ("bat-padding", _padding, "they belong to no block of the disk; they are cleared"),
    ("bat-bitmap-without-parent", _bitmaps, "sector bitmaps of a disk without a parent; they are cleared"),
)


def _entries(anatomy: Anatomy, choose: Chooser, new_id: NewId, code: str, message: str) -> Fix | None:
    number = 0
    first = 0
    for index, _ in choose(anatomy):
        first = first if number else index
        number += 1
    if not number:
        return None
    text = f"{number} entr{'y' if number == 1 else 'ies'}, first entry {first}: {message}"

    def apply(storage: Storage) -> None:
        touch(storage, new_id)
        batch: list[tuple[int, bytes]] = []
        for page in _pages(Anatomy.of(storage), choose):
            batch.append(page)
            if len(batch) == _BATCH:
                storage.write(batch)
                batch = []
        storage.write(batch)

    return Fix(code, "BAT entry", anatomy.region.offset + first * ENTRY_SIZE, text, apply)


def _pages(anatomy: Anatomy, choose: Chooser) -> Iterator[tuple[int, bytes]]:
    """File offset and new content of each page to change."""
    start = anatomy.region.offset
    for page, changes in groupby(choose(anatomy), lambda change: change[0] * ENTRY_SIZE // _PAGE):
        data = bytearray(pread(anatomy.storage, start + page * _PAGE, _PAGE))
        for index, raw in changes:
            _ENTRY.pack_into(data, index * ENTRY_SIZE - page * _PAGE, raw)
        yield start + page * _PAGE, bytes(data)


def _space(anatomy: Anatomy, new_id: NewId) -> Fix | None:
    """Truncate unreferenced space at the end of the file; punch holes elsewhere."""
    storage, size = anatomy.storage, anatomy.storage.size()
    if size > _LARGEST_FILE:
        raise FormatError("file", None, f"{size} bytes are more than any image needs", file=storage.name)
    held: list[Range] = []
    for free in anatomy.free():
        if free.end >= size:
            return _cut(size, free.offset, new_id)
        held += _not_zero(storage, free)
    if not held:
        return None
    used = sum(place.length for place in held)
    message = f"{used} unreferenced bytes are punched out as holes"

    def apply(storage: Storage) -> None:
        touch(storage, new_id)
        transfer.zero(storage, held)

    return Fix("space-unused", "file", held[0].offset, message, apply)


def _cut(size: int, end: int, new_id: NewId) -> Fix:
    def apply(storage: Storage) -> None:
        touch(storage, new_id)
        storage.truncate(end)

    return Fix("space-unused", "file", end, f"{size - end} unreferenced bytes at the end are truncated", apply)


def _not_zero(storage: Storage, place: Range) -> Iterator[Range]:
    """The pieces of a free range that are not all zeros."""
    for held in transfer.allocated(storage, place.offset, place.length):
        for at in range(held.offset, held.end, _PIECE):
            length = min(_PIECE, held.end - at)
            if pread(storage, at, length).strip(b"\0"):
                yield Range(at, length)
