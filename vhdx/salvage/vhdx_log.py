"""Headers and log of a damaged VHDX: selects a header and replays the log in memory (MS-VHDX 2.2.2, 2.3).

Without the replay of a log in use, parts of the file may be outdated, and which ones is unknown.
"""

from dataclasses import dataclass

from vhdx.errors import FormatError, UnsupportedFeature
from vhdx.extents import Range
from vhdx.format import header, log
from vhdx.format.header import AREA, Header
from vhdx.format.record import NO_GUID
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Noting
from vhdx.storage.base import Storage
from vhdx.storage.overlay import OverlayStorage

MIB = 1 << 20
_LONGEST_LOG = 128 << 20
_SLACK = 1 << 30
_END_OF_FIELDS = 80
_SIGNATURE = b"head"
_WITHOUT = "its changes are missing: parts of the disk may be outdated or mixed"


@dataclass(frozen=True, slots=True)
class Front:
    """*view* is the file with its log replayed, if possible; *log* is the file range of the log, if known."""

    view: Storage
    end: int
    header: Header | None
    log: Range | None
    log_entries: int


def read_front(storage: Storage, noting: Noting) -> Front:
    """Select a header and replay the log. Raises UnsupportedFeature for another version of the format."""
    medium = Medium(storage)
    head, sure = _header(medium, noting)
    size = storage.size()
    if head is None:
        message = f"neither copy is usable; if a log was in use, {_WITHOUT}"
        noting.trust("header", header.OFFSETS[0], message)
        return Front(storage, size, None, None, 0)
    place = head.log if head.log_length and _placed(head, size) else None
    if head.has_log and sure:
        reason = _unfit(head, size)
        if not reason:
            try:
                return _replayed(medium, head, size, noting)
            except FormatError as error:
                reason = error.reason
        noting.trust("log", head.log_offset, f"it is in use but cannot be replayed ({reason}); {_WITHOUT}")
    elif head.log_length and place is None:
        noting.trust("log", head.log_offset, "the offset is invalid; the log is not in use, so nothing is missing")
    return Front(storage, size, head, place, 0)


def _placed(head: Header, size: int) -> bool:
    return not (head.log_offset % MIB or head.log_length % MIB) and head.log_offset >= AREA and head.log.end <= size


def _unfit(head: Header, size: int) -> str:
    if not head.log_length or not _placed(head, size):
        return f"invalid location: {head.log_length} bytes at {head.log_offset}"
    if head.log_version != 0:
        return f"version {head.log_version} of the log is not supported"
    return f"its {head.log_length} bytes exceed {_LONGEST_LOG}" if head.log_length > _LONGEST_LOG else ""


def _replayed(medium: Medium, head: Header, size: int, noting: Noting) -> Front:
    """The file with its log replayed in memory. Raises FormatError when the log is unusable."""
    place, storage = head.log, medium.storage
    ring, bad = medium.read(place.offset, place.length)
    entries = log.scan(ring, head.log_guid)
    if not entries:
        reason = "parts of it cannot be read" if bad else "it holds no valid sequence of entries"
        raise FormatError("log", place.offset, reason)
    flushed = entries[-1].header.flushed_file_offset
    log.verify(entries, log=place, file_size=max(size, flushed))
    after = log.file_size_after(entries, size)
    if size < flushed:
        message = f"file truncated: {flushed} bytes when the log was written, {size} now"
        noting.trust("log", place.offset, message)
        after = size
    elif after > size + _SLACK:
        noting.tell("log", place.offset, f"the file size of {after} bytes that it gives was ignored")
        after = size
    return Front(OverlayStorage(storage, log.places(entries), size=after), after, head, place, len(entries))


def _header(medium: Medium, noting: Noting) -> tuple[Header | None, bool]:
    """The header in use, and whether its log fields are certain enough for a replay."""
    valid: list[tuple[int, Header]] = []
    damaged: list[tuple[int, Header]] = []
    for slot, offset in enumerate(header.OFFSETS):
        copy = medium.whole(offset, header.HEADER.size)
        if copy is None:
            noting.tell("header", offset, f"copy {slot + 1} cannot be read")
            continue
        try:
            valid.append((slot, header.parse(copy, offset)))
        except FormatError as error:
            found = _sound(copy, medium.end)
            if found is not None:
                damaged.append((slot, found))
            noting.tell("header", offset, f"copy {slot + 1} is not valid ({error.reason})")
    if valid:
        return _best(valid, damaged, noting)
    if not damaged:
        return None, False
    slot, head = max(damaged, key=lambda item: item[1].sequence_number)
    message = f"no copy has a correct checksum; the fields of copy {slot + 1} are valid and were used"
    noting.trust("header", header.OFFSETS[slot], message)
    return head, True


def _best(
    valid: list[tuple[int, Header]], damaged: list[tuple[int, Header]], noting: Noting
) -> tuple[Header, bool]:
    slot, head = max(valid, key=lambda item: item[1].sequence_number)
    offset = header.OFFSETS[slot]
    if head.version != 1:
        raise UnsupportedFeature(
            f"{noting.file}: header at offset {offset}: version {head.version} of the format is not supported"
        )
    numbers = {found.sequence_number for _, found in valid}
    if len(valid) == 2 and len(numbers) == 1 and valid[0][1] != valid[1][1]:
        noting.trust("header", offset, "both copies have the same sequence number but different contents")
        if _of_log(valid[0][1]) != _of_log(valid[1][1]):
            noting.trust("log", None, f"the headers disagree on the log, so it was not replayed; {_WITHOUT}")
            return head, False
    for other_slot, other in damaged:
        # The current header may be the damaged one: then the valid copy is older than the log.
        if other.sequence_number > head.sequence_number and _of_log(other) != _of_log(head):
            message = f"copy {other_slot + 1} may be newer; its log is different and was not replayed; {_WITHOUT}"
            noting.trust("header", header.OFFSETS[other_slot], message)
    return head, True


def _of_log(head: Header) -> tuple[object, ...]:
    return head.log_guid, *((head.log_offset, head.log_length) if head.has_log else ())


def _sound(copy: bytes, size: int) -> Header | None:
    """The fields of a copy with a wrong checksum, if each of them is plausible."""
    found = header.HEADER.parse(_SIGNATURE + copy[len(_SIGNATURE) :])
    odd = (
        any(copy[_END_OF_FIELDS:]),
        found.version != 1,
        found.log_version != 0,
        NO_GUID in (found.data_write_guid, found.file_write_guid),
        not _placed(found, size) and (found.has_log or found.log.end <= size),
    )
    return None if any(odd) else found
