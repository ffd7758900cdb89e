"""The 4 KiB metadata pages of a file: what is staged for the next commit, over what is in place.

Pages are read in larger pieces, of which a bounded number is kept, so a table of any size costs the same memory.
"""

from collections import OrderedDict

from vhdx.extents import spans
from vhdx.format.log import PAGE, PageWrite
from vhdx.storage.base import Storage
from vhdx.storage.transfer import allocated, pread

PIECE = 64 << 10
_KEPT = 128
_LONG = 4 * PIECE


class Pages:
    """Reads show staged content; nothing reaches the file from here."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pieces: OrderedDict[int, bytearray] = OrderedDict()
        self._staged: dict[int, bytearray] = {}
        self._committing: dict[int, bytearray] = {}
        self._data_until = 0

    @property
    def file_size(self) -> int:
        """The length of the file now."""
        return self._storage.size()

    def piece(self, offset: int) -> tuple[bytearray, int]:
        """The cached piece that holds *offset*, and where in it. Valid until the next call; never write to it."""
        number, within = divmod(offset, PIECE)
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._load(number)
        else:
            self._pieces.move_to_end(number)
        return piece, within

    def _load(self, number: int) -> bytearray:
        start = number * PIECE
        length = min(PIECE, max(self._storage.size() - start, 0))
        piece = bytearray(pread(self._storage, start, length))
        for page in range(start, start + len(piece), PAGE):
            staged = self._pending(page)
            if staged is not None:
                piece[page - start : page - start + PAGE] = staged
        self._pieces[number] = piece
        if len(self._pieces) > _KEPT:
            self._pieces.popitem(last=False)
        return piece

    def _pending(self, page: int) -> bytearray | None:
        """What a page is to become, where that is not in place yet."""
        staged = self._staged.get(page)
        return self._committing.get(page) if staged is None else staged

    def read(self, offset: int, length: int) -> bytes:
        """Bytes as the next commit will leave them. Raises FormatError beyond end of file."""
        if length > _LONG:
            return self._read_through(offset, length)
        parts = []
        for span in spans(offset, length, PIECE):
            piece, within = self.piece(span.number * PIECE + span.within)
            part = piece[within : within + span.length]
            if len(part) < span.length:
                pread(self._storage, offset, length)
            parts.append(part)
        return b"".join(parts)

    def _read_through(self, offset: int, length: int) -> bytes:
        """What is too long to be kept, in one piece."""
        data = bytearray(pread(self._storage, offset, length))
        for page in range(offset // PAGE * PAGE, offset + length, PAGE):
            staged = self._pending(page)
            if staged is not None:
                start, end = max(page, offset), min(page + PAGE, offset + length)
                data[start - offset : end - offset] = staged[start - page : end - page]
        return bytes(data)

    def stage(self, offset: int, data: bytes) -> None:
        """Put *data* into the pages of the next commit."""
        at = 0
        for span in spans(offset, len(data), PAGE):
            page = span.number * PAGE
            if page not in self._staged:
                self._staged[page] = bytearray(self.read(page, PAGE))
            part = data[at : at + span.length]
            self._staged[page][span.within : span.within + span.length] = part
            piece, within = self.piece(page)
            piece[within + span.within : within + span.within + span.length] = part
            at += span.length

    def next_data(self, offset: int, end: int) -> int:
        """The first place from *offset* on that may hold anything but zeros, or *end*: holes are passed unread.

        Ask it where the page before was all zeros; anywhere else it costs more than reading on.
        """
        if offset < self._data_until:
            return offset
        first = next(allocated(self._storage, offset, end - offset), None)
        if first is not None:
            self._data_until = first.end
        start = end if first is None else max(first.offset, offset)
        pending = (page for pages in (self._staged, self._committing) for page in pages if offset <= page < start)
        return min(pending, default=start)

    def freeze(self) -> list[PageWrite]:
        """The pages of the commit that begins, by ascending offset; what is staged from here on is for the next one.

        They are shown until `settle`. Those of a commit that was broken off come along.
        """
        self._committing = {**self._committing, **self._staged}
        self._staged = {}
        return [PageWrite(offset, bytes(self._committing[offset])) for offset in sorted(self._committing)]

    @property
    def staged_count(self) -> int:
        """Pages that are not in place yet."""
        return len(self._staged) + len(self._committing)

    def settle(self) -> None:
        """The pages of the commit are in place now."""
        self._committing.clear()

    def forget(self, offset: int, length: int) -> None:
        """Drop what is cached of a range that was written behind this cache's back."""
        for number in range(offset // PIECE, -(-(offset + length) // PIECE)):
            self._pieces.pop(number, None)
