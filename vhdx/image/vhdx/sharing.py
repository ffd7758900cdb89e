"""Whether blocks of a VHDX share places in its file: asked before the whole of a disk is read.

Nothing hinders a table from naming one place for every block, so that a file of a few MiB holds a disk of many TiB to
read. One pass over the part of the table that is not holes, a byte of memory for every MiB that is taken.
"""

from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import bat
from vhdx.format.header import AREA
from vhdx.image.places import PlaceOwner, Places
from vhdx.image.sharing import refusal, warning
from vhdx.image.vhdx.file import VhdxFile


def shared(file: VhdxFile) -> FormatError | None:
    """The first two things that share a place. Raises FormatError; see `Image.shared`."""
    size, layout = file.storage.size(), file.layout
    places = Places()
    for _, taken in _structures(file):
        places.take(taken.offset, taken.length, PlaceOwner.STRUCTURE)
    first: tuple[int, Range] | None = None
    mapped = 0
    for index, raw in file.table.scan(file.storage):
        place = bat.held(layout, index, raw)
        if place is None or place.offset + bat.covered(layout, index) > size:
            continue
        if places.take(place.offset, place.length, PlaceOwner.BLOCK) is not PlaceOwner.FREE and first is None:
            first = (index, place)
        if bat.state(raw) in bat.PRESENT:
            mapped += place.length
        reason = refusal(mapped, size)
        if reason and first is not None:
            raise _fault(file, *first, reason)
    return None if first is None else _fault(file, *first, warning())


def _structures(file: VhdxFile) -> list[tuple[str, Range]]:
    found = [("headers", Range(0, AREA)), ("log", file.headers.header.log)]
    return found + [(f"region {entry.guid}", entry.range) for entry in file.regions]


def _fault(file: VhdxFile, index: int, place: Range, reason: str) -> FormatError:
    layout = file.layout
    on = [name for name, other in _structures(file) if place.offset < other.end and other.offset < place.end]
    if on:
        other = f"the {on[0]}"
    else:
        number = bat.sharers(file.table.scan(file.storage), layout, {index: place})[index]
        other = f"{bat.owner(layout, number)} (entry {number})"
    what = f"{bat.owner(layout, index)} lies at {place.offset} of the file, where {other} lies too"
    return bat.fault(index, file.table.region, f"{what}; {reason}")
