"""A disk as a seekable binary file object.

The file is unbuffered; wrap it in `io.BufferedReader` or `io.BufferedRandom` for many small reads and writes. Its size
is fixed: a write beyond the end raises Error and writes nothing.
"""

import io
import os
from typing import TYPE_CHECKING, NoReturn, Protocol

from vhdx.arguments import whole
from vhdx.storage.base import Buffer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class Sectors(Protocol):
    """The part of `Disk` that a view uses."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def writable(self) -> bool: ...

    @property
    def closed(self) -> bool: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def readinto(self, offset: int, buffer: memoryview) -> None: ...

    def write(self, offset: int, data: Buffer) -> None: ...

    def flush(self) -> None: ...


class DiskFile(io.RawIOBase):
    """A file object on a disk; positions in bytes. Closing it flushes the disk and leaves it open.

    A view is not thread-safe, because it has a position; a disk can have any number of views.
    """

    def __init__(self, disk: Sectors) -> None:
        super().__init__()
        self._disk = disk
        self._position = 0

    @property
    def name(self) -> str:
        """The location of the disk."""
        return self._disk.name

    @property
    def mode(self) -> str:
        """As for a built-in file: ``rb``, or ``rb+`` if the disk is writable."""
        return "rb+" if self._disk.writable else "rb"

    def readable(self) -> bool:
        """True. Raises ValueError if the view is closed."""
        self._check_open()
        return True

    def writable(self) -> bool:
        """Whether the disk was opened for writing. Raises ValueError if the view is closed."""
        self._check_open()
        return self._disk.writable

    def seekable(self) -> bool:
        """True. Raises ValueError if the view is closed."""
        self._check_open()
        return True

    def tell(self) -> int:
        """The position in bytes from the start of the disk."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position and return it; it may be beyond the end, where reads return nothing.

        Raises ValueError for an invalid *whence* and for a negative position.
        """
        self._check_open()
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._disk.size}
        if whence not in bases:
            raise ValueError(f"{whence} is not a valid whence")
        position = bases[whence] + whole("offset", offset)
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill *buffer* up to the end of the disk and return the number of bytes; 0 at the end."""
        self._check_open()
        with memoryview(buffer) as view, view.cast("B") as target:
            length = min(len(target), self._left())
            if length:
                self._disk.readinto(self._position, target[:length])
            else:
                self._disk.read(0, 0)  # raises if the disk is closed
        self._position += length
        return length

    def readall(self) -> bytes:
        """Read from the position to the end of the disk into memory."""
        self._check_open()
        length = self._left()
        data = self._disk.read(self._position if length else 0, length)
        self._position += len(data)
        return data

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of *data* at the position and return its length. Durable after `flush`.

        Raises io.UnsupportedOperation if the disk was opened read-only, Error if *data* extends beyond the end; writes
        nothing then.
        """
        self._check_open()
        if not self._disk.writable:
            raise io.UnsupportedOperation("the disk was opened read-only")
        with memoryview(data) as view, view.cast("B") as source:
            length = len(source)
            if length:
                self._disk.write(self._position, source)
            else:
                self._disk.read(0, 0)
        self._position += length
        return length

    def truncate(self, size: int | None = None, /) -> NoReturn:  # noqa: ARG002
        """Raises io.UnsupportedOperation; use `Engine.resize` to resize a disk."""
        raise io.UnsupportedOperation("a disk cannot be resized through a file object; resize the image")

    def flush(self) -> None:
        """Make all previous writes to the disk durable, including those through other views."""
        self._check_open()
        # Closing a disk flushes it.
        if not self._disk.closed and self._disk.writable:
            self._disk.flush()

    def __del__(self) -> None:
        """Unlike other files, a view does not flush when it is garbage-collected: it has no buffer."""

    def _left(self) -> int:
        return max(self._disk.size - self._position, 0)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
