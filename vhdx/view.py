"""A disk as a seekable binary file, for whatever reads and writes files.

It is a raw file: each read and write goes to the disk. `io.BufferedReader` and `io.BufferedRandom` make many small ones
cheap. A disk has one size, so the file does not grow: a write past the end is an Error and writes nothing.
"""

import io
import os
from typing import TYPE_CHECKING, NoReturn, Protocol

from vhdx.arguments import whole
from vhdx.storage.base import Buffer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class Sectors(Protocol):
    """The part of a disk that a view needs."""

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
    """A file on a disk; positions in bytes. Closing it flushes the disk and leaves it open.

    A view has one position and is used by one thread at a time; there may be many views of a disk.
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
        """As of a built-in file: ``rb``, or ``rb+`` where the disk is writable."""
        return "rb+" if self._disk.writable else "rb"

    def readable(self) -> bool:
        """Always. Raises ValueError when the view is closed."""
        self._check_open()
        return True

    def writable(self) -> bool:
        """Whether the disk was opened for writing. Raises ValueError when the view is closed."""
        self._check_open()
        return self._disk.writable

    def seekable(self) -> bool:
        """Always. Raises ValueError when the view is closed."""
        self._check_open()
        return True

    def tell(self) -> int:
        """The position in bytes from the start of the disk."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position and return it; past the end is allowed, and nothing is read there.

        Raises ValueError for an unknown *whence* and for a position before the start.
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
        """Fill *buffer* as far as the disk goes and return how many bytes that were; 0 at the end."""
        self._check_open()
        with memoryview(buffer) as view, view.cast("B") as target:
            length = min(len(target), self._left())
            if length:
                self._disk.readinto(self._position, target[:length])
            else:
                self._disk.read(0, 0)  # raises where the disk is closed
        self._position += length
        return length

    def readall(self) -> bytes:
        """All from the position to the end of the disk, however much that is."""
        self._check_open()
        length = self._left()
        data = self._disk.read(self._position if length else 0, length)
        self._position += len(data)
        return data

    def write(self, data: "ReadableBuffer", /) -> int:
        """Put all of *data* at the position and return its length. Durable after `flush`.

        Raises io.UnsupportedOperation for a disk that was opened for reading, Error where *data* reaches past the end;
        nothing is written then.
        """
        self._check_open()
        if not self._disk.writable:
            raise io.UnsupportedOperation("the disk was opened for reading only")
        with memoryview(data) as view, view.cast("B") as source:
            length = len(source)
            if length:
                self._disk.write(self._position, source)
            else:
                self._disk.read(0, 0)
        self._position += length
        return length

    def truncate(self, size: int | None = None, /) -> NoReturn:  # noqa: ARG002
        """A disk's size is changed by `Engine.resize`. Raises io.UnsupportedOperation."""
        raise io.UnsupportedOperation("a disk cannot be truncated or grown through a file; resize the image")

    def flush(self) -> None:
        """Everything written to the disk before, through whatever view, is durable when this returns."""
        self._check_open()
        # A disk that is closed has been flushed by that.
        if not self._disk.closed and self._disk.writable:
            self._disk.flush()

    def __del__(self) -> None:
        """A view that is dropped flushes nothing, unlike other files: what was written is with the disk already."""

    def _left(self) -> int:
        return max(self._disk.size - self._position, 0)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
