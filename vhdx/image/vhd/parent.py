"""The record of the parent in an open VHD: read, replaced, or done away with."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vhdx.errors import Error, FormatError
from vhdx.extents import Range, bit_runs
from vhdx.format import vhd_locator
from vhdx.format.vhd_bat import SECTOR, VhdLayout
from vhdx.format.vhd_footer import VhdType
from vhdx.format.vhd_header import NO_PARENT, DynamicHeader
from vhdx.format.vhd_locator import ABSOLUTE, KEYS, LONGEST, PARENT_NAME, RELATIVE, LocatorPlace
from vhdx.image.base import ParentLink
from vhdx.image.vhd.file import VhdFile
from vhdx.image.vhd.restating import restate
from vhdx.image.vhd.table import VhdTable
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.transfer import preads

_SECTION = "VHD 1.0 parent locator"


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """How a parent is recorded: the name for the header, and the data of each locator by its code."""

    name: bytes
    data: dict[bytes, bytes]

    def header(self, header: DynamicHeader, link: ParentLink, places: dict[bytes, Range]) -> DynamicHeader:
        """*header* with this record; *places* is where each locator's data has its space."""
        entries = [
            LocatorPlace(code, places[code].length, len(data), places[code].offset) for code, data in self.data.items()
        ]
        return replace(
            header,
            parent_id=link.linkage,
            parent_timestamp=0,
            parent_name=self.name,
            locators=vhd_locator.build_entries(entries),
        )


def read_link(storage: Storage, header: DynamicHeader, size: int) -> tuple[ParentLink, list[str]]:
    """The parent that the header of a file of *size* bytes records, and what of it could not be read."""
    paths: dict[str, str] = {}
    warnings = []
    entries = [entry for entry in header.entries if entry.code in KEYS]
    sound = [entry for entry in entries if _is_inside(entry, size)]
    contents = preads(storage, [(entry.data_offset, entry.data_length) for entry in sound]) if sound else []
    texts = {
        entry.data_offset: vhd_locator.decode_path(data) for entry, data in zip(sound, contents, strict=True)
    }
    for entry in entries:
        path = texts.get(entry.data_offset)
        if path is None:
            warnings.append(f"the parent locator {entry.code.decode()} holds no path and was left aside")
        else:
            paths.setdefault(KEYS[entry.code], path)
    name = vhd_locator.decode_name(header.parent_name)
    if name is not None:
        paths[PARENT_NAME] = name
    return ParentLink(header.parent_id, None, paths), warnings


def _is_inside(entry: LocatorPlace, size: int) -> bool:
    return entry.data_length <= LONGEST and entry.data_offset + entry.data_length <= size


def record(link: ParentLink) -> LinkRecord:
    """How *link* is recorded. Raises FormatError for what cannot be."""
    if link.linkage2 is not None:
        raise FormatError("dynamic header", None, "it records one id of the parent, not two", _SECTION)
    data = {code: vhd_locator.encode_path(link.paths[key]) for code, key in KEYS.items() if key in link.paths}
    paths = [link.paths[key] for key in (PARENT_NAME, KEYS[RELATIVE], KEYS[ABSOLUTE]) if key in link.paths]
    if not paths:
        raise FormatError("parent locator", None, "there is no path to the parent to be recorded", _SECTION)
    name = paths[0]
    if PARENT_NAME not in link.paths:
        name = name.replace("/", "\\").rsplit("\\", 1)[-1]
    return LinkRecord(vhd_locator.encode_name(name), data)


def recorded(link: ParentLink, header: DynamicHeader) -> ParentLink:
    """*link* as it will be read from *header*, in which the name stands too."""
    name = vhd_locator.decode_name(header.parent_name)
    paths = {key: link.paths[key] for key in (KEYS[ABSOLUTE], KEYS[RELATIVE]) if key in link.paths}
    return ParentLink(link.linkage, None, paths if name is None else {**paths, PARENT_NAME: name})


def set_parent(file: VhdFile, link: ParentLink) -> None:
    """Record another parent; the id of this image stays. Durable on return, and never half done.

    Raises Error when the image has no parent, FormatError for a path that cannot be recorded, OutOfSpace.
    """
    if not file.layout.has_parent:
        raise Error(f"{file.storage.name}: not a differencing image, so it has no parent to record")
    wanted = record(link)
    space = file.touch()
    file.commit()
    places: dict[bytes, Range] = {}
    for code, data in wanted.data.items():
        room = -(-len(data) // SECTOR) * SECTOR
        places[code] = Range(file.take_bytes(room).offset, room)
    old = file.header.locator_places
    with file.life.poisoning():
        file.storage.write(
            [(places[code].offset, data.ljust(places[code].length, b"\0")) for code, data in wanted.data.items()]
        )
    restate(file, wanted.header(file.header, link, places), file.footer)
    for offset in old:
        space.drop(offset)
    file.link = recorded(link, file.header)


def detach(file: VhdFile) -> None:
    """Do away with the parent; what the image does not hold reads as zeros from then on. Durable on return.

    A stop leaves an image that has its parent or has none. Only then do the bitmaps say that all of a block is here:
    in an image without a parent nothing is hidden by them.
    """
    if not file.layout.has_parent:
        return
    space = file.touch()
    file.commit()
    with file.life.poisoning():
        for block, place, holes in _partial(file):
            data = place + file.layout.bitmap_size
            transfer.zero(file.storage, [(data + hole.offset, hole.length) for hole in holes])
            file.bitmaps.forget(block)
        blank = replace(
            file.header,
            parent_id=NO_PARENT,
            parent_timestamp=0,
            parent_name=bytes(vhd_locator.NAME_SIZE),
            locators=bytes(vhd_locator.TABLE_SIZE),
        )
        old = file.header.locator_places
        restate(file, blank, replace(file.footer, disk_type=VhdType.DYNAMIC))
        for offset in old:
            space.drop(offset)
        layout = VhdLayout(file.layout.virtual_size, file.layout.block_size, has_parent=False)
        file.table = VhdTable(file.storage, layout, file.table.offset, file.fixed_places)
        file.link = None
        for block, place in _numbers(file):
            file.make_room()
            file.bitmaps.fill(block, place)
        file.commit()


def _numbers(file: VhdFile) -> Iterator[tuple[int, int]]:
    """Blocks that have a place, and the place."""
    block, end = 0, file.layout.blocks
    while block < end:
        block += file.table.unused_run(block, end)
        if block < end:
            place = file.table.place(block)
            assert place is not None
            yield block, place
            block += 1


def _partial(file: VhdFile) -> Iterator[tuple[int, int, list[Range]]]:
    """Blocks of which something is not here: number, place, and what is not here, in bytes of the block."""
    for block, place in _numbers(file):
        runs = bit_runs(file.bitmaps.bits(block, place), 0, file.layout.sectors_per_block)
        holes = [Range(first * SECTOR, count * SECTOR) for first, count, here in runs if not here]
        if holes:
            yield block, place, holes
