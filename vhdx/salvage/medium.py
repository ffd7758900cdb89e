"""Reading a file of which parts are missing or cannot be read: those parts are named, the rest is there."""

import errno
from collections.abc import Sequence

from vhdx.extents import Range
from vhdx.storage.base import Storage

_PAGE = 4096
_MEDIUM = frozenset(
    getattr(errno, name) for name in ("EIO", "ENODATA", "EILSEQ", "EBADMSG", "EREMOTEIO") if hasattr(errno, name)
)
"""What a disk that cannot read a sector ends in; a lost connection is none of them."""


def is_medium_error(error: OSError) -> bool:
    """Whether only the bytes that were asked for cannot be read, and others may be."""
    return error.errno in _MEDIUM and not isinstance(error, ConnectionError | TimeoutError)


class Medium:
    """*storage* up to *end*; bytes before *end* and beyond end of file read as zeros. Not thread-safe.

    What the medium fails to read is read again by halves down to pages of 4 KiB, and each failing page once more.
    """

    def __init__(self, storage: Storage, *, end: int | None = None) -> None:
        self.storage = storage
        self.held = storage.size()
        self.end = self.held if end is None else end

    def fill(self, pieces: Sequence[tuple[int, memoryview]]) -> list[list[Range]]:
        """Fill each buffer from its offset; of each, the ranges of the file that could not be read, which are zeros.

        Raises OSError where not the medium fails but the way to it, FormatError where the file became shorter.
        """
        bad: list[list[Range]] = []
        inside: list[tuple[int, memoryview]] = []
        for offset, buffer in pieces:
            there = min(max(min(self.held, self.end) - offset, 0), len(buffer))
            buffer[there:] = bytes(len(buffer) - there)
            gone = min(max(self.end - offset, 0), len(buffer))
            bad.append([Range(offset + gone, len(buffer) - gone)] if gone < len(buffer) else [])
            inside.append((offset, buffer[:there]))
        try:
            self.storage.read([piece for piece in inside if len(piece[1])])
        except OSError as error:
            if not is_medium_error(error):
                raise
            for (offset, buffer), ranges in zip(inside, bad, strict=True):
                ranges[:0] = self._careful(offset, buffer)
        return bad

    def _careful(self, offset: int, buffer: memoryview) -> list[Range]:
        if not len(buffer):
            return []
        pages = (offset + len(buffer) - 1) // _PAGE - offset // _PAGE + 1
        for _ in range(2 if pages == 1 else 1):
            try:
                self.storage.read([(offset, buffer)])
            except OSError as error:
                if not is_medium_error(error):
                    raise
            else:
                return []
        if pages == 1:
            buffer[:] = bytes(len(buffer))
            return [Range(offset, len(buffer))]
        middle = (offset // _PAGE + pages // 2) * _PAGE - offset
        first, second = self._careful(offset, buffer[:middle]), self._careful(offset + middle, buffer[middle:])
        if first and second and first[-1].end == second[0].offset:
            first[-1] = Range(first[-1].offset, first[-1].length + second.pop(0).length)
        return first + second

    def read(self, offset: int, length: int) -> tuple[bytes, list[Range]]:
        """*length* bytes, and which ranges of them could not be read."""
        buffer = bytearray(length)
        bad = self.fill([(offset, memoryview(buffer))])
        return bytes(buffer), bad[0]

    def whole(self, offset: int, length: int) -> bytes | None:
        """*length* bytes, or None where not all of them can be read."""
        if offset < 0 or offset + length > self.end:
            return None
        data, bad = self.read(offset, length)
        return None if bad else data
