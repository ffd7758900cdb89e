"""A disk in another shape: what a chain reads, in one new image without a parent."""

from collections.abc import Iterator

from vhdx.chain import Chain, Found
from vhdx.extents import Extent, Presence
from vhdx.image.base import Image, Progress
from vhdx.placing import place_all
from vhdx.storage import transfer

_WORTH_ASKING = 1 << 20
"""Bytes in one piece from which on its holes are asked for: over a network the question costs a round trip."""


def convert(chain: Chain, target: Image, *, on_progress: Progress | None = None) -> None:
    """Fill *target*, which is new and reads as zeros, with the disk of *chain*. What is known to be zeros stays out."""

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, chain.size)

    # Stopped, the target is thrown away: nothing of it has to be durable before all of it is.
    place_all(_written(chain), chain.images, target, after_batch=done, resumable=False)
    done(chain.size)


def _written(chain: Chain) -> Iterator[Found]:
    """The data of a disk without the holes of its files, which read as zeros."""
    images, sector = chain.images, chain.leaf.logical_sector_size
    for layer, extent in chain.extents(0, chain.size):
        if extent.presence is not Presence.DATA or extent.file_offset is None:
            continue
        if extent.length < _WORTH_ASKING:
            yield Found(layer, extent)
            continue
        shift = extent.offset - extent.file_offset
        at = extent.offset
        for part in transfer.allocated(images[layer].storage, extent.file_offset, extent.length):
            start = max((part.offset + shift) // sector * sector, at)
            at = min(-(-(part.end + shift) // sector) * sector, extent.end)
            if start < at:
                yield Found(layer, Extent(start, at - start, Presence.DATA, start - shift))
