"""Checks of the content of present blocks: unreadable blocks, and blocks of zeros."""

from collections.abc import Iterator

from vhdx.check.blocks import scan
from vhdx.check.finding import Finding, counted, found
from vhdx.check.metadata import CheckedDisk
from vhdx.check.reading import is_blank
from vhdx.check.regions import Regions
from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.bat import ENTRY_SIZE, PRESENT, PayloadState
from vhdx.format.bat import file_offset as place_of
from vhdx.format.bat import state as state_of
from vhdx.image.places import PlaceOwner, Places
from vhdx.storage.base import Storage


def check_content(view: Storage, regions: Regions, disk: CheckedDisk) -> Iterator[Finding]:
    """Read every present block; each file range is read once.

    A read error is a finding, not an exception.
    """
    assert regions.bat is not None
    size, layout = view.size(), disk.layout
    if layout.entries * ENTRY_SIZE > regions.bat.length:
        return
    places = Places()
    zeros = 0
    for index, raw in scan(view, Range(regions.bat.offset, layout.entries * ENTRY_SIZE)):
        chunk, within = divmod(index, layout.chunk_ratio + 1)
        state, offset = state_of(raw), place_of(raw)
        present = state in PRESENT
        if within == layout.chunk_ratio or index - chunk >= layout.payload_blocks or not present:
            continue
        length = min(layout.block_size, size - offset)
        if not offset or length < bat.covered(layout, index):
            continue
        if places.take(offset, layout.block_size, PlaceOwner.BLOCK) is not PlaceOwner.FREE:
            continue
        try:
            blank = is_blank(view, Range(offset, length))
        except OSError as error:
            reason = error.strerror or str(error)
            yield found("block-unreadable", offset, f"block {index - chunk} cannot be read ({reason})")
        else:
            zeros += blank and state == PayloadState.FULLY_PRESENT
    if zeros:
        remedy = "" if disk.fixed else f"; compacting frees {zeros * layout.block_size} bytes"
        message = f"{counted(zeros, 'block')} of zeros{remedy}"
        yield found("blocks-all-zero", regions.bat.offset, message)
