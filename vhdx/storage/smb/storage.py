"""An open file on a share.

Once its connection is lost a storage stays dead, and every use raises ConnectionError: what was not flushed may be
gone on the server, so only whoever knows what was written can go on, through a new opening.
"""

import errno
import struct
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from vhdx.errors import FormatError, ReadOnly
from vhdx.extents import Range
from vhdx.storage.base import Access, Buffer, Can, Capabilities, FileStatus, Move, Storage, Unsupported
from vhdx.storage.smb import offload
from vhdx.storage.smb.handle import Handle

_END_OF_FILE_INFORMATION = 20
_SMALL = 64 << 10  # bytes


class SmbStorage:
    """Implements `Storage`. Several threads may read and write at once."""

    def __init__(self, handle: Handle, access: Access) -> None:
        self.handle = handle
        self._access = access
        # Nobody else can change the length of a file that is held against writers. None: only the server knows it.
        self._size = handle.size_at_opening if access is not Access.INSPECT else None
        self._resizing = threading.Lock()
        # Also what others wrote before and never flushed.
        self._changed = True
        self._flushing = threading.Lock()  # what is on its way is not durable yet, for nobody

    @property
    def name(self) -> str:
        return self.handle.name

    @property
    def writable(self) -> bool:
        return self._access.writes

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Fill the buffers, with many requests in flight."""
        ranges = [(offset, buffer.nbytes) for offset, buffer in pieces]
        if self._size is not None:
            offload.check_inside(self.name, ranges, self._size)
        parts = self._parts(pieces)
        try:
            counts = self.handle.read(parts)
        except FormatError:
            # The server does not say which of the requests it was.
            offload.check_inside(self.name, ranges, self.handle.size())
            raise
        for (offset, part), count in zip(parts, counts, strict=True):
            if count != len(part):
                reason = f"{len(part)} bytes were expected here, and {count} came"
                raise FormatError("file", offset, reason, file=self.name)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        """Put the buffers in place, with many requests in flight."""
        self._check_writable()
        parts = self._parts(_joined(pieces))
        with self._growing(max((offset + len(part) for offset, part in parts), default=0)):
            for (offset, part), count in zip(parts, self.handle.write(parts), strict=True):
                if count != len(part):
                    raise OSError(errno.EIO, f"the server wrote {count} of {len(part)} bytes at {offset}", self.name)

    def _parts(self, pieces: Iterable[tuple[int, memoryview]]) -> list[tuple[int, memoryview]]:
        """The pieces, cut to what one request may carry."""
        unit = self.handle.connection.request_size
        return [
            (offset + start, data[start : start + unit])
            for offset, data in ((offset, buffer.cast("B")) for offset, buffer in pieces if buffer.nbytes)
            for start in range(0, len(data), unit)
        ]

    def can(self) -> Capabilities:
        return Capabilities(offload.can_zero(self.handle), Can.NO, Can.NO)

    def can_copy(self, source: Storage) -> Can:
        return offload.can_copy(source.handle, self.handle) if isinstance(source, SmbStorage) else Can.NO

    def copy(self, source: Storage, moves: Sequence[Move]) -> None:
        """Copy inside the server; both files must be reached through one connection."""
        self._check_writable()
        origin = source.innermost()
        if not isinstance(origin, SmbStorage):
            raise Unsupported(f"{source.name} is on another kind of storage")
        size = origin.size()
        with self._growing(max((move.target_offset + move.length for move in moves if move.length), default=0)):
            offload.copy(origin.handle, self.handle, moves, source_size=size)

    def identity(self) -> Hashable:
        return self.handle.identity()

    def status(self) -> FileStatus:
        return self.handle.status()

    def innermost(self) -> Storage:
        return self

    def zero(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Zeros made by the server. The file is never marked sparse: Windows refuses images that are."""
        self._check_writable()
        try:
            offload.zero(self.handle, ranges)
        finally:
            self._changed = True

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """No request makes a server really allocate."""
        self._check_writable()
        raise Unsupported(f"{self.name}: an SMB server cannot be made to reserve space for {len(ranges)} ranges")

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        """Servers know the holes only of files that are marked sparse, and images never are."""
        self.handle.check_open()
        raise Unsupported(f"{self.name}: the holes in {length} bytes at {offset} are not known")

    def flush(self) -> None:
        """The barrier: an SMB2 FLUSH. Where nothing was changed since the last one there is nothing to order."""
        self.handle.check_open()
        if not self.writable:
            return
        with self._flushing:
            # What is lost says so all the same.
            if self._changed or not self.handle.connection.alive:
                # What is begun from here on is for the next one.
                self._changed = False
                try:
                    self.handle.flush()
                except BaseException:
                    self._changed = True
                    raise

    def size(self) -> int:
        self.handle.check_open()
        if self._access is Access.INSPECT:
            return self.handle.size()
        with self._resizing:
            if self._size is None:
                self._size = self.handle.size()
            return self._size

    def truncate(self, size: int) -> None:
        """Set the end of the file; reserves nothing."""
        self._check_writable()
        with self._resizing:
            self._size = None
            try:
                self.handle.set(_END_OF_FILE_INFORMATION, struct.pack("<Q", size))
            finally:
                self._changed = True
            self._size = size

    def close(self) -> None:
        self.handle.close()

    def _check_writable(self) -> None:
        self.handle.check_open()
        if not self.writable:
            raise ReadOnly(f"{self.name}: opened for reading")

    @contextmanager
    def _growing(self, end: int) -> Iterator[None]:
        """Keep account of a file that may come to reach to *end*; what failed may have made it longer all the same."""
        try:
            yield
        except BaseException:
            with self._resizing:
                self._size = None
            raise
        finally:
            self._changed = True  # afterwards: a flush meanwhile may have come too early
        with self._resizing:
            if self._size is not None:
                self._size = max(self._size, end)


def _joined(pieces: Sequence[tuple[int, Buffer]]) -> Iterator[tuple[int, memoryview]]:
    """The pieces, small ones that continue each other as one: a request costs more than a copy of so little."""
    held = bytearray()
    start = 0
    for offset, data in pieces:
        view = memoryview(data).cast("B")
        if held and (offset != start + len(held) or len(view) > _SMALL or len(held) > _SMALL):
            yield start, memoryview(held)
            held = bytearray()
        if len(view) > _SMALL:
            yield offset, view
            continue
        if not held:
            start = offset
        held += view
    if held:
        yield start, memoryview(held)
