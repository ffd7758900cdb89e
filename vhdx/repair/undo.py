"""Saves the previous content of a file in an undo file, durably before each change that it covers.

The undo file has a format of this package, all numbers little-endian: a header of 512 bytes, then contiguous records of
32 bytes plus data. A range of the file is saved once, before its first change, so records can be restored in any order.
Bytes after the last complete record belong to an interrupted save and cover no change.

A file that was modified since must not be restored. Every writer modifies the first MiB, so for it the undo file also
holds the new bytes: each byte there must be the old one or result from one of these changes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import google_crc32c
from construct import Bytes, Const, Int32ul, Int64ul, Padding, Struct

from vhdx.extents import Range, clip, gaps
from vhdx.format import checksum
from vhdx.format.record import Record
from vhdx.storage import transfer
from vhdx.storage.base import Buffer, Move, Storage
from vhdx.storage.forwarding import ForwardingStorage, Instead
from vhdx.storage.transfer import pread, preads

MARK = b"vhdxundo"
HEADER_SIZE = 512
VERSION = 1
_NAME_SIZE = 256
WAS, THEN, SIZE = b"was_", b"then", b"size"
HEADER_CHECKSUM = 8
RECORD_CHECKSUM = 4
HEAD, TAIL = 1 << 20, 64 << 10
PIECE = 1 << 20
_BATCH = 16 << 20
IN_FLIGHT = _BATCH + PIECE
"""Upper bound of the bytes written to the undo file between two flushes."""


@dataclass(frozen=True, slots=True)
class UndoHeader:
    """The original file: size in bytes, name, and fingerprint of its first and last bytes."""

    original_size: int
    fingerprint: int
    name: bytes
    version: int = VERSION


HEADER: Record[UndoHeader] = Record(
    UndoHeader,
    Struct(
        "signature" / Const(MARK),
        "checksum" / Padding(4),
        "version" / Int32ul,
        "original_size" / Int64ul,
        "fingerprint" / Int32ul,
        "name" / Bytes(_NAME_SIZE),
        "reserved" / Padding(HEADER_SIZE - 28 - _NAME_SIZE),
    ),
    structure="undo file",
    section="",
)


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """*length* bytes at *offset*: the *stored* bytes that follow, or zeros if *stored* is 0.

    *kind*: old bytes (``was_``), or bytes that may have been written (``then``), or the file may have grown to *offset*
    bytes (``size``).
    """

    kind: bytes
    offset: int
    length: int
    stored: int


RECORD: Record[UndoRecord] = Record(
    UndoRecord,
    Struct(
        "kind" / Bytes(4),
        "checksum" / Padding(4),
        "offset" / Int64ul,
        "length" / Int64ul,
        "stored" / Int64ul,
    ),
    structure="undo record",
    section="",
)


@dataclass(slots=True)
class _Covered:
    """A set of disjoint, nonadjacent ranges, as ascending edges."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def missing(self, offset: int, length: int) -> list[Range]:
        """The parts of a range that are not covered."""
        first = bisect_left(self.ends, offset)
        last = bisect_right(self.starts, offset + length)
        pairs = zip(self.starts[first:last], self.ends[first:last], strict=True)
        return list(gaps((Range(start, end - start) for start, end in pairs), offset, length))

    def add(self, offset: int, length: int) -> None:
        """Cover a range."""
        first = bisect_left(self.ends, offset)
        last = bisect_right(self.starts, offset + length)
        start = min([offset, *self.starts[first : min(first + 1, last)]])
        end = max([offset + length, *self.ends[max(first, last - 1) : last]])
        self.starts[first:last] = [start]
        self.ends[first:last] = [end]


def fingerprint(storage: Storage, size: int) -> int:
    """CRC-32C of the first MiB and the last 64 KiB of a file of *size* bytes.

    This covers the headers, which every writer of a VHDX modifies, and the footer of a VHD.
    """
    tail = min(size, TAIL)
    head, end = preads(storage, [(0, min(size, HEAD)), (size - tail, tail)])
    return int(google_crc32c.extend(google_crc32c.value(head), end))


def guarded(inner: Storage, undo: Storage) -> ForwardingStorage:
    """Wrap *inner* so that every byte is saved in *undo* before it changes. Closing it closes neither of the two.

    *undo* must be empty and its directory entry durable. Raises OSError when saving fails; the change is then not made.
    """
    keeper = _Keeper(inner, undo)
    return ForwardingStorage(
        inner,
        Instead(
            write=keeper.write,
            copy=keeper.copy,
            zero=keeper.zero,
            reserve=keeper.reserve,
            truncate=keeper.truncate,
            close=lambda: None,
        ),
    )


class _Keeper:
    """Makes each change after the bytes that it replaces are in the undo file."""

    def __init__(self, inner: Storage, undo: Storage) -> None:
        self._inner = inner
        self._undo = undo
        self._original_size = self._most = inner.size()
        self._covered = _Covered()
        self._end = HEADER_SIZE
        name = inner.name.replace("\\", "/").rsplit("/", 1)[-1].encode("utf-8", "replace")[:_NAME_SIZE]
        header = UndoHeader(self._original_size, fingerprint(inner, self._original_size), name.ljust(_NAME_SIZE, b"\0"))
        undo.write([(0, checksum.seal(HEADER.build(header), field=HEADER_CHECKSUM))])
        undo.flush()

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        self._save([(offset, len(data)) for offset, data in pieces])
        self._announce(pieces)
        self._inner.write(pieces)

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        self._save([(move.target_offset, move.length) for move in moves])
        for place, target, length in moves:
            if target < HEAD:
                self._announce([(target, pread(source, place, min(length, HEAD - target)))])
        self._inner.copy(source.innermost(), moves)

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._save(ranges)
        self._announce([(offset, bytes(max(min(length, HEAD - offset), 0))) for offset, length in ranges])
        self._inner.zero(ranges)

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._save_growth(max((offset + length for offset, length in ranges), default=0))
        self._inner.reserve(ranges)

    def truncate(self, size: int) -> None:
        self._save_growth(size)
        cut = max(self._inner.size() - size, 0)
        self._save([(size, cut)])
        # If the file grows again, the truncated range will read as zeros.
        self._announce([(size, bytes(max(min(cut, HEAD - size), 0)))])
        self._inner.truncate(size)

    def _save_growth(self, end: int) -> None:
        if end > self._most:
            self._append([_sealed(SIZE, end, 0)])
            self._most = end

    def _announce(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        """Record durably the new bytes of the first MiB."""
        end = min(self._original_size, HEAD)
        parts = [(offset, memoryview(data).cast("B")[: end - offset]) for offset, data in pieces if offset < end]
        self._append([_sealed(THEN, offset, len(part), bytes(part)) for offset, part in parts if len(part)])

    def _save(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Save durably the original content of *ranges* that is not saved yet."""
        self._save_growth(max((offset + length for offset, length in ranges), default=0))
        batch: list[bytes] = []
        room = _BATCH
        for wanted in clip([Range(*place) for place in ranges], 0, self._original_size):
            for missing in self._covered.missing(*wanted):
                for record in self._records(missing):
                    if len(record) > room:
                        self._append(batch)
                        batch, room = [], _BATCH
                    batch.append(record)
                    room -= len(record)
                # No change is made before the whole batch is saved.
                self._covered.add(*missing)
        self._append(batch)

    def _records(self, place: Range) -> Iterator[bytes]:
        """Records for all of *place*; holes are not read."""
        at = place.offset
        for held in transfer.allocated(self._inner, place.offset, place.length):
            if held.offset > at:
                yield _sealed(WAS, at, held.offset - at)
            for start in range(held.offset, held.end, PIECE):
                data = pread(self._inner, start, min(PIECE, held.end - start))
                yield _sealed(WAS, start, len(data), data)
            at = held.end
        if at < place.end:
            yield _sealed(WAS, at, place.end - at)

    def _append(self, records: Sequence[bytes]) -> None:
        if not records:
            return
        starts = [self._end]
        for record in records:
            starts.append(starts[-1] + len(record))
        self._undo.write(list(zip(starts, records, strict=False)))
        self._undo.flush()
        self._end = starts[-1]


def _sealed(kind: bytes, offset: int, length: int, data: bytes = b"") -> bytes:
    if not data.strip(b"\0"):
        data = b""
    record = UndoRecord(kind, offset, length, len(data))
    return checksum.seal(RECORD.build(record) + data, field=RECORD_CHECKSUM)
