"""The batmap that tapdisk and vhd-util store after the block table of a VHD (blktap)."""

from collections.abc import Iterator

from vhdx.dump.reading import Gloss, record_fields, sized
from vhdx.dump.structure import Draft, DumpPart, Field, Structure
from vhdx.dump.vhd_file import VhdDump
from vhdx.dump.words import counted
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_batmap import COOKIE, HEADER, header_place

_MAKER = b"tap"
_LONGEST = 1 << 20
"""Bytes of the batmap that are shown."""


def batmap(file: VhdDump) -> Iterator[Draft]:
    """Header and bits, if the file has a batmap."""
    footer, header = file.footer, file.header
    if footer is None or header is None or not footer.creator.startswith(_MAKER):
        return
    at = header_place(header.table_offset, header.max_entries)
    data = file.read(at, HEADER.size)
    if len(data) < HEADER.size or not data.startswith(COOKIE):
        return
    glosses: dict[str, Gloss] = {"offset": sized}
    fields = tuple(record_fields(HEADER, data, at, glosses))
    note = "one bit per block whose sectors are all present; only XenServer's tools use it"
    yield Draft(Structure(DumpPart.BITMAP, "batmap", at, SECTOR, fields, note), ("batmap",))
    found = HEADER.parse(data, at)
    bits = file.read(found.offset, min(found.sectors * SECTOR, _LONGEST))
    if bits:
        full = int.from_bytes(bits, "big").bit_count()
        field = Field("bits", found.offset, bits, full, f"{counted(full, 'block')} marked full")
        yield Draft(Structure(DumpPart.BITMAP, "batmap bits", found.offset, len(bits), (field,)), ("batmap",))
