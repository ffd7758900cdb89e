"""The metadata of a file, read in as few pieces as its layout lets it be (MS-VHDX 2.6)."""

from uuid import UUID

from vhdx.extents import Range
from vhdx.format import metadata
from vhdx.format.metadata import TABLE_SIZE, TableEntry
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread, preads

_TABLE = 1 << 10
"""How much of the table is read at first: more entries than any writer makes."""
_ITEMS = 4 << 10
"""How much behind the table is read along with it: where writers put the items, one behind the other."""
_NEAR = 4 << 10
"""Items are read in one piece where no more than this lies between them."""


def read_items(view: Storage, region: Range) -> tuple[list[TableEntry], dict[UUID, bytes]]:
    """The table of the metadata *region*, which lies inside the file, and the bytes of the items that make the disk.

    Raises FormatError, UnsupportedFeature for an unknown item that is required.
    """
    table, ahead = preads(view, [(region.offset, _TABLE), (region.offset + TABLE_SIZE, _ITEMS)])
    length = metadata.table_length(table, region)
    if length > _TABLE:
        table += pread(view, region.offset + _TABLE, length - _TABLE)
    items = metadata.parse_table(table, region)
    wanted = metadata.system_items(items)
    known = Range(TABLE_SIZE, _ITEMS)
    far = [entry.range for entry in wanted.values() if entry.length and entry.range.end > known.end]
    pieces = {known: ahead, **_read(view, region.offset, _joined(far))}
    return items, {item_id: _cut(pieces, entry.range) for item_id, entry in wanted.items()}


def _joined(ranges: list[Range]) -> list[Range]:
    """Ranges that hold all of *ranges*, those near each other in one."""
    joined: list[Range] = []
    for one in sorted(ranges):
        if joined and one.offset - joined[-1].end <= _NEAR:
            last = joined.pop()
            joined.append(Range(last.offset, max(last.end, one.end) - last.offset))
        else:
            joined.append(one)
    return joined


def _read(view: Storage, start: int, ranges: list[Range]) -> dict[Range, bytes]:
    if not ranges:
        return {}
    return dict(zip(ranges, preads(view, [(start + one.offset, one.length) for one in ranges]), strict=True))


def _cut(pieces: dict[Range, bytes], wanted: Range) -> bytes:
    """The bytes of *wanted* out of the piece that holds it; none of an item without bytes, which lies nowhere."""
    if not wanted.length:
        return b""
    return next(
        data[wanted.offset - piece.offset :][: wanted.length]
        for piece, data in pieces.items()
        if piece.offset <= wanted.offset and wanted.end <= piece.end
    )
