"""A disk through its layers: each sector comes from the newest layer that has it.

Layers are numbered from the leaf, which is 0. A layer that ends before the one above it reads as zeros from there on,
whatever lies further down.
"""

import os
import posixpath
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import get_ident
from typing import NamedTuple, Self

from vhdx.arguments import whole
from vhdx.chain.parents import DEFAULT_POLICY, Layer, ParentPolicy, find_parent
from vhdx.errors import Error, FormatError
from vhdx.extents import NOT_PRESENT, Extent, Presence, Range
from vhdx.image.base import ALLOCATE_LIMIT, Image, ImageFormat, NewId, Readable
from vhdx.image.open import open_image
from vhdx.logs import debug
from vhdx.storage import ownership
from vhdx.storage.base import Access, Buffer, FileSystem
from vhdx.storage.transfer import pread

Claim = Callable[[Sequence[str]], Access]
"""Returns how to open the next layer, given the paths of the layers above it."""


class Found(NamedTuple):
    """An extent and the number of the layer that it comes from."""

    layer: int
    extent: Extent


def resolve(images: Sequence[Readable], offset: int, length: int) -> Iterator[Found]:
    """The extents of *images* (leaf first) as one disk, ascending and contiguous.

    NOT_PRESENT only where no layer has data and no layer ends.
    """
    sizes = [image.virtual_size for image in images]

    def look(layer: int, offset: int, length: int) -> Iterator[Found]:
        for extent in images[layer].extents(offset, length):
            if extent.presence is not Presence.NOT_PRESENT or layer + 1 == len(images):
                yield Found(layer, extent)
                continue
            inside = min(max(sizes[layer + 1] - extent.offset, 0), extent.length)
            if inside:
                yield from look(layer + 1, extent.offset, inside)
            if inside < extent.length:
                yield Found(layer, Extent(extent.offset + inside, extent.length - inside, Presence.ZERO))

    return look(0, offset, length)


class Chain:
    """The layers of one disk, open. Any offsets and lengths in bytes.

    Any number of threads may read and write at the same time. Only the process that opened it may use it.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self._opener = os.getpid()
        self._sector = self.leaf.logical_sector_size
        # Files that are open for reading are protected from changes by the claim on them.
        self._changing = [layer.image for layer in layers if layer.image.storage.writable]

    @classmethod
    def open(
        cls,
        files: FileSystem,
        path: str,
        *,
        new_id: NewId,
        writable: int = 0,
        down_to: Hashable | None = None,
        writing: Access = Access.WRITE,
        access: Access = Access.READ,
        claim: Claim | None = None,
        policy: ParentPolicy = DEFAULT_POLICY,
        format: ImageFormat | None = None,
    ) -> Self:
        """Open *path* and everything under it; the first *writable* layers with *writing*, the rest with *access*.

        With *down_to*, the identity of a file, as many are opened for writing as lead to that one; all, where it is
        not among them. With *claim* that says how each is opened, and the other three say nothing.

        *format* says what *path* is instead of its content; parents are always of the child's format. Where *path* is
        a symbolic link, parents are those of the file that it leads to. Raises ParentNotFound, ParentMismatch, InUse,
        FormatError (also for a cycle or too many layers).
        """
        path = files.resolve(path)
        with ExitStack() as stack:
            layers: list[Layer] = []
            seen: set[Hashable] = set()

            def admit(layer: Layer) -> None:
                stack.callback(layer.image.close)
                identity = layer.image.storage.identity()
                if identity in seen:
                    raise FormatError("chain", None, "the parents form a circle", file=files.describe(path))
                if len(layers) == policy.most_layers:
                    reason = f"more than {policy.most_layers} layers"
                    raise FormatError("chain", None, reason, file=files.describe(path))
                seen.add(identity)
                layers.append(layer)

            def mode() -> Access:
                if claim is not None:
                    return claim([layer.path for layer in layers])
                above = len(layers) < writable if down_to is None else down_to not in seen
                return writing if above else access

            # Beneath its directory: a link that takes its place now would have relatives elsewhere.
            storage = files.open(path, mode(), beneath=posixpath.dirname(path))
            admit(Layer(path, open_image(storage, new_id=new_id, format=format)))
            while (info := layers[-1].image.info).parent is not None:
                admit(find_parent(files, layers[-1].path, info, policy, access=mode(), new_id=new_id))
            stack.pop_all()
            debug(__name__, "%s: a chain of %d layers", files.describe(path), len(layers))
            return cls(layers)

    @property
    def images(self) -> list[Image]:
        """The images, leaf first."""
        return [layer.image for layer in self.layers]

    @property
    def leaf(self) -> Image:
        return self.layers[0].image

    @property
    def size(self) -> int:
        """Bytes of the disk: the leaf's size counts."""
        return self.leaf.virtual_size

    def extents(self, offset: int, length: int) -> Iterator[Found]:
        """Where a range of whole sectors comes from. NOT_PRESENT reads as zeros, like ZERO."""
        if self._opener != os.getpid():
            raise self._refusal()
        return resolve(self.images, whole("offset", offset), whole("length", length))

    def shared(self) -> list[FormatError]:
        """For every layer with overlapping blocks, the first two of them: see `Image.shared`.

        To be called before the whole disk is read. Raises FormatError if that would take unbounded time.
        """
        return [fault for image in self.images if (fault := image.shared()) is not None]

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range. Raises Error outside the disk."""
        if self._opener != os.getpid():  # before any lock: threads that held one do not come along with a fork
            raise self._refusal()
        offset, length = whole("offset", offset), whole("length", length)
        if not self._changing:
            return self._read(offset, length)
        if len(self._changing) > 1:
            with self._pinned():
                return self._read(offset, length)
        gate = self._changing[0].gate
        period = gate.pin()
        try:
            return self._read(offset, length)
        finally:
            gate.unpin(period)

    def _read(self, offset: int, length: int) -> bytes:
        found = self._locate(offset, length)
        if found is not None:
            image, place = found
            return bytes(length) if image is None else pread(image.storage, place, length)
        self._check(offset, length)
        start, end = self._sectors(offset, length)
        buffer = bytearray(end - start)
        self._fill(start, memoryview(buffer))
        return bytes(buffer if len(buffer) == length else buffer[offset - start : offset - start + length])

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill *buffer* with the bytes from *offset* on. Raises Error outside the disk."""
        if self._opener != os.getpid():
            raise self._refusal()
        offset = whole("offset", offset)
        with self._pinned():
            found = self._locate(offset, len(buffer))
            if found is not None and found[0] is not None:
                found[0].storage.read([(found[1], buffer)])
                return
            self._check(offset, len(buffer))
            if self._sectors(offset, len(buffer)) == (offset, offset + len(buffer)):
                buffer[:] = bytes(len(buffer))
                self._fill(offset, buffer)
            else:
                buffer[:] = self._read(offset, len(buffer))

    def _pinned(self) -> AbstractContextManager[object]:
        if len(self._changing) == 1:
            return self._changing[0].pinned()
        stack = ExitStack()
        for image in self._changing:
            stack.enter_context(image.pinned())
        return stack

    def _locate(self, offset: int, length: int) -> tuple[Image | None, int] | None:
        """The image with all of a range in one piece, and its offset; no image: zeros; None: unknown, use extents()."""
        for layer in self.layers:
            image = layer.image
            found = image.locate(offset, length)
            if found is NOT_PRESENT:
                continue
            if isinstance(found, int):
                return image, found
            return None if found is None else (None, 0)
        return None, 0

    def _fill(self, start: int, view: memoryview) -> None:
        """Read everything but zeros into *view*, which is all zeros."""
        pieces: dict[int, list[tuple[int, memoryview]]] = {}
        for layer, extent in self.extents(start, len(view)):
            if extent.file_offset is not None:
                at = extent.offset - start
                pieces.setdefault(layer, []).append((extent.file_offset, view[at : at + extent.length]))
        for layer, wanted in pieces.items():
            self.layers[layer].image.storage.read(wanted)

    def write(self, offset: int, data: Buffer) -> None:
        """Write *data* to the leaf. Durable after `flush`; after a crash before that, each sector is old or new."""
        offset = whole("offset", offset)
        if offset % self._sector or len(data) % self._sector:
            with self._inside(alone=True):
                self._write(offset, data)
            return
        leaf = self._admitted()
        gate = leaf.gate
        # The fast path of most writes; `_inside` costs more.
        gate.enter()
        try:
            if self.layers[0].image is leaf and leaf.overwrite(offset, data):
                return
        finally:
            gate.leave()
        with self._inside():
            self._write(offset, data)

    @contextmanager
    def _inside(self, *, alone: bool = False) -> Iterator[None]:
        """One change: beside others, or *alone* if part of a sector is preserved, which another thread may be writing.

        Raises Error where a finalizer or a signal handler interrupts one with another.
        """
        while True:
            leaf = self._admitted()
            with leaf.gate.alone() if alone else leaf.beside():
                if self.layers[0].image is leaf:  # else the leaf was replaced while this waited
                    yield
                    return

    def _admitted(self) -> Image:
        """The leaf, to be changed. Raises Error in another process, and where this thread is changing it already."""
        if self._opener != os.getpid():  # before any lock: threads that held one do not come along with a fork
            raise self._refusal()
        leaf = self.layers[0].image
        if get_ident() in leaf.gate.inside:
            name = leaf.storage.name
            raise Error(f"{name}: this thread is changing it already; a finalizer or signal handler must not")
        return leaf

    def _write(self, offset: int, data: Buffer) -> None:
        self._check(offset, len(data))
        start, end = self._sectors(offset, len(data))
        if (start, end) != (offset, offset + len(data)):
            behind = offset + len(data)
            data = b"".join((self.read(start, offset - start), data, self.read(behind, end - behind)))
        view = memoryview(data)
        for at in range(0, len(view), ALLOCATE_LIMIT):
            part = view[at : at + ALLOCATE_LIMIT]
            with self.leaf.allocate([Range(start + at, len(part))]) as places:
                pieces = []
                for place in places:
                    assert place.file_offset is not None
                    within = place.offset - start - at
                    pieces.append((place.file_offset, part[within : within + place.length]))
                self.leaf.storage.write(pieces)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros."""
        offset, length = whole("offset", offset), whole("length", length)
        with self._inside(alone=bool(offset % self._sector or length % self._sector)):
            self._zero(offset, length)

    def _zero(self, offset: int, length: int) -> None:
        self._check(offset, length)
        sector = self._sector
        start, stop = -(-offset // sector) * sector, (offset + length) // sector * sector
        if start >= stop:
            self._write(offset, bytes(length))
            return
        if offset < start:
            self._write(offset, bytes(start - offset))
        self.leaf.zero(start, stop - start)
        if stop < offset + length:
            self._write(stop, bytes(offset + length - stop))

    def discard(self, offset: int, length: int) -> None:
        """Discard a range; what is discarded reads as zeros."""
        offset, length = whole("offset", offset), whole("length", length)
        with self._inside():
            self._check(offset, length)
            sector = self._sector
            start, stop = -(-offset // sector) * sector, (offset + length) // sector * sector
            if start < stop:
                self.leaf.discard(start, stop - start)

    def flush(self) -> None:
        """Everything written before is durable when this returns."""
        self._admitted().flush()

    def close(self) -> None:
        """Close every layer, the leaf first; goes on when one fails and raises the first failure.

        In a forked process nothing is flushed, and the files stay held by the process that opened them.
        """
        self._opener = ownership.CLOSED
        with ExitStack() as stack:
            for layer in reversed(self.layers):
                stack.callback(layer.image.close)

    def _refusal(self) -> Error:
        return ownership.refusal(self.leaf.storage.name, self._opener)

    def _sectors(self, offset: int, length: int) -> tuple[int, int]:
        sector = self._sector
        return offset // sector * sector, -(-(offset + length) // sector) * sector

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            name = self.leaf.storage.name
            raise Error(f"{name}: {length} bytes at {offset} are not inside the disk of {self.size} bytes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
