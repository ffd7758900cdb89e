"""Fixes for the headers, the log and the region tables of a VHDX.

Every change begins with a header update (MS-VHDX 2.2.2.1), so that FileWriteGuid changes.
"""

from vhdx.check import Severity, check_storage
from vhdx.errors import Error, FormatError
from vhdx.format import checksum, header, log, region
from vhdx.format.header import Current
from vhdx.format.record import NO_GUID
from vhdx.image.base import ImageFormat, NewId
from vhdx.image.vhdx.headers import Headers
from vhdx.repair.fix import Case, Fix
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.overlay import settled
from vhdx.storage.stored import StoredBytes
from vhdx.storage.transfer import preads

_CHECKSUM = 4


def find_front(storage: Storage, case: Case) -> Fix | None:
    """The first fix for headers, log or region tables. Raises FormatError, UnsupportedFeature."""
    copies = preads(storage, [(offset, header.HEADER.size) for offset in header.OFFSETS])
    current = header.current(copies)
    new_id = case.new_id
    return (
        _header(copies, current, new_id)
        or (_log(storage, current, new_id) if current.header.has_log else None)
        or _region_table(storage, new_id)
    )


def touch(storage: Storage, new_id: NewId) -> None:
    """Write both headers with a new FileWriteGuid, durably."""
    current = header.current(preads(storage, [(offset, header.HEADER.size) for offset in header.OFFSETS]))
    Headers(storage, current, new_id).update()


def _header(copies: list[bytes], current: Current, new_id: NewId) -> Fix | None:
    slot = 1 - current.slot
    try:
        header.parse(copies[slot], header.OFFSETS[slot])
    except FormatError as error:
        code = "header-checksum" if copies[slot].startswith(b"head") else "header-signature"
        message = f"copy {slot + 1} is not valid ({error.reason}); it is rewritten from copy {current.slot + 1}"
        return Fix(code, "header", header.OFFSETS[slot], message, lambda storage: touch(storage, new_id))
    return None


def _log(storage: Storage, current: Current, new_id: NewId) -> Fix:
    for finding in check_storage(storage, format=ImageFormat.VHDX):
        if finding.severity is Severity.ERROR and finding.code.startswith(("header-", "log-")):
            raise Error(f"{finding}; cannot be repaired without guessing")
    place = current.header.log
    entries = log.scan(StoredBytes(storage, place), current.header.log_guid)
    count = sum(entry.header.descriptor_count for entry in entries)
    message = f"its changes ({count}) are replayed, then the log is marked empty"
    return Fix("log-dirty", "log", place.offset, message, lambda storage: _replay(storage, new_id))


def _replay(storage: Storage, new_id: NewId) -> None:
    """A crash at any point is safe: the log stays active until everything is durable."""
    current = header.current(preads(storage, [(offset, header.HEADER.size) for offset in header.OFFSETS]))
    place = current.header.log
    entries = log.scan(StoredBytes(storage, place), current.header.log_guid)
    log.verify(entries, log=place, file_size=storage.size())
    headers = Headers(storage, current, new_id)
    headers.update(both_slots=False)
    size = log.file_size_after(entries, storage.size())
    if size > storage.size():
        storage.truncate(size)
    # A sketch keeps everything that is written to it, so each page is written only once.
    for offset, what in settled(log.places(entries)):
        if isinstance(what, int):
            transfer.zero(storage, [(offset, what)])
        else:
            storage.write([(offset, what if isinstance(what, bytes | bytearray | memoryview) else what.fetch())])
    storage.flush()
    headers.update(log_guid=NO_GUID)


def _region_table(storage: Storage, new_id: NewId) -> Fix | None:
    copies = preads(storage, [(offset, region.TABLE_SIZE) for offset in region.OFFSETS])
    sealed = [copy.startswith(b"regi") and checksum.is_sealed(copy, field=_CHECKSUM) for copy in copies]
    if not any(sealed):
        region.current(copies)  # raises
    if all(sealed):
        if region.parse(copies[0], region.OFFSETS[0]) != region.parse(copies[1], region.OFFSETS[1]):
            reason = "both copies are valid but differ, so the right one cannot be determined"
            raise FormatError("region table", region.OFFSETS[0], reason, "2.2.3", file=storage.name)
        return None
    good = sealed.index(True)
    region.parse(copies[good], region.OFFSETS[good])
    bad = 1 - good
    code = "region-table-checksum" if copies[bad].startswith(b"regi") else "region-table-signature"
    message = f"copy {bad + 1} is not valid; it is rewritten from copy {good + 1}"

    def apply(storage: Storage) -> None:
        touch(storage, new_id)
        storage.write([(region.OFFSETS[bad], copies[good])])

    return Fix(code, "region table", region.OFFSETS[bad], message, apply)
