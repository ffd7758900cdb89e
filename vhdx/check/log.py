"""A log that is in use: which of its entries count, and what replaying them asks for (MS-VHDX 2.3)."""

from collections.abc import Generator, Iterator, Sequence

from vhdx.check.container import LARGEST_FILE, MIB
from vhdx.check.finding import Finding, counted, found
from vhdx.check.headers import log_place
from vhdx.check.rule import Severity
from vhdx.errors import FormatError
from vhdx.extents import Range
from vhdx.format import log
from vhdx.format.header import Header
from vhdx.format.log import Entry
from vhdx.storage.base import Storage
from vhdx.storage.overlay import OverlayStorage
from vhdx.storage.stored import StoredBytes

_LONGEST_LOG = 128 << 20
_MOST_CHANGES = 1 << 16
"""More pages than the longest log has; only ranges of zeros can be more, and no writer leaves as many."""

_SLACK = 1 << 30
"""How far behind the last thing it needs a log may place the end of the file."""


def check_log(storage: Storage, head: Header) -> Generator[Finding, None, Storage]:
    """The file as it is once its log is replayed; the file itself where nothing is, or can be, replayed."""
    size = storage.size()
    place = log_place(head, size)
    if not head.has_log or place is None or head.log_version != 0:
        return storage
    entries = yield from _entries(storage, head, place)
    if not entries:
        return storage
    faults = list(_faults(entries, place, size))
    yield from faults
    if any(fault.severity is Severity.ERROR for fault in faults):
        return storage
    pages = sum(entry.pages for entry in entries)
    ranges = sum(entry.header.descriptor_count for entry in entries) - pages
    message = (
        f"changes to be replayed ({counted(pages, 'page')} and {counted(ranges, 'range')} of zeros in "
        f"{len(entries)} log entries), "
        "which opening for writing does; what follows is about the file as it will be then"
    )
    yield found("log-dirty", place.offset + entries[0].position, message)
    return OverlayStorage(storage, log.places(entries), size=log.file_size_after(entries, size))


def check_growth(storage: Storage, view: Storage, used_end: int, place: Range | None) -> Iterator[Finding]:
    """The length that the log gives the file is one that its content, which ends at *used_end*, needs."""
    size, after = storage.size(), view.size()
    if place is not None and after > max(size, used_end) + _SLACK:
        message = f"replaying it would grow the file from {size} to {after} bytes; its content ends at {used_end}"
        yield found("log-file-growth-unfounded", place.offset, message)


def _entries(storage: Storage, head: Header, place: Range) -> Generator[Finding, None, list[Entry]]:
    if place.length > _LONGEST_LOG:
        message = f"a log of {place.length} bytes in use is longer than the {_LONGEST_LOG} that are replayed"
        yield found("log-too-large", place.offset, message)
        return []
    try:
        entries = log.scan(StoredBytes(storage, place), head.log_guid)
    except FormatError as error:
        if error.structure == "file":
            raise
        yield found("log-not-valid", place.offset, error.reason)
        return []
    if not entries:
        message = (
            "it is in use but holds no valid sequence of entries, so changes are lost and the file cannot be trusted; "
            "restore it from a copy"
        )
        yield found("log-no-sequence", place.offset, message)
    return entries


def _faults(entries: Sequence[Entry], place: Range, size: int) -> Iterator[Finding]:
    newest = entries[-1].header
    at = place.offset + entries[-1].position
    flushed, last = newest.flushed_file_offset, newest.last_file_offset
    if size < flushed:
        message = f"the file had {flushed} bytes when this was logged and was cut to {size}; restore it from a copy"
        yield found("log-file-truncated", at, message)
    if flushed % MIB or last % MIB:
        yield found("log-offset-alignment", at, f"the file sizes {flushed} and {last} are not multiples of 1 MiB")
    if last > size:
        yield found("log-file-growth", at, f"replaying it makes the file grow from {size} to {last} bytes")
    if last > LARGEST_FILE:
        yield found("log-file-growth-unfounded", place.offset, f"replaying it would grow the file to {last} bytes")
    count = sum(entry.header.descriptor_count for entry in entries)
    if count > _MOST_CHANGES:
        message = f"{count} changes are more than the {_MOST_CHANGES} that are replayed"
        yield found("log-too-large", place.offset, message)
        return
    end = max(last, flushed, size)
    for entry in entries:
        for offset, what in entry.places():
            length = what if isinstance(what, int) else log.PAGE
            yield from _target(Range(offset, length), place, place.offset + entry.position, end)


def _target(change: Range, place: Range, at: int, file_end: int) -> Iterator[Finding]:
    what = f"a change at {change.offset} of {change.length} bytes"
    if change.offset % log.PAGE or change.length % log.PAGE or not change.length:
        yield found("log-target-alignment", at, f"{what} is not a multiple of 4 KiB")
    elif change.offset < log.LOWEST_TARGET:
        yield found("log-target-headers", at, f"{what} would overwrite identifier or headers")
    elif change.offset < place.end and change.end > place.offset:
        yield found("log-target-log", at, f"{what} would overwrite the log at {place.offset}")
    elif change.end > file_end:
        yield found("log-target-beyond-end", at, f"{what} lies beyond the file size recorded in the log, {file_end}")
