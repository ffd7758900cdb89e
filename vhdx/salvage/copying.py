"""Copies the readable data of a damaged disk into a new image and reports the rest as lost."""

from collections.abc import Iterator
from typing import NamedTuple

from vhdx.extents import Presence, Range, gaps
from vhdx.image.base import Image, Progress
from vhdx.salvage.disk import Part, SalvageDisk
from vhdx.salvage.layer import Piece
from vhdx.salvage.medium import Medium
from vhdx.salvage.report import Ledger
from vhdx.storage import transfer
from vhdx.storage.transfer import BUFFER, PIECE

_WORTH_ASKING = PIECE
"""Smallest piece in bytes for which holes are queried."""
_MOST_PIECES = 4096
_IDLE = 1 << 14
"""Number of parts without payload after which progress is reported."""
_UNREADABLE = "read error on the disk or share"
_ZEROS = bytes(PIECE)


class _Wanted(NamedTuple):
    """Payload to be copied: offset on the disk, layer, offset in its file, and buffer."""

    offset: int
    layer: int
    file_offset: int
    buffer: memoryview


def fill(disk: SalvageDisk, target: Image, ledger: Ledger, *, on_progress: Progress | None = None) -> None:
    """Copy the readable data of *disk* to *target*, a new image that reads as zeros; *ledger* collects lost ranges.

    Lost ranges and zeros are not written. Raises what writing raises, and OSError when the transport of the source
    fails rather than its medium.
    """
    sector = disk.layers[0].info.logical_sector_size
    for done, batch in _batches(disk, ledger):
        good: list[tuple[int, memoryview]] = []
        for wanted, bad in _read(disk, batch):
            missing = _on_disk(wanted, bad, sector)
            for lost in missing:
                ledger.lose(lost.offset, lost.length, _UNREADABLE)
            for part in gaps(missing, wanted.offset, len(wanted.buffer)):
                ledger.read += part.length
                start = part.offset - wanted.offset
                data = wanted.buffer[start : start + part.length]
                if data != _ZEROS[: len(data)]:
                    good.append((part.offset, data))
        _write(target, good)
        if on_progress is not None:
            on_progress(done, disk.size)
    target.flush()
    if on_progress is not None:
        on_progress(disk.size, disk.size)


def _batches(disk: SalvageDisk, ledger: Ledger) -> Iterator[tuple[int, list[_Wanted]]]:
    """The payload of a disk, in pieces of at most 1 MiB and batches of bounded size; lost ranges go to *ledger*.

    Each batch comes with the disk offset reached so far; it is empty after many parts without payload.
    """
    room = memoryview(bytearray(min(BUFFER, max(disk.size, 1))))
    batch: list[_Wanted] = []
    used = idle = 0
    for layer, piece in _payload(disk, ledger):
        at = piece.offset
        if piece.presence is not Presence.DATA or piece.lost:
            idle += 1
            if idle == _IDLE:
                yield piece.end, batch
                batch, used, idle = [], 0, 0
            continue
        while at < piece.end:
            length = min(piece.end - at, PIECE, len(room) - used)
            assert piece.file_offset is not None
            place = piece.file_offset + at - piece.offset
            batch.append(_Wanted(at, layer, place, room[used : used + length]))
            at, used = at + length, used + length
            if used == len(room) or len(batch) == _MOST_PIECES:
                yield at, batch
                batch, used, idle = [], 0, 0
    if batch:
        yield disk.size, batch


def _payload(disk: SalvageDisk, ledger: Ledger) -> Iterator[Part]:
    """The parts of a disk; DATA excludes holes of the files."""
    for layer, piece in disk.parts():
        if piece.lost:
            ledger.lose(piece.offset, piece.length, piece.lost)
        if piece.lost or piece.presence is not Presence.DATA:
            yield Part(layer, piece)
        else:
            for part in _without_holes(disk.layers[layer].medium, piece, disk.layers[0].info.logical_sector_size):
                yield Part(layer, part)


def _without_holes(medium: Medium, piece: Piece, sector: int) -> Iterator[Piece]:
    assert piece.file_offset is not None
    there = min(medium.held - piece.file_offset, piece.length)
    if piece.length < _WORTH_ASKING or there <= 0:
        yield piece
        return
    shift, at = piece.offset - piece.file_offset, piece.offset
    for found in transfer.allocated(medium.storage, piece.file_offset, there):
        start = max((found.offset + shift) // sector * sector, at)
        at = min(-(-(found.end + shift) // sector) * sector, piece.end)
        if start < at:
            yield Piece(start, at - start, Presence.DATA, start - shift)


def _read(disk: SalvageDisk, batch: list[_Wanted]) -> Iterator[tuple[_Wanted, list[Range]]]:
    """Fill the buffers of *batch*; in the same order, with the file ranges that could not be read."""
    bad: dict[int, list[Range]] = {}
    for number, layer in enumerate(disk.layers):
        own = [at for at, wanted in enumerate(batch) if wanted.layer == number]
        if own:
            found = layer.medium.fill([(batch[at].file_offset, batch[at].buffer) for at in own])
            bad.update(zip(own, found, strict=True))
    return ((wanted, bad[at]) for at, wanted in enumerate(batch))


def _on_disk(wanted: _Wanted, bad: list[Range], sector: int) -> list[Range]:
    """The whole sectors of the disk affected by unreadable file ranges: ascending and disjoint."""
    missing: list[Range] = []
    for lost in bad:
        start = (lost.offset - wanted.file_offset) // sector * sector
        end = min(-(-(lost.end - wanted.file_offset) // sector) * sector, len(wanted.buffer))
        if missing and wanted.offset + start < missing[-1].end:
            start = missing[-1].end - wanted.offset
        if start < end:
            missing.append(Range(wanted.offset + start, end - start))
    return missing


def _write(target: Image, good: list[tuple[int, memoryview]]) -> None:
    if not good:
        return
    with target.allocate([Range(offset, len(data)) for offset, data in good]) as places:
        pieces = []
        remaining = iter(good)
        offset, data = next(remaining)
        for place in places:
            at = place.offset
            while at < place.end:
                while offset + len(data) <= at:
                    offset, data = next(remaining)
                stop = min(offset + len(data), place.end)
                assert place.file_offset is not None
                pieces.append((place.file_offset + at - place.offset, data[at - offset : stop - offset]))
                at = stop
        target.storage.write(pieces)
