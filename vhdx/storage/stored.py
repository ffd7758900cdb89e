"""A range of a file as a sequence of bytes that is read on access."""

import threading
from collections import OrderedDict

from vhdx.extents import Range, spans
from vhdx.storage.base import Storage
from vhdx.storage.transfer import preads

_WINDOW = 128 << 10
_AT_ONCE = 4
"""Windows kept in memory; also the number read at once on sequential access."""


class StoredBytes:
    """The bytes of *place*, a range inside the file; slices are bytes. Caches at most 512 KiB. Thread-safe."""

    def __init__(self, storage: Storage, place: Range) -> None:
        self._storage = storage
        self._place = place
        self._windows: OrderedDict[int, bytes] = OrderedDict()
        self._latest = -1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._place.length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        wanted = spans(start, max(stop - start, 0), _WINDOW)
        with self._lock:
            return b"".join(self._window(span.number)[span.within : span.within + span.length] for span in wanted)

    def _window(self, number: int) -> bytes:
        if number not in self._windows:
            self._load(number)
        else:
            self._windows.move_to_end(number)
        return self._windows[number]

    def _load(self, number: int) -> None:
        count = _AT_ONCE if number == self._latest + 1 else 1
        while len(self._windows) > _AT_ONCE - count:
            self._windows.popitem(last=False)
        offset, end = self._place.offset, self._place.end
        starts = [offset + which * _WINDOW for which in range(number, number + count)]
        places = [(start, min(_WINDOW, end - start)) for start in starts if start < end]
        self._windows.update(enumerate(preads(self._storage, places), number))
        self._latest = number + len(places) - 1
