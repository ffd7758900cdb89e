"""Locates the structures of a VHD from its footers and header, despite damage."""

from functools import cached_property
from typing import NamedTuple

from vhdx.dump.reading import read_some
from vhdx.extents import Range
from vhdx.format import vhd_checksum
from vhdx.format.vhd_bat import ENTRY_SIZE, SECTOR, VhdLayout
from vhdx.format.vhd_footer import COOKIE, FOOTER, OLD_SIZE, POISON, SIZE, Footer, VhdType
from vhdx.format.vhd_header import HEADER, HOME, DynamicHeader, block_size_fault
from vhdx.image.vhd.lost import why_start_is_guests
from vhdx.storage.base import Storage

FOOTER_CHECKSUM, HEADER_CHECKSUM = 64, 36
MARKS = (COOKIE, POISON)


class Copy(NamedTuple):
    """The bytes where a footer should be; *likely*: recognised as a footer without its cookie."""

    offset: int
    data: bytes
    likely: bool
    sealed: bool

    @property
    def footer(self) -> Footer | None:
        """The footer, regardless of its cookie."""
        whole = COOKIE + self.data[len(COOKIE) :].ljust(SIZE - len(COOKIE), b"\0")
        return FOOTER.parse(whole) if self.likely else None


class VhdDump:
    """Reads structures on demand."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.size = storage.size()

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range, cut at end of file."""
        return read_some(self.storage, offset, length, self.size)

    def _copy(self, offset: int, length: int) -> Copy:
        data = self.read(offset, length)
        whole = data.ljust(SIZE, b"\0")
        sealed = bool(data) and any(data) and vhd_checksum.is_sealed(whole, field=FOOTER_CHECKSUM)
        return Copy(offset, data, len(data) >= OLD_SIZE and (data.startswith(MARKS) or _likely(whole)), sealed)

    @cached_property
    def end(self) -> Copy:
        """The footer at the end."""
        copy = self._copy(max(self.size - SIZE, 0), SIZE)
        if not copy.data.startswith(MARKS) and self.size >= OLD_SIZE:
            old = self._copy(self.size - OLD_SIZE, OLD_SIZE)
            if old.data.startswith(MARKS):
                return old
        return copy

    @cached_property
    def start(self) -> Copy:
        """The copy of the footer at the start."""
        return self._copy(0, SIZE)

    @cached_property
    def chosen(self) -> Copy | None:
        """The footer in use: a valid one is preferred to one that is only recognisable."""
        guests = self.start.likely and not self.end.sealed and bool(why_start_is_guests(self.storage))
        copies = [self.end] if guests else [self.end, self.start]
        marked = [copy for copy in copies if copy.data.startswith(MARKS) and copy.likely]
        sealed = [copy for copy in marked if copy.sealed]
        return next(iter([*sealed, *marked, *(copy for copy in copies if copy.likely)]), None)

    @property
    def footer(self) -> Footer | None:
        """The fields of the footer in use."""
        return None if self.chosen is None else self.chosen.footer

    @cached_property
    def header_offset(self) -> int | None:
        """File offset of the dynamic header; if no footer gives it, the usual offset if a header is there."""
        footer = self.footer
        if self.is_fixed:
            return None
        if footer is not None and SIZE <= footer.data_offset < self.size:
            return footer.data_offset
        return HOME if self.read(HOME, 8) == b"cxsparse" else None

    @cached_property
    def header_data(self) -> bytes:
        """The bytes of the dynamic header."""
        return b"" if self.header_offset is None else self.read(self.header_offset, HEADER.size)

    @cached_property
    def header(self) -> DynamicHeader | None:
        """Its fields, regardless of its cookie; None if truncated."""
        data = self.header_data
        return HEADER.parse(b"cxsparse" + data[8:]) if len(data) == HEADER.size else None

    @property
    def is_fixed(self) -> bool:
        """Whether the image is fixed: without dynamic header and blocks."""
        return self.footer is not None and self.footer.disk_type == VhdType.FIXED

    @property
    def has_parent(self) -> bool:
        return self.footer is not None and self.footer.disk_type == VhdType.DIFFERENCING

    @property
    def layout(self) -> VhdLayout | None:
        """The block layout; None if footer and header do not give it."""
        footer, header = self.footer, self.header
        if footer is None or header is None or not footer.current_size or block_size_fault(header.block_size):
            return None
        return VhdLayout(footer.current_size, header.block_size, self.has_parent)

    @property
    def why_no_header(self) -> str:
        """Why there is no dynamic header."""
        footer = self.footer
        if footer is None:
            return "not read: no footer gives its offset, and it is not at the usual offset"
        if self.is_fixed:
            return "none: the disk is fixed"
        return f"not read: the recorded offset is {footer.data_offset}, the file size {self.size}"

    @property
    def table(self) -> Range | None:
        """The file range of the block table, cut at end of file."""
        header, layout = self.header, self.layout
        if header is None or header.table_offset >= self.size:
            return None
        entries = header.max_entries if layout is None else min(layout.blocks, header.max_entries)
        length = min(entries * ENTRY_SIZE, self.size - header.table_offset) // ENTRY_SIZE * ENTRY_SIZE
        return Range(header.table_offset, length)


def _likely(data: bytes) -> bool:
    """Whether this is a footer with a damaged cookie."""
    footer = FOOTER.parse(COOKIE + data[len(COOKIE) :])
    signs = (footer.features in (2, 3), footer.version >> 16 == 1, footer.disk_type in tuple(VhdType))
    return all(signs) and footer.current_size > 0 and not footer.current_size % SECTOR
