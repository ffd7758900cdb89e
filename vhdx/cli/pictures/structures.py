"""The structures of one file as tables for the page, with limits on their length."""

from collections.abc import Iterable, Iterator

from vhdx.cli.pictures.page import Chapter, PageTable, Row
from vhdx.dump import DumpPart, Field, Structure

_COLUMNS = ("Offset", "Field", "Bytes", "Value", "Meaning")
_MOST_ROWS = 200
"""Number of fields of each part that the page shows."""
_MOST_COUNTED = 100_000
"""Number of fields of each part that are counted."""
_RAW_BYTES = 16
_MOST_REMARKS = 20

_TITLES = {"bat": "Block allocation table", "bitmap": "Bitmaps", "locator": "Parent locators"}


def chapter(part: DumpPart, structures: Iterable[Structure], image: str) -> Chapter | None:
    """The tables of one part of the file *image*; None if the file has no such part."""
    tables: list[PageTable] = []
    room, beyond, counted = _MOST_ROWS, 0, 0
    for structure in structures:
        counted += len(structure.fields) or 1
        if room > 0:
            tables.append(_table(structure, room))
            room -= max(len(structure.fields), 1)
        else:
            beyond += 1
        if counted > _MOST_COUNTED:
            beyond += 1
            break
    if not tables:
        return None
    left = ""
    if beyond:
        several = "or more " * (counted > _MOST_COUNTED)
        command = f"vhdx-inspect dump {image} {part.value}"
        left = f"{beyond} {several}structures of this kind are omitted; {command} shows all."
    return Chapter(_TITLES.get(part.value, part.value.capitalize()), tuple(tables), left)


def _table(structure: Structure, room: int) -> PageTable:
    fields = structure.fields[:room]
    left = len(structure.fields) - len(fields)
    place = "" if structure.offset is None else f"{structure.length} bytes at offset {structure.offset:#x}"
    return PageTable(
        structure.name,
        _COLUMNS,
        tuple(_row(field) for field in fields),
        " · ".join(text for text in (place, structure.note) if text),
        f"{left} of {len(structure.fields)} fields are omitted." if left else "",
        tuple(_remarks(structure)),
    )


def _row(field: Field) -> Row:
    raw = field.raw[:_RAW_BYTES].hex(" ") + " …" * (len(field.raw) > _RAW_BYTES)
    value = "" if field.value is None else str(field.value)
    return Row((f"{field.offset:#x}", field.name, raw, value, field.meaning or ""))


def _remarks(structure: Structure) -> Iterator[str]:
    yield from (str(finding) for finding in structure.findings[:_MOST_REMARKS])
    left = len(structure.findings) - _MOST_REMARKS
    if left > 0:
        yield f"and {left} more findings"
