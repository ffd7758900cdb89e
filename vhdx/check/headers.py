"""Checks of both headers; selects the current one (MS-VHDX 2.2.2)."""

from collections.abc import Generator, Iterator

from vhdx.check.container import MIB, first_set
from vhdx.check.finding import Finding, found
from vhdx.extents import Range
from vhdx.format import checksum, header
from vhdx.format.header import AREA, Current, Header
from vhdx.format.record import NO_GUID

_CHECKSUM = 4
_END_OF_FIELDS = 80
_LAST_SEQUENCE_NUMBER = (1 << 64) - 1


def check_headers(area: bytes, size: int) -> Generator[Finding, None, Header | None]:
    """The current header, or None; *area* is the first MiB of a file of *size* bytes."""
    valid: list[Current] = []
    for slot, offset in enumerate(header.OFFSETS):
        copy = area[offset : offset + header.HEADER.size]
        problem = _invalid(copy, slot)
        if problem is not None:
            yield problem
            continue
        valid.append(Current(header.HEADER.parse(copy, offset), slot))
        at = first_set(copy, _END_OF_FIELDS, len(copy))
        if at is not None:
            yield found("header-reserved", offset + at, f"reserved bytes of copy {slot + 1} are not zero")
    if not valid:
        reason = "no copy is valid, so it is unknown whether a log must be replayed; restore the file from a backup"
        yield found("header-none-valid", header.OFFSETS[0], reason)
        return None
    if len(valid) == 2:
        yield from _pair(valid[0].header, valid[1].header)
    best = max(valid, key=lambda copy: copy.header.sequence_number)
    yield from _values(best.header, header.OFFSETS[best.slot])
    yield from _log_place(best.header, header.OFFSETS[best.slot], size)
    return best.header


def log_place(head: Header, size: int) -> Range | None:
    """The file range of the log if it is valid."""
    return head.log if head.log_length and not any(_log_place(head, 0, size)) else None


def _invalid(copy: bytes, slot: int) -> Finding | None:
    offset = header.OFFSETS[slot]
    if copy[:4] != b"head":
        return found("header-signature", offset, f"the signature of copy {slot + 1} is {copy[:4]!r} instead of b'head'")
    if not checksum.is_sealed(copy, field=_CHECKSUM):
        stored, right = int.from_bytes(copy[4:8], "little"), checksum.crc32c(copy, field=_CHECKSUM)
        message = f"the checksum of copy {slot + 1} is {stored:#010x} instead of {right:#010x}; the copy is ignored"
        return found("header-checksum", offset, message)
    return None


def _pair(first: Header, second: Header) -> Iterator[Finding]:
    numbers = first.sequence_number, second.sequence_number
    if first == second:
        message = f"both copies are identical, with sequence number {numbers[0]}"
        yield found("header-identical", header.OFFSETS[0], message)
    elif numbers[0] == numbers[1]:
        message = f"both copies have sequence number {numbers[0]} but different contents, so neither can be trusted"
        yield found("header-same-sequence", header.OFFSETS[0], message)
    elif abs(numbers[0] - numbers[1]) > 1:
        older = header.OFFSETS[int(numbers[1] < numbers[0])]
        message = f"the sequence numbers {numbers[0]} and {numbers[1]} are not consecutive"
        yield found("header-sequence-gap", older, message)


def _values(head: Header, offset: int) -> Iterator[Finding]:
    if head.sequence_number == _LAST_SEQUENCE_NUMBER:
        message = f"sequence number {head.sequence_number} is the maximum, so the file cannot be modified; convert it"
        yield found("header-sequence-last", offset, message)
    for name, guid in (("FileWriteGuid", head.file_write_guid), ("DataWriteGuid", head.data_write_guid)):
        if guid == NO_GUID:
            yield found("header-guid-zero", offset, f"the {name} is zero")
    if head.version != 1:
        yield found("header-version", offset, f"version {head.version} of the format is not supported; must be 1")
    if head.log_version != 0:
        yield found("header-log-version", offset, f"version {head.log_version} of the log is not supported; must be 0")


def _log_place(head: Header, offset: int, size: int) -> Iterator[Finding]:
    place = f"the log at {head.log_offset} of {head.log_length} bytes"
    if head.has_log and not head.log_length:
        yield found("header-log-without-length", offset, "a log is in use but its length is zero")
    if head.log_offset % MIB or head.log_length % MIB:
        yield found("header-log-alignment", offset, f"{place} is not 1 MiB aligned")
    if not head.log_length:
        if not head.has_log:
            yield found("header-no-log", offset, "the file has no space for a log, so it cannot be modified safely")
        return
    if head.log_offset < AREA:
        yield found("header-log-in-headers", offset, f"{place} overlaps the header section")
    if head.log.end > size:
        yield found("header-log-beyond-end", offset, f"{place} extends beyond end of file at {size}")
