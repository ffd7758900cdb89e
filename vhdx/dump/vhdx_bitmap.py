"""The sector bitmaps of a differencing VHDX, by block (MS-VHDX 2.5.2)."""

from collections.abc import Iterator
from itertools import islice

from vhdx.check.blocks import scan
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, absent
from vhdx.dump.vhdx_bat import MOST_FIELDS
from vhdx.dump.vhdx_file import VhdxDump
from vhdx.dump.words import counted
from vhdx.extents import Range, bit_runs
from vhdx.format import bat
from vhdx.format.bat import BITMAP_BLOCK_SIZE, ENTRY_SIZE, BatLayout, BitmapState, PayloadState

_MOST_RUNS = 8
"""Maximum number of runs of set bits shown per block."""


def bitmaps(file: VhdxDump) -> Iterator[Draft]:
    """Each sector-bitmap block with the blocks of its chunk."""
    place, layout = file.bat.range, file.layout
    needs = (DumpPart.HEADERS, DumpPart.REGIONS, DumpPart.METADATA, DumpPart.BAT)
    takes = ("sector bitmap",)
    if place is None:
        note = file.bat.reason
        yield absent(DumpPart.BITMAP, "sector bitmap", note, takes=takes, needs=needs)
        return
    if layout is None:
        note = "not read: the metadata gives no valid disk and block size"
        yield absent(DumpPart.BITMAP, "sector bitmap", note, takes=takes, needs=needs)
        return
    some = False
    for chunk, states, entry in _chunks(file, place, layout):
        for draft in _chunk(file, layout, chunk, states, entry):
            some = True
            yield draft
    if not some:
        why = "no block is partially present" if layout.has_parent else "the disk has no parent"
        yield absent(DumpPart.BITMAP, "sector bitmap", f"none: {why}", takes=takes)


def _chunks(file: VhdxDump, place: Range, layout: BatLayout) -> Iterator[tuple[int, bytearray, int]]:
    """Each chunk with entries in use: its number, the states of its blocks, its sector bitmap entry."""
    ratio = layout.chunk_ratio
    length = min(place.length // ENTRY_SIZE, layout.entries) * ENTRY_SIZE
    chunk, states, some = 0, bytearray(ratio), False
    for index, raw in scan(file.storage, Range(place.offset, length)):
        number, within = divmod(index, ratio + 1)
        if number != chunk:
            if some:
                yield chunk, states, 0
            chunk, states, some = number, bytearray(ratio), False
        if within < ratio:
            states[within] = bat.state(raw)
            some = some or bat.state(raw) == PayloadState.PARTIALLY_PRESENT
        else:
            yield chunk, states, raw
            some = False
    if some:
        yield chunk, states, 0


def _chunk(file: VhdxDump, layout: BatLayout, chunk: int, states: bytearray, entry: int) -> Iterator[Draft]:
    name = f"sector bitmap of chunk {chunk}"
    partial = states.count(int(PayloadState.PARTIALLY_PRESENT))
    offset = bat.file_offset(entry)
    present = bat.state(entry) == BitmapState.PRESENT
    if not present or not offset or offset >= file.size:
        if partial or present:
            where = f"the BAT gives offset {offset}, beyond end of file" if offset else "no file offset"
            blocks = f"{counted(partial, 'partially present block')} cannot be read without it"
            yield absent(DumpPart.BITMAP, name, f"not read: {where}; {blocks}", needs=(DumpPart.BAT,))
        return
    bits = file.read(offset, BITMAP_BLOCK_SIZE)
    note = file.following(Range(offset, len(bits)))
    fields = _blocks(layout, chunk, states, bits, offset)
    first = True
    while piece := tuple(islice(fields, MOST_FIELDS)):
        yield Draft(_piece(name, piece, offset, len(bits), note, first=first), ("sector bitmap",))
        first = False
    if first:
        empty = "; ".join(text for text in ("no bit is set", note) if text)
        yield Draft(Structure(DumpPart.BITMAP, name, offset, len(bits), (), empty), ("sector bitmap",))


def _piece(name: str, fields: tuple[Field, ...], offset: int, length: int, note: str, *, first: bool) -> Structure:
    return Structure(DumpPart.BITMAP, name, offset, length, fields, note if first else "continued")


def _blocks(layout: BatLayout, chunk: int, states: bytearray, bits: bytes, offset: int) -> Iterator[Field]:
    for within, state in enumerate(states):
        start = within * layout.bitmap_bytes
        raw = bits[start : start + layout.bitmap_bytes]
        partial = state == PayloadState.PARTIALLY_PRESENT
        if not partial and not any(raw):
            continue
        block = chunk * layout.chunk_ratio + within
        sectors = min(layout.block_size, max(layout.virtual_size - block * layout.block_size, 0))
        said = bits_text(raw, sectors // layout.logical_sector_size)
        if not partial:
            said += "; ignored, because the block is not partially present"
        yield Field(f"block {block}", offset + start, raw, set_bits(raw), said)


def set_bits(bitmap: bytes) -> int:
    """Number of set bits."""
    return int.from_bytes(bitmap, "little").bit_count()


def bits_text(bitmap: bytes, sectors: int) -> str:
    """The *sectors* of a block whose bits are set, bit 0 of byte 0 first."""
    value = int.from_bytes(bitmap, "little")
    inside = value & ((1 << sectors) - 1)
    count = inside.bit_count()
    beyond = value.bit_count() - count
    behind = f"; {counted(beyond, 'bit')} beyond end of disk" if beyond else ""
    if count in (0, sectors):
        return f"{'none' if not count else 'all'} of {counted(sectors, 'sector')} present{behind}"
    total = (inside & ~(inside << 1)).bit_count()
    set_runs = ((first, length) for first, length, one in bit_runs(bitmap, 0, sectors) if one)
    told = [
        f"{first}..{first + length - 1}" if length > 1 else str(first) for first, length in islice(set_runs, _MOST_RUNS)
    ]
    more = f" and {total - len(told)} more runs" if total > len(told) else ""
    return f"of {counted(sectors, 'sector')}, present: {', '.join(told)}{more}{behind}"
