"""Opening a VHDX: every structure verified, a dirty log replayed on a view first and on the file only when it may be.

Reading never writes: a log that holds changes is shown through an overlay, the file stays untouched.
"""

from collections.abc import Iterator

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import header, identifier, log, metadata, region
from vhdx.format.bat import BatLayout
from vhdx.format.header import Current
from vhdx.format.log import Entry
from vhdx.format.record import NO_GUID
from vhdx.format.region import RegionEntry
from vhdx.image.base import Admit, NewId
from vhdx.image.blocks import BlockImage
from vhdx.image.latches import Latches
from vhdx.image.lifecycle import LifeCycle, State
from vhdx.image.marks import Ends
from vhdx.image.naming import naming
from vhdx.image.vhdx.blocks import VhdxBlocks, vhdx_image
from vhdx.image.vhdx.file import VhdxFile, survey
from vhdx.image.vhdx.headers import Headers
from vhdx.image.vhdx.items import read_items
from vhdx.image.vhdx.journal import CommitOrder, LogJournal
from vhdx.image.vhdx.pages import Pages
from vhdx.image.vhdx.parent import read_link
from vhdx.image.vhdx.space import SpaceMap
from vhdx.image.vhdx.table import BlockTable
from vhdx.logs import debug
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.overlay import OverlayStorage
from vhdx.storage.stored import StoredBytes
from vhdx.storage.transfer import pread, preads

_LONGEST_LOG = 128 << 20
_SLACK = 1 << 30
"""How far behind the last thing it needs a log may place the end of the file."""


def open_vhdx(
    storage: Storage,
    *,
    new_id: NewId,
    order: CommitOrder = CommitOrder.PAYLOAD_LOG_PAGES,
    admit: Admit | None = None,
    found: Ends | None = None,
) -> BlockImage:
    """The image in *storage*; writable exactly when the storage is. The image owns the storage from here on.

    A storage opened for writing has its log replayed; *admit* is told what the image says of itself before, and what
    it raises is raised. *found* is what was read of the file already. Raises FormatError, UnsupportedFeature; the
    storage is then closed.
    """
    try:
        with naming(storage.name):
            return _open(storage, new_id, order, admit, found)
    except BaseException:
        storage.close()
        raise


def _open(
    storage: Storage, new_id: NewId, order: CommitOrder, admit: Admit | None, found: Ends | None
) -> BlockImage:
    size = storage.size() if found is None else found.size
    if size < header.AREA:
        raise FormatError("file", None, f"{size} bytes are too few for a VHDX, it was cut off or is something else")
    identity, copies, table = _front(storage, found)
    creator = identifier.IDENTIFIER.parse(identity, 0).creator_text
    current = header.current(copies)
    entries = _log_entries(storage, current, size)
    headers = Headers(storage, current, new_id)
    if entries:
        view = _as_replayed(storage, entries, size)
        file = _assemble(view, view.size(), _regions(view), headers, creator=creator, new_id=new_id)
    else:
        file = _assemble(storage, size, _regions(storage, table), headers, creator=creator, new_id=new_id)
    if admit is not None:
        admit(VhdxBlocks(file, log_entries=len(entries)).info)
    if storage.writable:
        if entries:
            debug(__name__, "%s: replaying %d log entries", storage.name, len(entries))
            space = _replay(storage, file, entries)
            file = _assemble(storage, storage.size(), _regions(storage), headers, creator=creator, new_id=new_id)
            # Replaying is a change, so closing cuts off what the log had made free at the end.
            file.life.enter(State.TOUCHED)
            file.space = space
            entries = []
        file.journal = LogJournal(storage, file.headers, new_id, order)
        if file.journal.most_pages < 1:
            raise UnsupportedFeature("the file has no log to write through")
    return vhdx_image(file, log_entries=len(entries))


def _front(storage: Storage, found: Ends | None) -> tuple[bytes, list[bytes], bytes]:
    """What lies at the front of every file, read in one call: identifier, both headers, the first region table."""
    wanted = [(offset, header.HEADER.size) for offset in header.OFFSETS] + [(region.OFFSETS[0], region.TABLE_SIZE)]
    if found is not None:
        first, second, table = preads(storage, wanted)
        return found.head, [first, second], table
    identity, first, second, table = preads(storage, [(0, identifier.IDENTIFIER.size), *wanted])
    return identity, [first, second], table


def _regions(view: Storage, first: bytes | None = None) -> list[RegionEntry]:
    """The entries of the region table that counts; *first* is the first copy where it was read already.

    The second copy is read only where the first is not valid.
    """

    def copies() -> Iterator[bytes]:
        yield pread(view, region.OFFSETS[0], region.TABLE_SIZE) if first is None else first
        yield pread(view, region.OFFSETS[1], region.TABLE_SIZE)

    return region.current(copies())


def _log_entries(storage: Storage, current: Current, size: int) -> list[Entry]:
    if not current.header.has_log:
        return []
    place = current.header.log
    if place.length > _LONGEST_LOG:
        raise UnsupportedFeature(f"a log of {place.length} bytes in use is longer than {_LONGEST_LOG}")
    if place.end > size:
        raise FormatError("log", place.offset, f"it extends beyond end of file at {size}", "2.3")
    entries = log.scan(StoredBytes(storage, place), current.header.log_guid)
    if not entries:
        reason = "it is in use but holds no valid sequence of entries; the file cannot be trusted without it"
        raise FormatError("log", place.offset, reason, "2.3.3")
    log.verify(entries, log=place, file_size=size)
    return entries


def _as_replayed(storage: Storage, entries: list[Entry], size: int) -> OverlayStorage:
    return OverlayStorage(storage, log.places(entries), size=log.file_size_after(entries, size))


def _assemble(
    view: Storage, size: int, regions: list[RegionEntry], headers: Headers, *, creator: str, new_id: NewId
) -> VhdxFile:
    """The parts of the file that *view* of *size* bytes shows."""
    region.verify(regions, log=headers.header.log, file_size=size)
    place = region.find(regions, region.METADATA)
    items, contents = read_items(view, place)
    disk = metadata.decode(contents, place.offset)
    pages = Pages(view)
    table = BlockTable(pages, _layout(disk), region.find(regions, region.BAT))
    return VhdxFile(
        storage=view,
        latches=Latches(LifeCycle(view), view.name),
        creator=creator,
        headers=headers,
        regions=regions,
        items=items,
        metadata=disk,
        pages=pages,
        table=table,
        new_id=new_id,
        link=read_link(disk, place.offset),
    )


def _layout(disk: metadata.DiskMetadata) -> BatLayout:
    return BatLayout(disk.virtual_size, disk.block_size, disk.logical_sector_size, disk.has_parent)


def _replay(storage: Storage, view: VhdxFile, entries: list[Entry]) -> SpaceMap:
    """Apply the log to the file; returns what lies where then.

    Stopping anywhere is fine: the log stays in force until everything is durable.
    """
    space = survey(view)
    size = log.file_size_after(entries, storage.size())
    if size > max(storage.size(), space.used_end) + _SLACK:
        raise FormatError("log", view.headers.header.log_offset, f"it would grow the file to {size} bytes for nothing")
    view.headers.update(both_slots=False)
    # As every change does: a file that ends inside its last block is grown to hold it.
    size = max(size, space.used_end)
    if size > storage.size():
        storage.truncate(size)
    space.grown(size)
    for offset, what in log.places(entries):
        if isinstance(what, int):
            transfer.zero(storage, [Range(offset, what)])
        else:
            storage.write([(offset, what.fetch())])
    storage.flush()
    view.headers.update(log_guid=NO_GUID)
    return space


