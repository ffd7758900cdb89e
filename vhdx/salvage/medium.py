"""Reads a file with missing or unreadable parts, and reports those parts."""

import errno
from collections.abc import Sequence

from vhdx.extents import Range
from vhdx.storage.base import Storage

_PAGE = 4096
_MEDIUM = frozenset(
    getattr(errno, name) for name in ("EIO", "ENODATA", "EILSEQ", "EBADMSG", "EREMOTEIO") if hasattr(errno, name)
)
"""Errors of a disk that cannot read a sector, unlike those of a lost connection."""


def is_medium_error(error: OSError) -> bool:
    """Whether only the requested bytes are unreadable."""
    return error.errno in _MEDIUM and not isinstance(error, ConnectionError | TimeoutError)


class Medium:
    """*storage* up to *end*; bytes between end of file and *end* read as zeros. Not thread-safe.

    A failed read is repeated in halves down to pages of 4 KiB, and each failing page is retried once.
    """

    def __init__(self, storage: Storage, *, end: int | None = None) -> None:
        self.storage = storage
        self.held = storage.size()
        self.end = self.held if end is None else end

    def fill(self, pieces: Sequence[tuple[int, memoryview]]) -> list[list[Range]]:
        """Fill each buffer from its offset; returns the unreadable file ranges of each, which are filled with zeros.

        Raises OSError when the transport fails rather than the medium, FormatError when the file was truncated.
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
        """*length* bytes and their unreadable ranges."""
        buffer = bytearray(length)
        bad = self.fill([(offset, memoryview(buffer))])
        return bytes(buffer), bad[0]

    def whole(self, offset: int, length: int) -> bytes | None:
        """*length* bytes, or None if any of them is unreadable."""
        if offset < 0 or offset + length > self.end:
            return None
        data, bad = self.read(offset, length)
        return None if bad else data
