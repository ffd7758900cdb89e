"""Fixes for the footers and the dynamic header of a VHD.

Only the checksum distinguishes a footer from garbage, so if neither copy has a correct one and other fields differ too,
neither is chosen.
"""

from dataclasses import dataclass
from functools import partial

from vhdx.errors import Error, FormatError, UnsupportedFeature
from vhdx.format import vhd_checksum, vhd_footer, vhd_header
from vhdx.format.vhd_footer import COOKIE, OLD_SIZE, POISON, SIZE, Footer, FooterReading
from vhdx.format.vhd_header import HEADER
from vhdx.image.vhd.lost import lost_footer, why_start_is_guests
from vhdx.image.vhd.open import open_vhd
from vhdx.repair.fix import Case, Fix
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_MARKS = (COOKIE, POISON)
_SECTION = "VHD 1.0 footer"
_FOOTER_CHECKSUM, _HEADER_CHECKSUM = 64, 36


@dataclass(frozen=True, slots=True)
class _Copy:
    """The bytes where a footer should be; *reading* is None if they are not a footer."""

    offset: int
    data: bytes
    reading: FooterReading | None
    reason: str

    @property
    def sealed(self) -> bool:
        return self.reading is not None and self.reading.sealed

    @property
    def marked(self) -> bool:
        """Whether the cookie of a footer is there."""
        return self.data.startswith(COOKIE)


def find_vhd(storage: Storage, case: Case) -> Fix | None:
    """The first fix for footers or dynamic header. Raises Error, FormatError, UnsupportedFeature."""
    size = storage.size()
    if size < SIZE:
        raise FormatError("file", None, f"{size} bytes are too few for a VHD", _SECTION)
    end = _at_end(storage, size)
    if end.reading is not None and not _dynamic(end):
        # The start of a fixed disk is guest data.
        _refuse_suspended(storage, end)
        return None if end.sealed else _checksum(end, end)
    first = _copy(storage, 0, SIZE, lenient=True)
    copied = first.sealed and _dynamic(first)
    if not end.marked and not copied:
        return _lost(storage, end, case)
    reason = why_start_is_guests(storage) if copied and end.reading is None else ""
    if reason:
        raise FormatError("footer", end.offset, f"{reason}; the footer at 0 belongs to a different disk", _SECTION)
    force = first if copied and not end.sealed else end
    if force.reading is None:
        raise FormatError("footer", force.offset, force.reason, _SECTION)
    _refuse_suspended(storage, force)
    fix = None if force.sealed else _checksum(end, first)
    if fix is not None or not _dynamic(force):
        return fix
    return _header(storage, force.reading.footer) or _end(end, first, case) or _first(end, first)


def _refuse_suspended(storage: Storage, copy: _Copy) -> None:
    if copy.reading is not None and copy.reading.footer.saved_state:
        reason = "a virtual machine was suspended with the disk; resume and shut it down before modifying the disk"
        raise Error(f"{storage.name}: {reason}")


def _at_end(storage: Storage, size: int) -> _Copy:
    tail = pread(storage, size - SIZE, SIZE)
    old = not tail.startswith(_MARKS) and tail[SIZE - OLD_SIZE :].startswith(_MARKS)
    return _copy(storage, size - OLD_SIZE, OLD_SIZE) if old else _copy(storage, size - SIZE, SIZE)


def _copy(storage: Storage, offset: int, length: int, *, lenient: bool = False) -> _Copy:
    """The footer at *offset*; with *lenient*, one of an unknown version does not raise."""
    data = pread(storage, offset, length)
    if data.startswith(POISON):
        vhd_footer.parse(data, offset)  # raises
    try:
        return _Copy(offset, data, vhd_footer.parse(data, offset), "")
    except FormatError as error:
        return _Copy(offset, data, None, error.reason)
    except UnsupportedFeature:
        if not lenient:
            raise
        return _Copy(offset, data, None, "it has an unknown version")


def _dynamic(copy: _Copy) -> bool:
    return copy.reading is not None and copy.reading.footer.is_dynamic


def _checksum(end: _Copy, first: _Copy) -> Fix:
    """Fix the checksum of the footer at the end, if no copy has a correct one."""
    if first.marked and _dynamic(end) and not _same(end.data, first.data, _FOOTER_CHECKSUM):
        reason = "its checksum and that of its copy at 0 are wrong, and other fields differ too"
        raise FormatError("footer", end.offset, reason, _SECTION)
    right = vhd_checksum.seal(end.data.ljust(SIZE, b"\0"), field=_FOOTER_CHECKSUM)
    message = "the checksum is wrong and all fields are valid; it is recomputed"
    apply = partial(_write, end.offset + _FOOTER_CHECKSUM, right[_FOOTER_CHECKSUM : _FOOTER_CHECKSUM + 4])
    return Fix("vhd-footer-checksum", "footer", end.offset, message, apply)


def _same(one: bytes, other: bytes, checksum: int) -> bool:
    """Whether two structures are equal except for their checksums."""
    length = max(len(one), len(other))
    return all(
        vhd_checksum.seal(data.ljust(length, b"\0"), field=checksum)
        == vhd_checksum.seal(one.ljust(length, b"\0"), field=checksum)
        for data in (one, other)
    )


def _write(offset: int, data: bytes, storage: Storage) -> None:
    storage.write([(offset, data)])


def _header(storage: Storage, footer: Footer) -> Fix | None:
    offset = footer.data_offset
    if offset + HEADER.size > storage.size():
        reason = f"it extends beyond end of file at {storage.size()}"
        raise FormatError(HEADER.structure, offset, reason, HEADER.section)
    data = pread(storage, offset, HEADER.size)
    if vhd_header.parse(data, offset).sealed:
        return None
    right = vhd_checksum.seal(data, field=_HEADER_CHECKSUM)
    message = "the checksum is wrong and all fields are valid; it is recomputed"
    apply = partial(_write, offset + _HEADER_CHECKSUM, right[_HEADER_CHECKSUM : _HEADER_CHECKSUM + 4])
    return Fix("vhd-header-checksum", HEADER.structure, offset, message, apply)


def _end(end: _Copy, first: _Copy, case: Case) -> Fix | None:
    """Fix the footer at the end from its copy; it is written after the last block."""
    if end.sealed or not first.sealed:
        return None
    code = "vhd-footer-other-checksum" if end.marked else "vhd-footer-end-missing"
    state = "is not valid" if end.marked else "is missing"
    message = f"the footer at the end of the file {state}; its copy at 0 is appended"

    def apply(storage: Storage) -> None:
        # Opening for writing does that, and locates the end of the last block first.
        open_vhd(storage, new_id=case.new_id).abandon()

    return Fix(code, "footer", end.offset, message, apply)


def _first(end: _Copy, first: _Copy) -> Fix | None:
    """Fix the copy at the start from the footer at the end."""
    assert end.reading is not None
    right = vhd_footer.build(end.reading.footer)
    if first.data == right:
        return None
    if first.sealed and first.reading is not None:
        # Type and data offset may differ: relinking changes the footer at the end first, then its copy.
        if end.reading.footer.unique_id != first.reading.footer.unique_id:
            reason = f"the footers at 0 and {end.offset} are both valid, but of different disks"
            raise FormatError("footer", 0, reason, _SECTION)
        code, state = "vhd-footers-differ", "is older than the footer at the end"
    elif first.marked:
        code, state = "vhd-footer-other-checksum", "is not valid"
    else:
        code, state = "vhd-footer-copy-missing", "is missing"
    message = f"the copy of the footer {state}; it is rewritten from the one at {end.offset}"
    return Fix(code, "footer", 0, message, partial(_write, 0, right))


def _lost(storage: Storage, end: _Copy, case: Case) -> Fix | None:
    """Fix a fixed disk whose growth was interrupted: the footer is at the end of the disk, followed by zeros only."""
    footer = lost_footer(storage)
    if footer is None:
        reason = f"{end.reason}; there is no copy at 0 and no footer at the end of a smaller fixed disk"
        raise FormatError("footer", end.offset, reason, _SECTION)
    if not case.told:
        # A guest can write a footer anywhere on its raw disk.
        reason = "it may be the footer of a fixed VHD whose growth was interrupted; if so, give the format: vhd"
        raise FormatError("footer", footer.current_size, reason, _SECTION)
    rest = storage.size() - footer.current_size - SIZE
    message = (
        f"growing the fixed disk was interrupted: its footer is followed by {rest} bytes of zeros; the zeros are "
        "removed"
    )
    size = footer.current_size + SIZE
    return Fix("vhd-footer-none", "footer", footer.current_size, message, lambda storage: storage.truncate(size))
