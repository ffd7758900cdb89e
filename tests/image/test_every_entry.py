"""A changed BAT entry at every position of a 4 KiB page survives the log.

The first and last bytes of a logged page lie in its descriptor, apart from the rest; an engine that put them together
one entry off lost blocks this way.
"""

import pytest

from tests.image import forge
from tests.image.forge import MIB, disk, writer
from tests.support.memory import MemoryFileSystem
from vhdx.extents import Presence, Range

ENTRIES = 512
"""Entries in a page."""


@pytest.mark.parametrize("first", range(0, ENTRIES, 64))
def test_every_position(first: int) -> None:
    files = MemoryFileSystem()
    made = forge.create(files, (ENTRIES + 2) * MIB)
    written: list[int] = []
    for block in (*range(first, first + 64), first):
        image = writer(files)
        with image.allocate([Range(block * MIB, 512)]) as (place,):
            assert place.file_offset is not None
            image.storage.write([(place.file_offset, (block + 1).to_bytes(4, "little") * 128)])
        image.flush()
        image.abandon()
        written.append(block)
        assert made.spoil_logged_pages() or block == first
        with disk(files) as chain:
            found = (extent for _, extent in chain.extents(0, chain.size))
            assert next(one.offset for one in found if one.presence is Presence.DATA) == first * MIB
            for known in written:
                assert chain.read(known * MIB, 512) == (known + 1).to_bytes(4, "little") * 128
            for other in {0, 1, ENTRIES - 1, ENTRIES, first - 1, block + 1} - set(written) - {-1}:
                assert chain.read(other * MIB, 512) == bytes(512)
