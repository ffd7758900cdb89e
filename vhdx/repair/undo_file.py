"""Reads an undo file and restores its content.

A file is restored only if it is the one to which the changes were made, each of them complete, partial or not made:
later changes by others would be lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vhdx.errors import FormatError
from vhdx.extents import Range, gaps
from vhdx.format import checksum
from vhdx.repair.undo import (
    HEAD,
    HEADER,
    HEADER_CHECKSUM,
    HEADER_SIZE,
    IN_FLIGHT,
    MARK,
    PIECE,
    RECORD,
    RECORD_CHECKSUM,
    SIZE,
    TAIL,
    THEN,
    VERSION,
    WAS,
    UndoHeader,
    UndoRecord,
    fingerprint,
)
from vhdx.storage import transfer
from vhdx.storage.base import Storage
from vhdx.storage.overlay import Change, OverlayStorage
from vhdx.storage.transfer import pread

LARGEST = (1 << 63) - 1
"""The maximum file size on any system."""
_SECTOR = 512
_BATCH = 16


class _Saved(NamedTuple):
    """A range and its content: at offset *at* in the undo file, or zeros if None."""

    offset: int
    length: int
    at: int | None


@dataclass(frozen=True, slots=True)
class Undo:
    """The content of an undo file: the old bytes (*saved*), and the new bytes of the first MiB (*made*)."""

    storage: Storage
    header: UndoHeader
    saved: tuple[_Saved, ...]
    made: tuple[_Saved, ...]
    most: int

    @classmethod
    def read(cls, storage: Storage) -> "Undo | None":
        """Parse an undo file; None if it was interrupted before it covered any change.

        Raises FormatError if it is not an undo file or damaged.
        """
        size = storage.size()
        head = pread(storage, 0, min(size, HEADER_SIZE))
        if not head.strip(b"\0") and size <= HEADER_SIZE:
            return None
        if size < HEADER_SIZE or not head.startswith(MARK) or not checksum.is_sealed(head, field=HEADER_CHECKSUM):
            raise FormatError(HEADER.structure, 0, "not an undo file, or damaged", file=storage.name)
        header = HEADER.parse(head, 0)
        if header.version != VERSION:
            reason = f"version {header.version} is not supported; use newer software"
            raise FormatError(HEADER.structure, 0, reason, file=storage.name)
        if header.original_size > LARGEST:
            reason = f"invalid size {header.original_size} of the original file"
            raise FormatError(HEADER.structure, 0, reason, file=storage.name)
        found: dict[bytes, list[_Saved]] = {WAS: [], THEN: [], SIZE: []}
        for record, at in _whole_records(storage, size):
            _verify_record(record, at - RECORD.size, header.original_size, storage.name)
            found[record.kind].append(_Saved(record.offset, record.length, at if record.stored else None))
        most = max([header.original_size, *(grown.offset for grown in found[SIZE])])
        return cls(storage, header, tuple(sorted(found[WAS])), tuple(found[THEN]), most)

    def put_back(self, file: Storage) -> None:
        """Restore *file* durably. Can be repeated after an interruption.

        Raises FormatError, without a change, when *file* is a different file or was modified since.
        """
        self._verify(file)
        size = self.header.original_size
        if file.size() < size:
            file.truncate(size)
            file.flush()
        # Headers first: once they make the log active again, the log covers the ranges that it changes.
        for near in (True, False):
            chosen = [saved for saved in self.saved if (saved.offset < HEAD) is near]
            transfer.zero(file, [(saved.offset, saved.length) for saved in chosen if saved.at is None])
            data = self._data(chosen)
            while batch := list(islice(data, _BATCH)):
                file.write(batch)
            file.flush()
        if file.size() > size:
            file.truncate(size)
            file.flush()

    def _data(self, chosen: Sequence[_Saved]) -> Iterator[tuple[int, bytes]]:
        """File offset and bytes of saved ranges that are not zeros."""
        for offset, length, at in chosen:
            if at is not None:
                yield offset, pread(self.storage, at, length)

    def _verify(self, file: Storage) -> None:
        size = file.size()
        original = self.header.original_size
        reason = ""
        if size > self.most:
            reason = f"the file has {size} bytes, but had at most {self.most} during these changes"
        elif any(gaps((Range(saved.offset, saved.length) for saved in self.saved), size, original - size)):
            reason = f"the file has {size} bytes instead of {original}, and the difference is not saved"
        elif not self._is_of(file):
            reason = "it belongs to a different file, or the file was modified since"
        if reason:
            name = self.header.name.rstrip(b"\0").decode("utf-8", "replace")
            reason = f"the undo file {self.storage.name} does not match {name!r}: {reason}"
            raise FormatError("file", None, reason, file=file.name)

    def _is_of(self, file: Storage) -> bool:
        """Whether *file* is the one to which these changes were made, each of them complete, partial or not made."""
        original = self.header.original_size
        near = [saved for saved in self.saved if saved.offset < HEAD or saved.offset + saved.length > original - TAIL]
        changes: list[Change] = [(saved.offset, saved.length) for saved in near if saved.at is None]
        changes += self._data(near)
        before = OverlayStorage(file, changes, size=original)
        if fingerprint(before, original) != self.header.fingerprint:
            return False
        end = min(file.size(), original, HEAD)
        here, then = pread(file, 0, end), pread(before, 0, end)
        made = [
            (offset, bytes(length) if at is None else pread(self.storage, at, length))
            for offset, length, at in self.made
        ]
        return all(
            here[start : start + _SECTOR] == then[start : start + _SECTOR]
            or _is_made(here, then, made, Range(start, min(_SECTOR, end - start)))
            for start in range(0, end, _SECTOR)
        )


def _is_made(here: bytes, then: bytes, made: Sequence[tuple[int, bytes]], place: Range) -> bool:
    """Whether each byte of *place* is the old one or results from one of the changes in *made*."""
    left = {at for at in range(place.offset, place.end) if here[at] != then[at]}
    for offset, data in made:
        if offset < place.end and place.offset < offset + len(data):
            left -= {at for at in left if 0 <= at - offset < len(data) and data[at - offset] == here[at]}
    return not left


def _whole_records(storage: Storage, size: int) -> Iterator[tuple[UndoRecord, int]]:
    """Every complete record, with the offset of its data; stops at an incomplete one."""
    at, before = HEADER_SIZE, 0
    while at + RECORD.size <= size:
        head = pread(storage, at, RECORD.size)
        record = RECORD.parse(head, at)
        if record.kind not in (WAS, THEN, SIZE):
            break
        end = at + RECORD.size + record.stored
        if record.stored > PIECE or end > size:
            break
        data = head + pread(storage, at + RECORD.size, record.stored)
        if not checksum.is_sealed(data, field=RECORD_CHECKSUM):
            break
        yield record, at + RECORD.size
        before, at = at, end
    if size - at > IN_FLIGHT:
        reason = f"the record after the one at {before} is damaged"
        raise FormatError(RECORD.structure, at, reason, file=storage.name)


def _verify_record(record: UndoRecord, at: int, original_size: int, name: str) -> None:
    """Raises FormatError for a record that this package cannot have written."""
    end = {WAS: original_size, THEN: HEAD}.get(record.kind, LARGEST)
    if record.stored not in (0, record.length) or record.offset + record.length > end:
        reason = f"{record.length} bytes at {record.offset} cannot have been saved from a file of {original_size}"
        raise FormatError(RECORD.structure, at, reason, file=name)
