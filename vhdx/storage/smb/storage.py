"""An open file on a share.

After its connection is lost, every call raises ConnectionError: unflushed writes may be lost on the server, so the
caller must open the file again and check its content.
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
        # The size cannot change while the share access excludes other writers. None: ask the server.
        self._size = handle.size_at_opening if access is not Access.INSPECT else None
        self._resizing = threading.Lock()
        self._flushing = threading.Lock()
        # Initially True, because others may have written without flushing.
        self._changed = True

    @property
    def name(self) -> str:
        return self.handle.name

    @property
    def writable(self) -> bool:
        return self._access.writes

    def read(self, pieces: Sequence[tuple[int, memoryview]]) -> None:
        """Fill the buffers, with pipelined requests."""
        ranges = [(offset, buffer.nbytes) for offset, buffer in pieces]
        if self._size is not None:
            offload.check_inside(self.name, ranges, self._size)
        parts = self._parts(pieces)
        try:
            counts = self.handle.read(parts)
        except FormatError:
            # Find out which of the requests failed.
            offload.check_inside(self.name, ranges, self.handle.size())
            raise
        for (offset, part), count in zip(parts, counts, strict=True):
            if count != len(part):
                reason = f"the server returned {count} of {len(part)} bytes"
                raise FormatError("file", offset, reason, file=self.name)

    def write(self, pieces: Sequence[tuple[int, Buffer]]) -> None:
        """Write the buffers, with pipelined requests."""
        self._check_writable()
        parts = self._parts(_joined(pieces))
        with self._growing(max((offset + len(part) for offset, part in parts), default=0)):
            for (offset, part), count in zip(parts, self.handle.write(parts), strict=True):
                if count != len(part):
                    raise OSError(errno.EIO, f"the server wrote {count} of {len(part)} bytes at {offset}", self.name)

    def _parts(self, pieces: Iterable[tuple[int, memoryview]]) -> list[tuple[int, memoryview]]:
        """The pieces, split to the size of a request."""
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
        """Copy on the server; both files must be open on one connection."""
        self._check_writable()
        origin = source.innermost()
        if not isinstance(origin, SmbStorage):
            raise Unsupported(f"{source.name}: not on an SMB share")
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
        """Zero ranges on the server. The file is never marked sparse, because Windows refuses sparse images."""
        self._check_writable()
        try:
            offload.zero(self.handle, ranges)
        finally:
            self._changed = True

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Unsupported: no request makes a server allocate space."""
        self._check_writable()
        raise Unsupported(f"{self.name}: SMB cannot reserve space for {len(ranges)} ranges")

    def allocated(self, offset: int, length: int) -> Iterator[Range]:
        """Unsupported: servers report allocated ranges only of sparse files, and images are never sparse."""
        self.handle.check_open()
        raise Unsupported(f"{self.name}: cannot query the allocated ranges of {length} bytes at {offset}")

    def flush(self) -> None:
        """Send SMB2 FLUSH, unless nothing was changed since the last one."""
        self.handle.check_open()
        if not self.writable:
            return
        # A FLUSH in flight may be the one that covers earlier writes, so wait for it.
        with self._flushing:
            # On a lost connection this raises, even if nothing was changed.
            if self._changed or not self.handle.connection.alive:
                # Writes that start from here on need another flush.
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
        """Set EndOfFile; allocates nothing."""
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
            raise ReadOnly(f"{self.name}: opened read-only")

    @contextmanager
    def _growing(self, end: int) -> Iterator[None]:
        """Update the known size for a write up to *end*; a failed write may have extended the file, too."""
        try:
            yield
        except BaseException:
            with self._resizing:
                self._size = None
            raise
        finally:
            self._changed = True  # set last: a concurrent flush may not cover these writes
        with self._resizing:
            if self._size is not None:
                self._size = max(self._size, end)


def _joined(pieces: Sequence[tuple[int, Buffer]]) -> Iterator[tuple[int, memoryview]]:
    """Join small contiguous pieces: copying them costs less than a request each."""
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
