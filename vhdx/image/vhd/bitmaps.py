"""The sector bitmaps of an open VHD, read on demand and staged for the commit.

Those of blocks that the table in the file does not name yet are written before payload is made durable, those of
others after it: a bit must not say that a sector is here before it is.
"""

from collections import OrderedDict
from collections.abc import Container, Sequence

from vhdx.extents import Range, all_equal, put_bits
from vhdx.format.vhd_bat import VhdLayout, reverse_bits
from vhdx.storage.base import Storage
from vhdx.storage.transfer import preads

_MEMORY = 4 << 20


class Bitmaps:
    """Bitmaps by block, counted from the least significant bit; *place* is where the block lies."""

    def __init__(self, storage: Storage, layout: VhdLayout) -> None:
        self._storage = storage
        self._size = layout.bitmap_size
        self._full = b"\xff" * self._size
        self._kept = max(_MEMORY // self._size, 64)
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._new: dict[int, tuple[int, bytes]] = {}
        self._changed: dict[int, tuple[int, bytes]] = {}
        self._committing: list[dict[int, tuple[int, bytes]]] = [{}, {}]  # of new blocks, of others
        self._known_full = bytearray()

    def bits(self, block: int, place: int) -> bytes:
        """The bitmap of a block as the next commit will leave it."""
        for staged in (self._new, self._changed, *self._committing):
            if block in staged:
                return staged[block][1]
        if block not in self._cache:
            self.fetch([(block, place)])
        return self._cache[block]

    def fetch(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Read the bitmaps of blocks (number, place) in one call, at most 64 of them."""
        known: list[Container[int]] = [self._cache, self._new, self._changed, *self._committing]
        missing = [(block, place) for block, place in wanted if not any(block in store for store in known)]
        if not missing:
            return
        contents = preads(self._storage, [(place, self._size) for _, place in missing])
        for (block, _), content in zip(missing, contents, strict=True):
            self._cache[block] = reverse_bits(content)
        for block, _ in wanted:
            if block in self._cache:
                self._cache.move_to_end(block)
        while len(self._cache) > self._kept:
            self._cache.popitem(last=False)

    def start(self, block: int, place: int, sectors: Sequence[Range] | None) -> None:
        """Stage the bitmap of a new block: only *sectors* are here, or all where it is None."""
        if sectors is None:
            bits = self._full
            self._note_full(block)
        else:
            fresh = bytearray(self._size)
            for run in sectors:
                put_bits(fresh, run.offset, run.length, value=True)
            bits = bytes(fresh)
        self._cache.pop(block, None)
        self._new[block] = (place, bits)

    def put(self, block: int, place: int, sectors: Sequence[Range], *, value: bool) -> None:
        """Stage set or cleared bits."""
        old = self.bits(block, place)
        changed = bytearray(old)
        for run in sectors:
            put_bits(changed, run.offset, run.length, value=value)
        if changed != old:
            self._stage(block, place, bytes(changed))

    def are_set(self, block: int, place: int, first: int, stop: int) -> bool:
        """Whether the bits from *first* to before *stop* are set, as the next commit will leave them."""
        if block < len(self._known_full) and self._known_full[block]:
            return True
        return bool(all_equal(self.bits(block, place), first, stop))

    def fill(self, block: int, place: int) -> None:
        """Stage that all of a block is here, if its bitmap does not say so."""
        if block < len(self._known_full) and self._known_full[block]:
            return
        if self.bits(block, place) != self._full:
            self._stage(block, place, self._full)
        self._note_full(block)

    def _note_full(self, block: int) -> None:
        if block >= len(self._known_full):
            self._known_full.extend(bytes(block + 1 - len(self._known_full)))
        self._known_full[block] = 1

    def _stage(self, block: int, place: int, bits: bytes) -> None:
        if block in self._new:
            self._new[block] = (place, bits)
        else:
            self._changed[block] = (place, bits)

    def forget(self, block: int) -> None:
        """The block has no place any more."""
        for bitmaps in (self._new, self._changed, *self._committing):
            bitmaps.pop(block, None)
        self._cache.pop(block, None)
        if block < len(self._known_full):
            self._known_full[block] = 0

    def freeze(self) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        """The bitmaps of the commit that begins, by ascending place: of new blocks, and of others.

        The first are to be written before payload is made durable, the others after it. What is staged from here on is
        for the next commit. Those of a commit that was broken off come along.
        """
        new, changed = self._committing
        new = {**new, **self._new}
        # What became of a new block since is still the bitmap of a block that the table in the file does not name.
        new.update({block: self._changed.pop(block) for block in new if block in self._changed})
        self._committing = [new, {**changed, **self._changed}]
        self._new, self._changed = {}, {}
        first, late = (
            sorted((place, reverse_bits(bits)) for place, bits in bitmaps.values()) for bitmaps in self._committing
        )
        return first, late

    def named(self) -> None:
        """Treat the new blocks as older ones from now on: the table in the file may refer to them."""
        new, changed = self._committing
        self._committing = [{}, {**changed, **new}]

    def partial(self) -> list[int]:
        """Blocks with a staged bitmap that does not say that all of the block is here."""
        staged = (*self._new.items(), *self._changed.items())
        return [block for block, (_, bits) in staged if bits != self._full]

    def settle(self) -> None:
        """The bitmaps of the commit are written."""
        for bitmaps in self._committing:
            for block, (_, bits) in bitmaps.items():
                self._cache[block] = bits
            bitmaps.clear()
        while len(self._cache) > self._kept:
            self._cache.popitem(last=False)

    @property
    def staged_size(self) -> int:
        """Bytes of memory that staged bitmaps take."""
        return sum(map(len, (self._new, self._changed, *self._committing))) * self._size
