"""Checks of a log in use: the active sequence, and the changes that its replay makes (MS-VHDX 2.3)."""

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
"""More than the pages of the longest log; only ranges of zeros can exceed it, and no writer creates that many."""

_SLACK = 1 << 30
"""How far beyond the last used byte a log may place the end of file."""


def check_log(storage: Storage, head: Header) -> Generator[Finding, None, Storage]:
    """A view of the file with its log replayed; the file itself if there is nothing to replay or the log is invalid."""
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
        f"{len(entries)} log entries); "
        "opening for writing does that; the findings below are for the file after the replay"
    )
    yield found("log-dirty", place.offset + entries[0].position, message)
    return OverlayStorage(storage, log.places(entries), size=log.file_size_after(entries, size))


def check_growth(storage: Storage, view: Storage, used_end: int, place: Range | None) -> Iterator[Finding]:
    """Check that the file size after the replay is justified by the content, which ends at *used_end*."""
    size, after = storage.size(), view.size()
    if place is not None and after > max(size, used_end) + _SLACK:
        message = f"a replay would extend the file from {size} to {after} bytes, but its content ends at {used_end}"
        yield found("log-file-growth-unfounded", place.offset, message)


def _entries(storage: Storage, head: Header, place: Range) -> Generator[Finding, None, list[Entry]]:
    if place.length > _LONGEST_LOG:
        message = f"a log in use of {place.length} bytes exceeds the maximum of {_LONGEST_LOG} that can be replayed"
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
            "the log is in use but holds no valid sequence of entries, so changes are lost and the file cannot be "
            "trusted; restore it from a backup"
        )
        yield found("log-no-sequence", place.offset, message)
    return entries


def _faults(entries: Sequence[Entry], place: Range, size: int) -> Iterator[Finding]:
    newest = entries[-1].header
    at = place.offset + entries[-1].position
    flushed, last = newest.flushed_file_offset, newest.last_file_offset
    if size < flushed:
        message = f"file truncated: {flushed} bytes when this was logged, {size} now; restore it from a backup"
        yield found("log-file-truncated", at, message)
    if flushed % MIB or last % MIB:
        yield found("log-offset-alignment", at, f"the file sizes {flushed} and {last} are not multiples of 1 MiB")
    if last > size:
        yield found("log-file-growth", at, f"a replay extends the file from {size} to {last} bytes")
    if last > LARGEST_FILE:
        yield found("log-file-growth-unfounded", place.offset, f"a replay would extend the file to {last} bytes")
    count = sum(entry.header.descriptor_count for entry in entries)
    if count > _MOST_CHANGES:
        message = f"{count} changes exceed the maximum of {_MOST_CHANGES} that can be replayed"
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
        yield found("log-target-headers", at, f"{what} would overwrite the identifier or a header")
    elif change.offset < place.end and change.end > place.offset:
        yield found("log-target-log", at, f"{what} would overwrite the log at {place.offset}")
    elif change.end > file_end:
        yield found("log-target-beyond-end", at, f"{what} is beyond the file size recorded in the log, {file_end}")
