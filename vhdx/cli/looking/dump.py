"""``vhdx-inspect dump``: shows every field of an image's structures, with findings."""

from collections.abc import Iterator
from typing import Any

import click

from vhdx.check import Severity
from vhdx.check.remedies import REMEDIES
from vhdx.cli.exits import Exit, Stop
from vhdx.cli.kinds import image_format
from vhdx.cli.looking.finding_json import finding_json
from vhdx.cli.options import format_option, image_argument, json_option, subcommand
from vhdx.cli.plain import escaped
from vhdx.cli.printing import print_line, print_list
from vhdx.cli.reach import Reach
from vhdx.dump import DumpPart, Field, Structure, dump_storage
from vhdx.storage.base import Access

_ALL = "all"
_RAW_BYTES = 16
_SPOILT = frozenset(
    {
        "header-signature",
        "header-checksum",
        "region-table-signature",
        "region-table-checksum",
        "vhd-footer-end-missing",
        "vhd-footer-copy-missing",
        "vhd-footer-other-checksum",
        "vhd-batmap-checksum",
    }
)
"""Codes for a damaged structure of an image that is still valid because another copy is used."""


@subcommand("dump")
@image_argument
@click.argument("parts", nargs=-1, type=click.Choice([*(part.value for part in DumpPart), _ALL]), metavar="[PART]...")
@format_option
@json_option
def command(reach: Reach, *, image: str, parts: tuple[str, ...], format_name: str | None, as_json: bool) -> None:
    """Show every field of the structures of IMAGE, with offset, bytes and meaning.

    PART is one or more of headers, regions, metadata, bat, bitmap, log, locator, footer, or all (the default). This
    command is made for damaged images: it shows everything that can be decoded, and lists findings below each
    structure. The file is shown without a replay of its log. Exit code 2 means that a structure is damaged.
    """
    wanted = list(DumpPart) if not parts or _ALL in parts else [DumpPart(part) for part in dict.fromkeys(parts)]
    with reach.place(image) as place:
        name = place.files.describe(place.path)
        storage = place.files.open(place.path, Access.INSPECT)
        try:
            tally = _Tally(dump_storage(storage, wanted, format=image_format(format_name)))
            if as_json:
                print_list(_structure_json(structure) for structure in tally)
            else:
                for structure in tally:
                    _print(structure)
        finally:
            storage.close()
    if tally.damaged:
        raise Stop(Exit.DAMAGED, f"{escaped(name)}: a structure is damaged; see the findings above")


class _Tally:
    """Passes structures on, and notes whether one of them is damaged."""

    def __init__(self, structures: Iterator[Structure]) -> None:
        self._structures = structures
        self.damaged = False

    def __iter__(self) -> Iterator[Structure]:
        for structure in self._structures:
            wrong = any(
                finding.severity is Severity.ERROR or finding.code in _SPOILT for finding in structure.findings
            )
            self.damaged = self.damaged or structure.lost or wrong
            yield structure


def _structure_json(structure: Structure) -> dict[str, Any]:
    return {
        "part": structure.part.value,
        "structure": structure.name,
        "offset": structure.offset,
        "length": structure.length,
        "note": structure.note,
        "lost": structure.lost,
        "fields": [_field_json(field) for field in structure.fields],
        "findings": [finding_json(finding) for finding in structure.findings],
    }


def _field_json(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "offset": field.offset,
        "raw": field.raw.hex(),
        "value": field.value,
        "meaning": field.meaning,
    }


def _print(structure: Structure) -> None:
    place = "" if structure.offset is None else f", {structure.length} bytes at offset {structure.offset}"
    print_line(f"{structure.name}{place}")
    if structure.note:
        print_line(f"  {structure.note}")
    width = max((len(field.name) for field in structure.fields), default=0)
    for field in structure.fields:
        raw = field.raw[:_RAW_BYTES].hex() + "..." * (len(field.raw) > _RAW_BYTES)
        value = "" if field.value is None else str(field.value)
        meaning = f"  ({field.meaning})" if field.meaning else ""
        print_line(f"  {field.offset:#012x}  {field.name:<{width}}  {raw:<35}  {value}{meaning}")
    for finding in structure.findings:
        print_line(f"  {finding}")
        print_line(f"      {REMEDIES[finding.code]}")
    print_line()
