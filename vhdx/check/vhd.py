"""Checks of a VHD: footers, dynamic header, block table and blocks (VHD 1.0)."""

from collections.abc import Generator, Iterator
from typing import NamedTuple

from vhdx.check.finding import Finding, found
from vhdx.check.vhd_batmap import MAKER
from vhdx.check.vhd_blocks import check_table
from vhdx.check.vhd_header import check_header
from vhdx.check.vhd_origin import check_origin
from vhdx.extents import Range
from vhdx.format import vhd_checksum
from vhdx.format.vhd_bat import SECTOR
from vhdx.format.vhd_footer import COOKIE, FOOTER, LARGEST_DISK, NO_OFFSET, OLD_SIZE, POISON, SIZE, Footer, VhdType
from vhdx.image.vhd.lost import why_start_is_guests
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_MIB = 1 << 20
_CHECKSUM = 64
_FEATURES = (2, 3)
_HIDDEN = b"\1".ljust(427, b"\0")


class _Copy(NamedTuple):
    data: bytes
    offset: int
    sealed: bool


def check_vhd(storage: Storage, *, deep: bool, now: float) -> Iterator[Finding]:
    """All findings for a VHD; *deep* reads every block, *now* is in seconds since 1970-01-01 UTC."""
    size = storage.size()
    chosen = yield from _footers(storage, size)
    if chosen is None:
        return
    footer, offset, end = chosen
    usable = yield from _values(footer, offset)
    yield from check_origin(footer, offset, now)
    if not usable:
        return
    if not footer.is_dynamic:
        yield from _fixed(footer, offset, size, end)
        return
    disk = yield from check_header(storage, footer, offset, end)
    if disk is not None:
        yield from check_table(storage, disk, deep=deep)


class _Chosen(NamedTuple):
    footer: Footer
    offset: int
    end: int  # offset of the footer at the end, or the file size


def _footers(storage: Storage, size: int) -> Generator[Finding, None, _Chosen | None]:
    last, first = _at_end(storage, size), _read(storage, 0, min(size, SIZE))
    guests = _start_is_guests(storage, last, first)
    if guests:
        first = None
    copies = [copy for copy in (last, first) if copy is not None and copy.data.startswith((COOKIE, POISON))]
    poisoned = next((copy for copy in copies if copy.data.startswith(POISON)), None)
    if poisoned is not None:
        message = "vhd-util marked the file unsafe during an interrupted change; use vhd-util to revert it"
        yield found("vhd-footer-poisoned", poisoned.offset, message)
        return None
    if not copies:
        reason = guests or "there is no footer at the end or at the start of the file"
        yield found("vhd-footer-none", None, reason)
        return None
    best = next((copy for copy in copies if copy.sealed), copies[0])
    if not best.sealed:
        message = "its checksum is wrong, so many programs reject the file; it may have been edited by hand"
        yield found("vhd-footer-checksum", best.offset, message)
    footer = FOOTER.parse(best.data, best.offset)
    if last is None:
        message = "there is no footer at the end; its copy at the start is used, and opening for writing repairs it"
        yield found("vhd-footer-end-missing", size, message)
    elif best is not last and not last.sealed:
        yield found("vhd-footer-other-checksum", last.offset, "its checksum is wrong; the copy at the start is used")
    if last is not None and size - last.offset == OLD_SIZE:
        message = "it has 511 bytes: written by a program from before 2004, or the last byte of the file is missing"
        yield found("vhd-footer-old", last.offset, message)
    if footer.is_dynamic and last is not None:
        yield from _copy(first, last)
    return _Chosen(footer, best.offset, size if last is None else last.offset)


def _start_is_guests(storage: Storage, last: _Copy | None, first: _Copy | None) -> str:
    """Why the copy at the start of the file is ignored, or ""."""
    if first is None or not first.data.startswith((COOKIE, POISON)):
        return ""
    if last is not None and last.data.startswith(COOKIE) and last.sealed:
        footer = FOOTER.parse(last.data, last.offset)
        return "" if footer.is_dynamic else "the disk is fixed, so the start of the file is guest data"
    return why_start_is_guests(storage)


def _copy(first: _Copy | None, last: _Copy) -> Iterator[Finding]:
    if first is None or not first.data.startswith(COOKIE):
        yield found("vhd-footer-copy-missing", 0, "there is no copy of the footer at the start of the file")
    elif last.sealed and not first.sealed:
        yield found("vhd-footer-other-checksum", 0, "its checksum is wrong; the footer at the end is used")
    elif first.data != last.data:
        yield found("vhd-footers-differ", 0, "the copy at the start differs from the footer at the end")


def _at_end(storage: Storage, size: int) -> _Copy | None:
    for length in (SIZE, OLD_SIZE):
        if size >= length:
            copy = _read(storage, size - length, length)
            if copy is not None and copy.data.startswith((COOKIE, POISON)):
                return copy
    return None


def _read(storage: Storage, offset: int, length: int) -> _Copy | None:
    if length < OLD_SIZE:
        return None
    data = pread(storage, offset, length).ljust(SIZE, b"\0")
    return _Copy(data, offset, vhd_checksum.is_sealed(data, field=_CHECKSUM))


def _values(footer: Footer, at: int) -> Generator[Finding, None, bool]:
    """Whether the footer is valid enough to interpret the rest."""
    usable = True
    if footer.version >> 16 != 1:
        yield found("vhd-footer-version", at + 12, f"version {footer.version:#x} of the format is not supported")
        usable = False
    elif footer.version & 0xFFFF:
        message = f"the version is {footer.version >> 16}.{footer.version & 0xFFFF}, but only 1.0 is defined"
        yield found("vhd-footer-minor-version", at + 12, message)
    if footer.disk_type not in tuple(VhdType):
        yield found("vhd-footer-type", at + 60, f"disk type {footer.disk_type} is not supported")
        usable = False
    if not footer.current_size or footer.current_size % SECTOR:
        message = f"invalid disk size {footer.current_size}: must be a positive multiple of {SECTOR}"
        yield found("vhd-disk-size", at + 48, message)
        usable = False
    elif footer.current_size > LARGEST_DISK:
        message = f"the disk size of {footer.current_size} bytes exceeds the {LARGEST_DISK} that Windows accepts"
        yield found("vhd-disk-too-large", at + 48, message)
    if not footer.original_size or footer.original_size % SECTOR:
        message = f"the original size of {footer.original_size} bytes is 0 or not a multiple of the sector size"
        yield found("vhd-original-size", at + 40, message)
    if footer.features not in _FEATURES:
        yield found("vhd-footer-features", at + 8, f"invalid features {footer.features:#x}: must be 0x2 or 0x3")
    if footer.reserved == _HIDDEN and footer.creator.startswith(MAKER):
        yield found("vhd-hidden", at + 85, "vhd-util marked the image as hidden: only its children should be used")
    elif any(footer.reserved):
        yield found("vhd-footer-reserved", at + 85, "reserved bytes are not zero")
    if footer.saved_state:
        message = "a virtual machine was suspended with the disk; resume and shut it down before modifying the disk"
        yield found("vhd-saved-state", at + 84, message)
    if not footer.unique_id.int:
        yield found("vhd-id-zero", at + 68, "the unique id is zero, so a child cannot verify its parent")
    return usable


def _fixed(footer: Footer, at: int, size: int, end: int) -> Iterator[Finding]:
    if footer.data_offset not in (NO_OFFSET, 0xFFFFFFFF):
        message = f"the footer of a fixed disk gives an offset of a dynamic header, {footer.data_offset}"
        yield found("vhd-fixed-data-offset", at + 16, message)
    place = Range(0, footer.current_size)
    if place.end > end:
        message = f"the disk has {place.end} bytes, but the file only {end} before the footer; the file is truncated"
        yield found("vhd-fixed-file-short", None, message)
    elif place.end < end:
        yield found("vhd-fixed-file-long", None, f"there are {end - place.end} bytes between the disk and the footer")
    if footer.current_size % _MIB:
        message = f"the disk size is {footer.current_size} bytes; Azure requires a multiple of 1 MiB"
        yield found("vhd-not-azure", None, message)
    elif size != footer.current_size + SIZE:
        message = f"the file has {size} bytes; Azure requires {footer.current_size} + {SIZE} (disk + footer)"
        yield found("vhd-not-azure", None, message)
