"""The BAT of a VHDX as runs of entries (MS-VHDX 2.5)."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from vhdx.check.blocks import scan
from vhdx.dump.runs import Run, runs
from vhdx.dump.structure import Draft, DumpPart, Field, Structure, absent
from vhdx.dump.vhdx_file import VhdxDump
from vhdx.dump.words import numbers, size_text
from vhdx.extents import Range
from vhdx.format.bat import BITMAP_BLOCK_SIZE, ENTRY_SIZE, MIB, BatLayout, BitmapState, PayloadState, file_offset, state

MOST_FIELDS = 1000
"""Maximum number of runs in one structure."""
_RESERVED = 0xFFFF8
_STATES = {
    PayloadState.NOT_PRESENT: "not present",
    PayloadState.UNDEFINED: "undefined",
    PayloadState.ZERO: "zero",
    PayloadState.UNMAPPED: "unmapped",
    PayloadState.FULLY_PRESENT: "fully present",
    PayloadState.PARTIALLY_PRESENT: "partially present",
}
_BITMAP_STATES = {int(BitmapState.NOT_PRESENT): "not present", int(BitmapState.PRESENT): "present"}
_READS = {
    PayloadState.UNDEFINED: "never written, reads as zeros",
    PayloadState.ZERO: "reads as zeros",
    PayloadState.UNMAPPED: "discarded by the guest, reads as zeros",
}


def table(file: VhdxDump) -> Iterator[Draft]:
    """The table in pieces with a limited number of runs."""
    place = file.bat.range
    needs = (DumpPart.HEADERS, DumpPart.REGIONS)
    if place is None:
        yield absent(DumpPart.BAT, "BAT", file.bat.reason, takes=("BAT", "BAT entry"), needs=needs)
        return
    layout = file.layout
    total = place.length // ENTRY_SIZE
    entries = scan(file.storage, Range(place.offset, total * ENTRY_SIZE))
    if layout is None:
        found = runs(entries, 0, total, blank=0, stride=MIB, slack=255 * MIB, edge=lambda _: total)
        describe: Callable[[Run, int], Field] = _unknown
    else:
        found = _known_runs(entries, layout, total)
        describe = _Teller(layout).field
    note = "" if layout else "the metadata gives no valid disk and block size, so raw entries are listed"
    yield from _pieces(file, place, found, describe, note)


def _known_runs(entries: Iterable[tuple[int, int]], layout: BatLayout, total: int) -> Iterator[Run]:
    period = layout.chunk_ratio + 1
    behind = layout.payload_index(layout.payload_blocks - 1) + 1  # only a sector bitmap may follow

    def edge(index: int) -> int:
        chunk, within = divmod(index, period)
        if within == layout.chunk_ratio:
            return index + 1
        bitmap = chunk * period + layout.chunk_ratio
        return min(bitmap, behind) if index < behind else bitmap if index < layout.entries else total

    last = min(layout.entries, total)
    for run in runs(entries, 0, total, blank=0, stride=layout.block_size, edge=edge):
        if not run.raw and run.first < last < run.end:
            yield Run(run.first, last - run.first, 0, 0)
            yield Run(last, run.end - last, 0, 0)
        else:
            yield run


def _pieces(
    file: VhdxDump, place: Range, found: Iterator[Run], describe: Callable[[Run, int], Field], note: str
) -> Iterator[Draft]:
    first = True
    while piece := list(islice(found, MOST_FIELDS)):
        at = place.offset + piece[0].first * ENTRY_SIZE
        length = (piece[-1].end - piece[0].first) * ENTRY_SIZE
        fields = tuple(describe(run, place.offset) for run in piece)
        which = numbers(piece[0].first, piece[-1].end - piece[0].first, "entry", "entries")
        notes = (which, note if first else "", file.following(Range(at, length)))
        structure = Structure(DumpPart.BAT, "BAT", at, length, fields, "; ".join(text for text in notes if text))
        yield Draft(structure, ("BAT", "BAT entry"))
        first = False


def _field(run: Run, table: int, name: str, value: str, meaning: str) -> Field:
    raw = run.raw.to_bytes(ENTRY_SIZE, "little")
    return Field(name, table + run.first * ENTRY_SIZE, raw, value, meaning)


def _unknown(run: Run, table: int) -> Field:
    name = numbers(run.first, run.length, "entry", "entries")
    if not run.raw:
        return _field(run, table, name, "not present", "")
    return _field(run, table, name, f"state {state(run.raw)}", _where(run, run.step or MIB))


def _where(run: Run, length: int) -> str:
    offset = file_offset(run.raw)
    if not offset:
        return "no file offset"
    if run.length > 1 and not run.step:
        return f"all at file offset {offset}"
    return f"{size_text(run.length * length)} at file offsets {offset}..{offset + run.length * length - 1}"


class _Teller:
    """Describes runs for a known layout."""

    def __init__(self, layout: BatLayout) -> None:
        self._layout = layout

    def field(self, run: Run, table: int) -> Field:
        layout = self._layout
        name = self._name(run)
        if not run.raw:
            return _field(run, table, name, "not present", self._absent(run))
        odd = ", reserved bits set" if run.raw & _RESERVED else ""
        if run.first % (layout.chunk_ratio + 1) == layout.chunk_ratio and run.first < layout.entries:
            value = _BITMAP_STATES.get(state(run.raw), f"state {state(run.raw)}, undefined")
            return _field(run, table, name, value, _where(run, BITMAP_BLOCK_SIZE) + odd)
        number = state(run.raw)
        value = next((text for known, text in _STATES.items() if known == number), f"state {number}, undefined")
        said = [_READS[PayloadState(number)]] if number in _READS else []
        if file_offset(run.raw) or number not in _READS:
            said.append(_where(run, layout.block_size))
        return _field(run, table, name, value, ", ".join(said) + odd)

    def _name(self, run: Run) -> str:
        layout, period = self._layout, self._layout.chunk_ratio + 1
        if run.first >= layout.entries:
            return f"{numbers(run.first, run.length, 'entry', 'entries')}, beyond end of table"
        block, after = run.first - run.first // period, run.end - run.end // period
        chunk, next_chunk = run.first // period, run.end // period
        names = []
        if block < min(after, layout.payload_blocks):
            names.append(numbers(block, min(after, layout.payload_blocks) - block, "block"))
        if after > max(layout.payload_blocks, block):
            names.append("entries beyond end of disk")
        if chunk < next_chunk:
            names.append("sector bitmap of " + numbers(chunk, next_chunk - chunk, "chunk"))
        return " and ".join(names)

    def _absent(self, run: Run) -> str:
        layout, period = self._layout, self._layout.chunk_ratio + 1
        block, after = run.first - run.first // period, run.end - run.end // period
        blocks = min(after, layout.payload_blocks) - block
        if run.first >= layout.entries or blocks <= 0:
            return ""
        source = "read from the parent" if layout.has_parent else "read as zeros"
        return f"{size_text(blocks * layout.block_size)}, {source}"
