"""Convert a chain to one new image without a parent."""

from collections.abc import Iterator
from itertools import groupby

from vhdx.chain.chain import Chain, Found
from vhdx.extents import Extent, Presence
from vhdx.image.base import DiskType, Image, ImageFormat, Progress
from vhdx.storage import transfer
from vhdx.verbs.copying import batches, place
from vhdx.verbs.sifting import copies_inside, sift

_WORTH_ASKING = 1 << 20
"""Bytes in one piece from which on its holes are asked for: over a network the question costs a round trip."""


def convert(
    chain: Chain, target: Image, *, scan_zeros: bool = False, on_progress: Progress | None = None
) -> None:
    """Fill *target*, which is new and reads as zeros, with the disk of *chain*.

    What is known to be zeros stays out. So do zeros that are stored, wherever the payload passes through memory;
    what the kernel or the server copies is copied as it is, unless *scan_zeros* has all of it read. A fixed target
    takes everything.
    """

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, chain.size)

    inside: dict[int, bool] = {}
    if _keeps_zeros(target):
        inside = dict.fromkeys(range(len(chain.layers)), True)
    elif scan_zeros:
        inside = dict.fromkeys(range(len(chain.layers)), False)
    # Stopped, the target is thrown away: nothing of it has to be durable before all of it is.
    for batch in batches(_written(chain)):
        for piece in batch:
            if piece.layer not in inside:
                inside[piece.layer] = copies_inside(piece, chain.images[piece.layer], target)
        for way, group in groupby(batch, key=lambda piece: inside[piece.layer]):
            (place if way else sift)(list(group), chain.images, target)
        done(batch[-1].extent.end)
    target.flush()
    done(chain.size)


def _keeps_zeros(target: Image) -> bool:
    """Whether a target has all of its space anyway; a raw file has not, unless it was asked for."""
    return target.info.type is DiskType.FIXED and target.info.format is not ImageFormat.RAW


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
