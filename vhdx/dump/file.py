"""The dump of one file: its format, the requested parts, and the findings for each structure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from vhdx.check import Finding, check_storage
from vhdx.dump import vhd_blocks, vhd_front, vhdx_bat, vhdx_bitmap, vhdx_front, vhdx_log, vhdx_metadata
from vhdx.dump.ledger import DumpLedger
from vhdx.dump.reading import read_some
from vhdx.dump.structure import Draft, DumpPart, Structure, absent
from vhdx.dump.vhd_file import VhdDump
from vhdx.dump.vhdx_file import VhdxDump
from vhdx.errors import FormatError
from vhdx.format import header, region
from vhdx.image.base import ImageFormat
from vhdx.image.marks import is_vhd, is_vhdx
from vhdx.storage.base import Storage

Reader = Callable[[], Iterator[Draft]]


def dump_storage(
    storage: Storage,
    parts: Collection[DumpPart],
    *,
    format: ImageFormat | None = None,
    findings: Iterable[Finding] | None = None,
) -> Iterator[Structure]:
    """The structures of *parts*, by file offset within each part, with the findings of a check.

    The file is read only, and shown without a replay of its log. Each finding is attached to one structure. *format*
    overrides detection; *findings* are those of a check of the same file, if the caller has them. Memory is
    bounded. Invalid bytes never raise; raises the transport's OSError.
    """
    asked = list(dict.fromkeys(parts))
    if not asked:
        return
    ledger = DumpLedger(check_storage(storage, format=format) if findings is None else findings, asked)
    yield from ledger.whole_file(storage.size())
    readers = _readers(storage, format)
    for part in asked:
        yield from map(ledger.settle, _guarded(part, readers[part]))
        yield from ledger.rest(part)


def _guarded(part: DumpPart, reader: Reader) -> Iterator[Draft]:
    try:
        yield from reader()
    except FormatError as error:
        # Reads stay within the size that the file had when it was opened, so only a concurrent truncation leads here.
        note = f"read stopped: {error.reason}; dump it again when no process modifies it"
        yield absent(part, "file", note, lost=True)


def _readers(storage: Storage, format: ImageFormat | None) -> Mapping[DumpPart, Reader]:
    match format:
        case ImageFormat.RAW:
            return {part: _nothing(part, "a raw file has no structures: every byte is guest data") for part in DumpPart}
        case ImageFormat.VHDX | ImageFormat.VHD:
            vhdx, vhd = format is ImageFormat.VHDX, format is ImageFormat.VHD
        case None:
            vhdx, vhd = _recognised(storage)
    if vhdx:
        readers = _vhdx(VhdxDump(storage))
        return readers | {DumpPart.FOOTER: partial(vhd_front.footers, VhdDump(storage))} if vhd else readers
    if vhd:
        return _vhd(VhdDump(storage))
    return _unknown(storage)


def _recognised(storage: Storage) -> tuple[bool, bool]:
    """Whether the file is a VHDX, a VHD, both or neither, by what is left of its marks."""
    try:
        return is_vhdx(storage) or _looks_like_vhdx(storage), is_vhd(storage) or _looks_like_vhd(storage)
    except FormatError:
        return False, False


def _nothing(part: DumpPart, note: str, *, lost: bool = False) -> Reader:
    return lambda: iter((absent(part, part.value, note, lost=lost),))


def _looks_like_vhdx(storage: Storage) -> bool:
    size = storage.size()
    marks = [(offset, b"head") for offset in header.OFFSETS] + [(offset, b"regi") for offset in region.OFFSETS]
    return any(read_some(storage, offset, len(mark), size) == mark for offset, mark in marks)


def _looks_like_vhd(storage: Storage) -> bool:
    file = VhdDump(storage)
    return file.footer is not None or file.header_offset is not None


def _vhdx(file: VhdxDump) -> dict[DumpPart, Reader]:
    return {
        DumpPart.HEADERS: partial(vhdx_front.headers, file),
        DumpPart.REGIONS: partial(vhdx_front.regions, file),
        DumpPart.METADATA: partial(vhdx_metadata.items, file),
        DumpPart.BAT: partial(vhdx_bat.table, file),
        DumpPart.BITMAP: partial(vhdx_bitmap.bitmaps, file),
        DumpPart.LOG: partial(vhdx_log.entries, file),
        DumpPart.LOCATOR: partial(vhdx_metadata.locators, file),
        DumpPart.FOOTER: _nothing(DumpPart.FOOTER, "a VHDX has none"),
    }


def _vhd(file: VhdDump) -> dict[DumpPart, Reader]:
    return {
        DumpPart.HEADERS: partial(vhd_front.headers, file),
        DumpPart.REGIONS: _nothing(DumpPart.REGIONS, "a VHD has none"),
        DumpPart.METADATA: _nothing(DumpPart.METADATA, "a VHD has none"),
        DumpPart.BAT: partial(vhd_blocks.table, file),
        DumpPart.BITMAP: partial(vhd_blocks.bitmaps, file),
        DumpPart.LOG: _nothing(DumpPart.LOG, "a VHD has none"),
        DumpPart.LOCATOR: partial(vhd_front.locators, file),
        DumpPart.FOOTER: partial(vhd_front.footers, file),
    }


def _unknown(storage: Storage) -> dict[DumpPart, Reader]:
    note = "the file is not recognised as VHDX or VHD"
    none = {part: _nothing(part, note, lost=True) for part in DumpPart}
    vhdx, vhd = VhdxDump(storage), VhdDump(storage)
    return none | {
        DumpPart.HEADERS: partial(vhdx_front.headers, vhdx),
        DumpPart.FOOTER: partial(vhd_front.footers, vhd),
    }
