"""Opening a VHD: which footer counts, and what it leads to.

Reading never writes. A file to be written has its footers made sound and equal before anything else happens.
"""

from dataclasses import dataclass, field

from vhdx.errors import Error, FormatError, UnsupportedFeature
from vhdx.format import vhd_bat, vhd_footer, vhd_header
from vhdx.format.vhd_bat import VhdLayout
from vhdx.format.vhd_footer import COOKIE, OLD_SIZE, POISON, SIZE, Footer, VhdType
from vhdx.format.vhd_header import HEADER
from vhdx.image.base import Admit, DiskType, NewId
from vhdx.image.blocks import BlockImage
from vhdx.image.flat import FlatImage
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.marks import VHD_MARKS, Ends, ends
from vhdx.image.naming import naming
from vhdx.image.vhd.bitmaps import Bitmaps
from vhdx.image.vhd.blocks import VhdBlocks, vhd_image
from vhdx.image.vhd.describing import describe
from vhdx.image.vhd.file import VhdCommitOrder, VhdFile, fixed_places
from vhdx.image.vhd.fixed import fixed_vhd
from vhdx.image.vhd.footers import Footers
from vhdx.image.vhd.lost import why_start_is_guests
from vhdx.image.vhd.parent import read_link
from vhdx.image.vhd.table import VhdTable
from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_SECTION = "VHD 1.0 footer"


@dataclass(slots=True)
class _Found:
    """The footer that counts, where a sound one is at the end, and what is wrong.

    *hindrances* are warnings that forbid writing.
    """

    footer: Footer
    end: int | None  # None when there is none of full length
    length: int
    copied: bool
    warnings: list[str] = field(default_factory=list)
    hindrances: list[str] = field(default_factory=list)


def open_vhd(
    storage: Storage,
    *,
    new_id: NewId,  # noqa: ARG001  as every format is opened
    order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE,
    admit: Admit | None = None,
    found: Ends | None = None,
) -> BlockImage | FlatImage:
    """The image in *storage*; writable exactly when the storage is. The image owns the storage from here on.

    *admit* is told what the image says of itself before its footers are made sound; what it raises is raised. *found*
    is what was read of the file already.

    Raises FormatError, UnsupportedFeature, Error for a file that can be read but must not be written before it is
    repaired; the storage is then closed.
    """
    try:
        with naming(storage.name):
            return _open(storage, order, admit, found or ends(storage))
    except BaseException:
        storage.close()
        raise


def _open(storage: Storage, order: VhdCommitOrder, admit: Admit | None, at: Ends) -> BlockImage | FlatImage:
    found = _find_footer(storage, at)
    footer = found.footer
    if vhd_footer.has_old_bitmaps(footer):
        reason = "its sector bitmaps are those of tapdisk 0.1, which are not known; let blktap's vhd-update convert it"
        raise UnsupportedFeature(f"footer: {reason}")
    warning = vhd_footer.size_warning(footer)
    if warning:
        found.warnings.append(warning)
    if footer.saved_state:
        found.hindrances.append("the disk belongs to a virtual machine whose state was saved")
    if not footer.is_dynamic:
        if footer.current_size > at.size - found.length:
            reason = f"the disk of {footer.current_size} bytes does not fit into the file of {at.size}"
            raise FormatError("footer", at.size - found.length, reason, _SECTION)
        warnings = tuple(found.warnings + found.hindrances)
        if admit is not None:
            admit(describe(footer, DiskType.FIXED, warnings=warnings))
        _refuse_writing(storage, found)
        return fixed_vhd(storage, footer, warnings=warnings)
    file = _assemble(storage, at.size, found, order)
    if admit is not None:
        admit(VhdBlocks(file).info)
    _refuse_writing(storage, found)
    if storage.writable and not file.footers.settled:
        file.touch()
    return vhd_image(file)


def _refuse_writing(storage: Storage, found: _Found) -> None:
    if storage.writable and found.hindrances:
        raise Error(f"{storage.name}: {'; '.join(found.hindrances)}: repair it first, it can only be read as it is")


def _find_footer(storage: Storage, at: Ends) -> _Found:
    size, start, tail = at.size, at.start, at.tail
    if size < SIZE:
        raise FormatError("file", None, f"{size} bytes are too few for a VHD", _SECTION)
    length = SIZE if tail.startswith(VHD_MARKS) or not tail[SIZE - OLD_SIZE :].startswith(VHD_MARKS) else OLD_SIZE
    reason = "no footer is there"
    end: vhd_footer.FooterReading | None = None
    if tail[SIZE - length :].startswith(VHD_MARKS):
        try:
            end = vhd_footer.parse(tail[SIZE - length :], size - length)
        except FormatError as error:
            if tail[SIZE - length :].startswith(POISON) or not start.startswith(COOKIE):
                raise
            reason = error.reason
    if end is not None and end.sealed:
        return _counting(end.footer, start, length, size)
    # What stands at the start of a fixed disk is the guest's, whatever became of the footer.
    copy = None if end is not None and not end.footer.is_dynamic else _copy(start)
    if copy is not None and end is None and (why := why_start_is_guests(storage)):
        raise FormatError("footer", size - SIZE, why, _SECTION)
    if copy is not None:
        found = _Found(copy, end=None, length=0, copied=True)
        found.warnings.append(
            f"the footer at the end of the file is missing or damaged ({'its checksum is wrong' if end else reason}),"
            " its copy at the start was used"
        )
        return found
    if end is not None:
        found = _counting(end.footer, start, length, size)
        found.warnings.clear()
        found.hindrances.append("the checksum of the footer is wrong")
        return found
    raise FormatError("footer", size - SIZE, f"{reason}, and no copy of it at the start of the file", _SECTION)


def _counting(footer: Footer, start: bytes, length: int, size: int) -> _Found:
    """The footer at the end counts."""
    if footer.is_dynamic and start.startswith(POISON):
        vhd_footer.parse(start, 0)  # raises
    copied = start == vhd_footer.build(footer)
    found = _Found(footer, end=size - SIZE if length == SIZE else None, length=length, copied=copied)
    if footer.is_dynamic and not copied:
        found.warnings.append("the copy of the footer at the start of the file is another, the one at the end was used")
    return found


def _copy(start: bytes) -> Footer | None:
    """The footer of a disk with blocks at the start of the file, if it is sound."""
    if start.startswith(POISON):
        vhd_footer.parse(start, 0)  # raises
    try:
        found = vhd_footer.parse(start, 0)
    except Error:
        return None
    return found.footer if found.sealed and found.footer.is_dynamic else None


def _assemble(storage: Storage, size: int, found: _Found, order: VhdCommitOrder) -> VhdFile:
    footer = found.footer
    if footer.data_offset + HEADER.size > size:
        reason = f"it extends beyond end of file at {size}"
        raise FormatError(HEADER.structure, footer.data_offset, reason, HEADER.section)
    header, sealed = vhd_header.parse(pread(storage, footer.data_offset, HEADER.size), footer.data_offset)
    if not sealed:
        found.hindrances.append("the checksum of the dynamic header is wrong")
    has_parent = footer.disk_type == VhdType.DIFFERENCING
    layout = VhdLayout(footer.current_size, header.block_size, has_parent)
    taken = fixed_places(footer.data_offset)
    vhd_bat.verify_table(
        header.table_offset, layout, max_entries=header.max_entries, file_size=size, taken=taken
    )
    link = None
    if has_parent:
        link, warnings = read_link(storage, header, size)
        found.warnings += warnings
    return VhdFile(
        storage=storage,
        latches=Latches(LifeCycle(storage), storage.name),
        footers=Footers(storage, footer, end=found.end, copied=found.copied),
        header=header,
        table=VhdTable(storage, layout, header.table_offset, taken),
        bitmaps=Bitmaps(storage, layout),
        link=link,
        warnings=tuple(found.warnings + found.hindrances),
        order=order,
    )


