"""Making a VHD, laid out as Windows lays it out.

The file is not an image until its maker has closed it and given it its name; a crash leaves a temporary that nothing
takes for a disk.
"""

from uuid import UUID

from vhdx.errors import Error
from vhdx.extents import Range
from vhdx.format import vhd_footer, vhd_header
from vhdx.format.vhd_bat import VhdLayout
from vhdx.format.vhd_footer import LARGEST_AZURE, LARGEST_DISK, NO_OFFSET, SIZE, Footer, VhdType
from vhdx.format.vhd_header import HEADER, HOME, DynamicHeader
from vhdx.format.vhd_locator import ABSOLUTE, RELATIVE
from vhdx.image.base import CreateOptions, NewId, ParentLink
from vhdx.image.blocks import BlockImage
from vhdx.image.flat import FlatImage
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.vhd.bitmaps import Bitmaps
from vhdx.image.vhd.blocks import vhd_image
from vhdx.image.vhd.file import VhdFile, fixed_places
from vhdx.image.vhd.fixed import fixed_vhd
from vhdx.image.vhd.footers import Footers
from vhdx.image.vhd.parent import LinkRecord, record, recorded
from vhdx.image.vhd.resizing import size_fault
from vhdx.image.vhd.space import PAGE
from vhdx.image.vhd.table import VhdTable
from vhdx.storage import transfer
from vhdx.storage.base import Storage

MIB = 1 << 20
_BLOCK = 2 * MIB
_AZURE_LEAST = 20
"""MiB of the smallest disk that Azure takes."""
_TABLE = HOME + HEADER.size
_FIRST_LOCATOR = 4096
_ROOMS = {ABSOLUTE: 4096, RELATIVE: 65536}
"""The space that Windows sets aside for a path."""


def create_vhd(
    storage: Storage,
    *,
    size: int,
    disk_id: UUID,
    new_id: NewId,  # noqa: ARG001  as every format is made
    options: CreateOptions | None = None,
    parent: ParentLink | None = None,
    now: float | None = None,
) -> BlockImage | FlatImage:
    """An image in an empty *storage*, ready to be filled; closing it makes it complete and durable.

    *now* is the moment to record, in seconds since 1970-01-01 UTC; None records the start of the format's calendar.
    Raises Error for a shape that the format does not allow, OutOfSpace.
    """
    options = options or CreateOptions()
    fixed = options.fixed or options.azure
    if options.azure:
        size = azure_size(size)
    reason = fault(size, options, has_parent=parent is not None)
    if reason:
        raise Error(f"{storage.name}: {reason}")
    stamp = 0 if now is None else vhd_footer.timestamp(now)
    if fixed:
        footer = vhd_footer.new_footer(VhdType.FIXED, size, disk_id, data_offset=NO_OFFSET, stamp=stamp)
        transfer.reserve(storage, [(0, size)])
        storage.write([(size, vhd_footer.build(footer))])
        return fixed_vhd(storage, footer, under_construction=True)
    kind = VhdType.DYNAMIC if parent is None else VhdType.DIFFERENCING
    footer = vhd_footer.new_footer(kind, size, disk_id, data_offset=HOME, stamp=stamp)
    return _lay_out(storage, footer, VhdLayout(size, options.block_size or _BLOCK, parent is not None), parent)


def azure_size(size: int) -> int:
    """The size that a disk of *size* bytes gets for Azure, which takes whole MiB, and 20 of them at least."""
    return max(-(-size // MIB), _AZURE_LEAST) * MIB if size > 0 else size


def fault(size: int, options: CreateOptions, *, has_parent: bool) -> str:
    """Why there cannot be such an image; empty when there can."""
    block_size = _BLOCK if options.block_size is None else options.block_size
    if options.azure and options.logical_sector_size not in (None, 512):
        return f"Azure takes disks with sectors of 512 bytes, not of {options.logical_sector_size}"
    if options.azure and size > LARGEST_AZURE:
        return f"a disk of {size} bytes is larger than the {LARGEST_AZURE} bytes that Azure takes"
    if options.logical_sector_size not in (None, 512):
        return f"a VHD has sectors of 512 bytes, not of {options.logical_sector_size}; use VHDX"
    if options.fixed or options.azure:
        largest = LARGEST_AZURE if options.azure else LARGEST_DISK
        return size_fault(size, None, largest=largest) or ("a fixed image cannot have a parent" if has_parent else "")
    return vhd_header.block_size_fault(block_size) or size_fault(size, block_size)


def _lay_out(storage: Storage, footer: Footer, layout: VhdLayout, parent: ParentLink | None) -> BlockImage:
    header, pieces = _plan(layout, parent)
    used_end = max(offset + len(data) for offset, data in pieces)
    end = -(-(used_end + SIZE) // PAGE) * PAGE - SIZE
    storage.truncate(end + SIZE)
    storage.write([(HOME, vhd_header.build(header)), *pieces])
    file = VhdFile(
        storage=storage,
        latches=Latches(LifeCycle(storage), storage.name),
        footers=Footers(storage, footer, end=end, copied=True, building=True),
        header=header,
        table=VhdTable(storage, layout, header.table_offset, fixed_places(HOME)),
        bitmaps=Bitmaps(storage, layout),
        link=None if parent is None else recorded(parent, header),
        building=True,
    )
    file.touch()
    return vhd_image(file)


def _plan(layout: VhdLayout, parent: ParentLink | None) -> tuple[DynamicHeader, list[tuple[int, bytes]]]:
    """The dynamic header, and the other structures by their place."""
    table = b"\xff" * layout.table_size
    if parent is None:
        header = vhd_header.new_header(
            table_offset=_TABLE, max_entries=layout.blocks, block_size=layout.block_size
        )
        return header, [(_TABLE, table)]
    wanted = record(parent)
    places, table_offset = _places(wanted, layout.table_size)
    header = vhd_header.new_header(
        table_offset=table_offset, max_entries=layout.blocks, block_size=layout.block_size
    )
    data = [(places[code].offset, text.ljust(places[code].length, b"\0")) for code, text in wanted.data.items()]
    return wanted.header(header, parent, places), [*data, (table_offset, table)]


def _places(wanted: LinkRecord, table_size: int) -> tuple[dict[bytes, Range], int]:
    """Where Windows has them: the absolute path, the table, the relative path, each on a page of its own."""
    places: dict[bytes, Range] = {}
    at = _FIRST_LOCATOR
    if ABSOLUTE in wanted.data:
        places[ABSOLUTE] = Range(at, _room(ABSOLUTE, wanted))
    table_offset = at + _room(ABSOLUTE, wanted)
    at = -(-(table_offset + table_size) // PAGE) * PAGE
    if RELATIVE in wanted.data:
        places[RELATIVE] = Range(at, _room(RELATIVE, wanted))
    return places, table_offset


def _room(code: bytes, wanted: LinkRecord) -> int:
    return max(_ROOMS[code], -(-len(wanted.data.get(code, b"")) // PAGE) * PAGE)
