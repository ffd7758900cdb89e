"""The block table of a VHD as runs, and its sector bitmaps (VHD 1.0)."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

from vhdx.check.reading import pieces
from vhdx.dump.runs import Run, runs
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, absent
from vhdx.dump.vhd_batmap import batmap
from vhdx.dump.vhd_file import VhdDump
from vhdx.dump.vhdx_bat import MOST_FIELDS
from vhdx.dump.vhdx_bitmap import bits_text, set_bits
from vhdx.dump.words import numbers, size_text
from vhdx.extents import Range
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, UNUSED, VhdLayout
from vhdx.storage.transfer import allocated, preads

_AT_ONCE = 256
"""Bitmaps that are read in one call."""
_SLACK = 128
"""Largest gap in sectors between blocks of one run: some programs align blocks."""
_NEEDS = (DumpPart.FOOTER, DumpPart.HEADERS)


def table(file: VhdDump) -> Iterator[Draft]:
    """The block table in pieces with a limited number of runs."""
    place, layout = file.table, file.layout
    takes = ("block table", "block table entry")
    if place is None:
        yield absent(DumpPart.BAT, "block table", _reason(file), takes=takes, needs=() if file.is_fixed else _NEEDS)
        return
    told = _runs(file, place, layout)
    some = False
    while piece := list(islice(told, MOST_FIELDS)):
        at = place.offset + piece[0].first * ENTRY_SIZE
        length = (piece[-1].end - piece[0].first) * ENTRY_SIZE
        fields = tuple(_field(run, place.offset, layout) for run in piece)
        note = "" if layout else "footer and header give no valid disk and block size"
        yield Draft(Structure(DumpPart.BAT, "block table", at, length, fields, note), takes)
        some = True
    if not some:
        structure = Structure(DumpPart.BAT, "block table", place.offset, 0, (), "it has no entries")
        yield Draft(structure, takes, anywhere=True)


def _reason(file: VhdDump) -> str:
    if file.header is None:
        return file.why_no_header
    return f"not read: the recorded offset is {file.header.table_offset}, the file size {file.size}"


def _runs(file: VhdDump, place: Range, layout: VhdLayout | None) -> Iterator[Run]:
    """The runs of the table; adjacent equal runs are joined."""
    pending: Run | None = None
    for run in _pieces(file, place, layout):
        if pending is not None and (run.raw, run.step) == (pending.raw, pending.step) == (run.raw, 0):
            pending = pending._replace(length=pending.length + run.length)
            continue
        if pending is not None:
            yield pending
        pending = run
    if pending is not None:
        yield pending


def _pieces(file: VhdDump, place: Range, layout: VhdLayout | None) -> Iterator[Run]:
    stride = layout.span // SECTOR if layout else 9
    done = 0
    for held in allocated(file.storage, place.offset, place.length):
        start, end = held.offset // ENTRY_SIZE * ENTRY_SIZE, -(-held.end // ENTRY_SIZE) * ENTRY_SIZE
        start, end = max(start, place.offset), min(end, place.end)
        first = (start - place.offset) // ENTRY_SIZE
        if first > done:
            yield Run(done, first - done, 0, 0)
        for at, data in pieces(file.storage, Range(start, end - start)):
            first = (at - place.offset) // ENTRY_SIZE
            done = first + len(data) // ENTRY_SIZE
            if not any(data) or data.count(255) == len(data):
                yield Run(first, done - first, UNUSED if data[0] else 0, 0)
                continue
            used = ((number, raw) for number, raw in enumerate(vhd_bat.decode_entries(data), first) if raw != UNUSED)
            yield from runs(used, first, done, blank=UNUSED, stride=stride, slack=_SLACK, edge=partial(_at, done))
    total = place.length // ENTRY_SIZE
    if done < total:
        yield Run(done, total - done, 0, 0)


def _at(end: int, _: int) -> int:
    return end


def _field(run: Run, at: int, layout: VhdLayout | None) -> Field:
    raw = run.raw.to_bytes(ENTRY_SIZE, "big")
    name = numbers(run.first, run.length, "block")
    if run.raw == UNUSED:
        meaning = "" if layout is None else "read from the parent" if layout.has_parent else "read as zeros"
        return Field(name, at + run.first * ENTRY_SIZE, raw, "not present", meaning)
    offset = run.raw * SECTOR
    if run.length > 1 and not run.step:
        meaning = f"all at file offset {offset}"
    elif layout is None:
        meaning = f"starting at file offset {offset}"
    else:
        end = offset + max(run.length - 1, 0) * run.step * SECTOR + layout.span
        apart = run.length > 1 and run.step * SECTOR > layout.span
        meaning = f"{size_text(run.length * layout.block_size)}, with bitmaps at file offsets {offset}..{end - 1}"
        meaning += f", at intervals of {run.step * SECTOR} bytes" if apart else ""
    return Field(name, at + run.first * ENTRY_SIZE, raw, "present", meaning)


def bitmaps(file: VhdDump) -> Iterator[Draft]:
    """The sector bitmaps by block; adjacent blocks with all sectors present are joined."""
    place, layout = file.table, file.layout
    if place is None or layout is None:
        note = "not read: footer and header give no valid disk and block size" if place else _reason(file)
        needs = () if file.is_fixed else (*_NEEDS, DumpPart.BAT)
        yield absent(DumpPart.BITMAP, "sector bitmap", note, takes=("sector bitmap",), needs=needs)
        return
    yield from batmap(file)
    told = _told(file, place, layout)
    some = False
    while piece := tuple(islice(told, MOST_FIELDS)):
        start = min(field.offset for field in piece)
        end = max(field.offset for field in piece) + layout.bitmap_size
        note = "continued" if some else ""
        structure = Structure(DumpPart.BITMAP, "sector bitmap", start, end - start, piece, note)
        yield Draft(structure, ("sector bitmap",))
        some = True
    if not some:
        yield absent(DumpPart.BITMAP, "sector bitmap", "there is none: no block is present", takes=("sector bitmap",))


def _told(file: VhdDump, place: Range, layout: VhdLayout) -> Iterator[Field]:
    first = count = 0
    whole: Field | None = None  # the first of *count* adjacent blocks with all sectors present
    for block, offset, raw in _bitmaps(file, place, layout):
        field = _bits(block, offset, raw, layout)
        full = field.meaning.startswith("all of")
        if full and whole is not None and block == first + count:
            count += 1
            continue
        if whole is not None:
            yield _joined(whole, first, count)
        whole, first, count = (field, block, 1) if full else (None, 0, 0)
        if not full:
            yield field
    if whole is not None:
        yield _joined(whole, first, count)


def _joined(field: Field, first: int, count: int) -> Field:
    if count == 1:
        return field
    return Field(numbers(first, count, "block"), field.offset, field.raw, field.value, f"each: {field.meaning}")


def _bitmaps(file: VhdDump, place: Range, layout: VhdLayout) -> Iterator[tuple[int, int, bytes]]:
    """Block, file offset and bytes of each sector bitmap."""
    waiting: list[tuple[int, int]] = []
    for run in _runs(file, place, layout):
        if run.raw == UNUSED or (run.length > 1 and not run.step):
            continue
        for number in range(run.length):
            offset = (run.raw + number * run.step) * SECTOR
            if offset + layout.bitmap_size > file.size:
                continue
            waiting.append((run.first + number, offset))
            if len(waiting) == _AT_ONCE:
                yield from _read(file, waiting, layout)
                waiting = []
    yield from _read(file, waiting, layout)


def _read(file: VhdDump, places: list[tuple[int, int]], layout: VhdLayout) -> Iterator[tuple[int, int, bytes]]:
    bitmaps = preads(file.storage, [(offset, layout.bitmap_size) for _, offset in places])
    for (block, offset), raw in zip(places, bitmaps, strict=True):
        yield block, offset, raw


def _bits(block: int, offset: int, raw: bytes, layout: VhdLayout) -> Field:
    # After the bit of the last sector, the bitmap is padding.
    used = raw[: -(-layout.sectors_per_block // 8)]
    sectors = min(layout.block_size, layout.virtual_size - block * layout.block_size) // SECTOR
    said = bits_text(vhd_bat.reverse_bits(used), sectors)
    return Field(f"block {block}", offset, raw, set_bits(used), said)
