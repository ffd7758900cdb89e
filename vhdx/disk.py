"""Open or create a disk by its location.

Wraps `vhdx.verbs.engine`, which takes a file system and a path. Offsets and lengths are in bytes and need not be
multiples of the sector size.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Self

from vhdx.arguments import whole
from vhdx.chain.chain import Chain, Found
from vhdx.chain.parents import DEFAULT_POLICY, ParentPolicy
from vhdx.errors import Error
from vhdx.extents import Presence
from vhdx.image.base import CreateOptions, ImageFormat, ImageInfo
from vhdx.location import LocalAddress, Location, Place, locate, shown, sibling
from vhdx.storage.base import Buffer
from vhdx.storage.credentials import Credentials
from vhdx.verbs.engine import NativeEngine
from vhdx.view import DiskFile

if TYPE_CHECKING:
    from vhdx.storage.smb import SmbPool


class DiskExtent(NamedTuple):
    """A range of a disk in bytes; *layer* is an index into `Disk.layers`, or None for NOT_PRESENT.

    DATA is in the file of that layer; ZERO and NOT_PRESENT read as zeros.
    """

    offset: int
    length: int
    presence: Presence
    layer: int | None

    @property
    def end(self) -> int:
        return self.offset + self.length


class Disk:
    """An open disk. Thread-safe; writes are serialised.

    All methods but `close` raise Error if the disk is closed or a range is not inside it.
    """

    def __init__(self, chain: Chain, place: Place) -> None:
        self._open: Chain | None = chain
        self._place = place
        self._size = chain.size
        self._writable = chain.leaf.storage.writable
        self._layers = tuple(place.address.text(layer.path) for layer in chain.layers)

    @property
    def name(self) -> str:
        """The location of the image, without the user name."""
        return self._layers[0]

    @property
    def layers(self) -> tuple[str, ...]:
        """The locations of the files of the chain: the image first, then its parent, and so on."""
        return self._layers

    @property
    def size(self) -> int:
        """Size of the disk in bytes."""
        return self._size

    @property
    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self._writable

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._open is None

    @property
    def info(self) -> ImageInfo:
        """Properties of the image, the first of the layers."""
        return self._chain.leaf.info

    @property
    def _chain(self) -> Chain:
        if self._open is None:
            raise Error(f"{self.name}: the disk is closed; open it again")
        return self._open

    def read(self, offset: int, length: int) -> bytes:
        """Read a range. Raises OSError if the transport fails."""
        return self._chain.read(offset, length)

    def readinto(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill a writable buffer from *offset*."""
        target = memoryview(buffer).cast("B")
        if target.readonly:
            raise TypeError("the buffer must be writable")
        self._chain.readinto(offset, target)

    def write(self, offset: int, data: Buffer) -> None:
        """Write *data* at *offset*. Durable after `flush`; after a crash before that, each sector is old or new.

        Raises ReadOnly, OutOfSpace, Poisoned after an earlier failure, OSError.
        """
        self._chain.write(offset, memoryview(data).cast("B"))

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros; whole blocks are deallocated. Raises like `write`."""
        self._chain.zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Discard a range: whole blocks are deallocated and read as zeros; partial blocks may keep their data."""
        self._chain.discard(offset, length)

    def flush(self) -> None:
        """Make all previous writes durable. Raises OSError; after that, every change raises Poisoned."""
        self._chain.flush()

    def extents(self, offset: int = 0, length: int | None = None) -> Iterator[DiskExtent]:
        """Extents of a range (to the end without *length*): ascending, contiguous, maximal.

        Evaluated lazily, so concurrent writes may or may not be visible.
        """
        offset = whole("offset", offset)
        length = self.size - offset if length is None else whole("length", length)
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Error(f"{self.name}: {length} bytes at {offset} are not inside the disk of {self.size} bytes")
        sector = self._chain.leaf.logical_sector_size
        start, end = offset // sector * sector, -(-(offset + length) // sector) * sector
        return _joined(self._chain.extents(start, end - start), offset, offset + length)

    def file(self) -> DiskFile:
        """The disk as a seekable file with its own position; closing the file leaves the disk open."""
        return DiskFile(self)

    def close(self) -> None:
        """Flush and close the files and the connections that belong to this disk. Idempotent.

        Closes everything, then raises the first error.
        """
        chain, self._open = self._open, None
        with ExitStack() as stack:
            stack.callback(self._place.close)
            if chain is not None:
                stack.callback(chain.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "writable" if self.writable else "read-only"
        return f"<Disk {self.name!r}, {self.size} bytes, {state}>"


def open_disk(
    location: Location,
    *,
    writable: bool = False,
    orphan: bool = False,
    auth: Credentials | None = None,
    format: ImageFormat | None = None,
    policy: ParentPolicy = DEFAULT_POLICY,
    pool: "SmbPool | None" = None,
) -> Disk:
    """Open the disk at a path, an ``smb://`` URL or a UNC path with its parents; close it when done.

    *writable* opens the image for writing, but never its parents; it raises HasChildren if an image in the same
    directory has it as its parent, unless *orphan* is set. *auth*: credentials for a share. *pool*: connections to use;
    without it, connections are closed with the disk. *format*: the format of the image, instead of detecting it;
    required for raw images. *policy*: directories in which parents may be, as local paths or paths on the share.

    Raises FileNotFoundError, PermissionError, ConnectionError and other OSError; FormatError, UnsupportedFeature,
    ParentNotFound, ParentMismatch, InUse, and Error for an invalid location.
    """
    with ExitStack() as stack:
        place = stack.enter_context(locate(location, auth=auth, pool=pool))
        if isinstance(place.address, LocalAddress):
            policy = replace(policy, directories=tuple(map(os.path.abspath, policy.directories)))
        chain = NativeEngine(policy=policy).open_chain(
            place.files, place.path, writable=int(writable), orphan=orphan, format=format
        )
        stack.callback(chain.close)
        disk = Disk(chain, place)
        stack.pop_all()
        return disk


def create_disk(
    location: Location,
    size: int | None = None,
    *,
    options: CreateOptions | None = None,
    parent: Location | None = None,
    any_size: bool = False,
    parent_format: ImageFormat | None = None,
    auth: Credentials | None = None,
    pool: "SmbPool | None" = None,
) -> None:
    """Create an image of *size* bytes, by default a dynamic VHDX. Durable on return.

    With *parent*, a location in the same directory, creates an empty differencing image with the format of the parent,
    and with its size unless *size* is given; *options* must be None then. *any_size* permits a VHD with another size
    than its parent, which Windows refuses. *parent_format*: the format of the parent, instead of detecting it. *auth*
    and *pool* are as in `open`.

    Raises FileExistsError, OutOfSpace, UnequalSizes, Error for a size or options that the format does not support.
    """
    name = shown(location)
    below = None if parent is None else sibling(location, parent)
    if below is not None and options is not None:
        raise Error(f"{name}: a differencing image takes its layout from the parent and accepts no options")
    if below is None and parent_format is not None:
        raise Error(f"{name}: parent_format requires a parent")
    engine = NativeEngine()
    with locate(location, auth=auth, pool=pool) as place:
        if below is not None:
            engine.create_child(
                place.files, place.path, below, size=size, any_size=any_size, parent_format=parent_format
            )
        elif size is not None:
            engine.create(place.files, place.path, size, options)
        else:
            raise Error(f"{name}: a disk without a parent requires a size")


def _joined(found: Iterator[Found], start: int, end: int) -> Iterator[DiskExtent]:
    """Merge adjacent extents of the same layer and presence, clipped to the request; drops file offsets."""
    pending: DiskExtent | None = None
    for number, extent in found:
        layer = None if extent.presence is Presence.NOT_PRESENT else number
        first, last = max(extent.offset, start), min(extent.end, end)
        if pending is not None and (pending.presence, pending.layer) == (extent.presence, layer):
            pending = pending._replace(length=last - pending.offset)
            continue
        if pending is not None:
            yield pending
        pending = DiskExtent(first, last - first, extent.presence, layer)
    if pending is not None and pending.length:
        yield pending
