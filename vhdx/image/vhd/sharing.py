"""Whether blocks of a VHD share places in its file: asked before the whole of a disk is read.

One pass over the table, four bytes of memory for a block with a place. Of more than `MOST_BLOCKS` only the sum is
looked at.
"""

from array import array
from collections.abc import Iterator
from heapq import merge
from itertools import pairwise

from vhdx.errors import FormatError
from vhdx.format import vhd_bat
from vhdx.format.vhd_bat import SECTOR, UNUSED
from vhdx.image.sharing import refusal, warning
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.survey import MOST_BLOCKS

_RUN = 1 << 20


def shared(file: VhdFile) -> FormatError | None:
    """The first two blocks that share a place. Raises FormatError; see `Image.shared`."""
    layout, size = file.layout, file.storage.size()
    last = size // SECTOR - layout.span // SECTOR
    starts, blocks = array("I"), 0
    for _, entries in file.table.scan():
        inside = [start for start in entries if start <= last]
        blocks += len(inside)
        if len(starts) < MOST_BLOCKS:
            starts.extend(inside)
        reason = refusal(blocks * layout.span, size)
        if reason:
            raise _fault(file, first_shared(starts, layout.span), reason)
    pair = first_shared(starts, layout.span)
    return None if pair is None else _fault(file, pair, warning())


def ascending(starts: "array[int]") -> Iterator[int]:
    """The numbers in *starts* by size; sorted in runs, in place, so that few are values of Python at a time."""
    runs = range(0, len(starts), _RUN)
    for at in runs:
        starts[at : at + _RUN] = array(starts.typecode, sorted(starts[at : at + _RUN]))
    view = memoryview(starts)
    return merge(*(view[at : at + _RUN] for at in runs))


def first_shared(starts: "array[int]", span: int) -> tuple[int, int] | None:
    """The first sectors of two blocks of *span* bytes that lie on one another."""
    for before, start in pairwise(ascending(starts)):
        if (start - before) * SECTOR < span:
            return before, start
    return None


def _fault(file: VhdFile, pair: tuple[int, int] | None, reason: str) -> FormatError:
    if pair is None:
        return FormatError("block table", file.table.offset, reason, "VHD 1.0 block allocation table")
    one, other = _blocks(file, pair)
    places = f"the block lies at {pair[1] * SECTOR} of the file, where block {one}, at {pair[0] * SECTOR}, lies too"
    return vhd_bat.fault(other, file.table.offset, f"{places}; {reason}")


def _blocks(file: VhdFile, pair: tuple[int, int]) -> tuple[int, int]:
    """The numbers of two blocks that begin there."""
    found: dict[int, list[int]] = {start: [] for start in pair}
    for first, entries in file.table.scan():
        for number, start in enumerate(entries, first):
            if start != UNUSED and start in found:
                found[start].append(number)
        if all(len(blocks) > (pair[0] == pair[1]) for blocks in found.values()):
            break
    return found[pair[0]][0], found[pair[1]][-1 if pair[0] != pair[1] else 1]
