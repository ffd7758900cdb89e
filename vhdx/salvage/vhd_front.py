"""Selects the footer of a damaged VHD, or a fallback if there is none (VHD 1.0)."""

from dataclasses import dataclass, replace

from vhdx.errors import FormatError
from vhdx.format import vhd_footer
from vhdx.format.vhd_footer import COOKIE, FOOTER, NO_OFFSET, OLD_SIZE, POISON, SIZE, Footer, VhdType
from vhdx.format.vhd_geometry import SECTOR
from vhdx.format.vhd_header import HEADER, HOME
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Noting

_SECTION = "VHD 1.0 footer"
_LARGEST = 1 << 42
_HEADER_COOKIE = b"cxsparse"
_SIZE_FIELD = slice(48, 56)


@dataclass(frozen=True, slots=True)
class FoundFront:
    """The footer in use; *end* is the end of the content before the footer at the end of the file.

    *sealed*: its checksum is correct. *made*: the file has no footer; for a dynamic disk, the size is unknown.
    """

    footer: Footer
    end: int
    sealed: bool
    made: bool = False


@dataclass(frozen=True, slots=True)
class _Copy:
    name: str
    offset: int
    footer: Footer
    sealed: bool
    fault: str = "the checksum is wrong"


def find_footer(medium: Medium, noting: Noting, *, told: bool) -> FoundFront:
    """Find the footer; with *told*, the caller named the format, and the file may have no footer.

    Raises FormatError when the disk cannot be described, UnsupportedFeature for another version of the format.
    """
    size = medium.end
    if size < SIZE:
        raise FormatError("file", None, f"{size} bytes are too few for a VHD", _SECTION, file=noting.file)
    at_end = _copy(medium, "the footer", size - SIZE, SIZE, noting) or _copy(
        medium, "the footer", size - OLD_SIZE, OLD_SIZE, noting
    )
    end = size if at_end is None else at_end.offset
    if at_end is not None and at_end.sealed and not at_end.footer.is_dynamic:
        return FoundFront(at_end.footer, end, sealed=True)  # the start is guest data
    start = _copy(medium, "its copy", 0, SIZE, noting)
    if start is not None and not _is_of(start, at_end):
        start = None
    if at_end is not None and at_end.sealed:
        return FoundFront(at_end.footer, end, sealed=True)
    if start is not None and start.sealed:
        state = "is missing" if at_end is None else "is not valid"
        noting.tell("footer", end, f"the footer at the end of the file {state}; its copy at the start was used")
        return FoundFront(start.footer, end, sealed=True)
    if at_end is None and start is None:
        return _without(medium, noting, told=told)
    return _unsealed(at_end, start, end, noting)


def _is_of(start: _Copy, at_end: _Copy | None) -> bool:
    """Whether the footer at the start can be the copy, rather than guest data of a fixed disk."""
    if not start.footer.is_dynamic:
        return False
    return at_end is None or at_end.footer.is_dynamic or at_end.footer.unique_id == start.footer.unique_id


def _copy(medium: Medium, name: str, offset: int, length: int, noting: Noting) -> _Copy | None:
    data = medium.whole(offset, length)
    if data is None:
        return None
    whole = data.ljust(SIZE, b"\0")
    if whole.startswith(POISON):
        vhd_footer.parse(whole, offset)  # raises
    if not whole.startswith(COOKIE):
        return None
    try:
        reading = vhd_footer.parse(whole, offset)
        return _Copy(name, offset, reading.footer, reading.sealed)
    except FormatError as error:
        footer = FOOTER.parse(whole, offset)
        if not _sound(footer):
            noting.tell("footer", offset, f"{name} is unusable ({error.reason})")
            return None
        return _Copy(name, offset, footer, sealed=False, fault=error.reason)


def _sound(footer: Footer) -> bool:
    """Whether the fields that locate the disk are plausible."""
    return (
        footer.version >> 16 == 1
        and footer.disk_type in (VhdType.FIXED, VhdType.DYNAMIC, VhdType.DIFFERENCING)
        # The footer of a fixed disk can be verified by its offset.
        and (not footer.is_dynamic or (0 < footer.current_size <= _LARGEST and not footer.current_size % SECTOR))
    )


def _unsealed(at_end: _Copy | None, start: _Copy | None, end: int, noting: Noting) -> FoundFront:
    """A footer with a wrong checksum, used if nothing contradicts it."""
    found = [copy for copy in (at_end, start) if copy is not None]
    if len(found) == 2 and _placing(found[0].footer) != _placing(found[1].footer):
        reason = "neither the footer nor its copy is valid, and they describe different disks"
        raise FormatError("footer", found[0].offset, reason, _SECTION, file=noting.file)
    one, footer = found[0], found[0].footer
    message = f"{one.name} is not valid ({one.fault}); its fields are valid and were used"
    if not footer.is_dynamic and footer.current_size != end:
        footer = replace(footer, current_size=end // SECTOR * SECTOR)
        message = f"{one.name} is not valid ({one.fault}); everything before it was used as the disk"
    noting.trust("footer", one.offset, message)
    return FoundFront(footer, end, sealed=False)


def _placing(footer: Footer) -> tuple[int, int, int]:
    return footer.current_size, footer.disk_type, footer.data_offset


def _without(medium: Medium, noting: Noting, *, told: bool) -> FoundFront:
    """A fallback for a file without any footer, if the caller named the format VHD."""
    if not told:
        reason = "there is no footer at the end and no copy at the start of the file; if it is a VHD, use -f vhd"
        raise FormatError("footer", medium.end - SIZE, reason, _SECTION, file=noting.file)
    head = medium.whole(HOME, HEADER.size)
    if head is not None and head.startswith(_HEADER_COOKIE):
        message = "there is none; the disk size was guessed from the number of block table entries"
        noting.trust("footer", None, message)
        return FoundFront(_made(VhdType.DYNAMIC, 0, HOME), medium.end, sealed=False, made=True)
    cut = medium.end // SECTOR * SECTOR
    rest = medium.whole(cut, medium.end - cut) or b""
    if rest.startswith(COOKIE) and (len(rest) < _SIZE_FIELD.stop or int.from_bytes(rest[_SIZE_FIELD]) == cut):
        noting.tell("footer", cut, "the file is truncated inside the footer; the disk before it is complete")
        return FoundFront(_made(VhdType.FIXED, cut, NO_OFFSET), cut, sealed=False, made=True)
    message = "there is none; the file was used as a fixed disk that ends at end of file, and may be truncated"
    noting.trust("footer", None, message)
    return FoundFront(_made(VhdType.FIXED, cut, NO_OFFSET), cut, sealed=False, made=True)


def _made(kind: VhdType, size: int, data_offset: int) -> Footer:
    blank = FOOTER.parse(COOKIE.ljust(SIZE, b"\0"))
    return replace(blank, disk_type=kind, current_size=size, original_size=size, data_offset=data_offset)

