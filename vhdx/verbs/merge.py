"""Merging a run of layers into one of them: down into the lowest, or up into the highest.

Down: the first write to the target would break the linkage of the layer above it. So the target's next DataWriteGuid
is chosen beforehand and recorded in that layer as second linkage; then the target takes it; then the payload goes
down. Stopped at any point, every disk that reads through the top layer opens and reads as before, and merging again
finishes: what was copied is masked by the layers it was copied from. A VHD keeps its id, so it needs no preparation.

Up: the top takes what it lacks from the layers under it, and then lets go of them. Its disk reads the same at every
moment, so nothing above it has to know, and the layers below stay what they were, for other children too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vhdx.chain.chain import Chain, Found, resolve
from vhdx.extents import Presence, spans
from vhdx.image.base import Image, ImageFormat, NewId, ParentLink, Progress, Readable
from vhdx.verbs.copying import place_all

_PIECE = 1 << 20


def merge(
    layers: Sequence[Image], *, below: int = 0, new_id: NewId, on_progress: Progress | None = None
) -> None:
    """Write what *layers* (top first) hold over the last of them into it; the top's size wins.

    *below* is the virtual size of what lies under the target. The target and the layer above it are open for
    writing. Afterwards the target reads as the top does, and the layers between are no longer valid as
    standalone images.
    """
    sources, target = layers[:-1], layers[-1]
    _declare(sources[-1], target, new_id)
    size = sources[0].virtual_size
    if size > target.virtual_size:
        target.resize(size, below=below)

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, size)

    place_all(resolve(sources, 0, size), sources, target, after_batch=done)
    if size < target.virtual_size:
        target.resize(size)
    done(size)


def _declare(above: Image, target: Image, new_id: NewId) -> None:
    link, present = above.info.parent, target.info.linkage
    assert link is not None
    if target.info.format is ImageFormat.VHD:
        target.begin()
        return
    assert present is not None
    # Another one each time, also when a stopped merge goes on: the target's content is about to change again.
    following = new_id()
    above.set_parent(replace(link, linkage=present, linkage2=following))
    target.begin(data_write_guid=following)


def is_merged(chain: Chain, count: int) -> bool:
    """Whether the lowest of the first *count* layers reads as the first does already, so that nothing is to be moved.

    Reads what the layers between hold, up to the first difference.
    """
    below = Chain(chain.layers[count - 1 :])
    if chain.size != below.size:
        return False
    for _, extent in resolve(chain.images[: count - 1], 0, chain.size):
        if extent.presence is Presence.NOT_PRESENT:
            continue
        for span in spans(extent.offset, extent.length, _PIECE):
            at = span.number * _PIECE + span.within
            if chain.read(at, span.length) != below.read(at, span.length):
                return False
    return True


def pull(
    layers: Sequence[Image], *, parent: ParentLink | None, on_progress: Progress | None = None
) -> None:
    """Write into the first of *layers* what the others hold under it, then give it *parent*, which lies under the last.

    Only the first is open for writing; it reads the same throughout, so its linkage stays. Stopped at any point it
    reads as before, and pulling again finishes.
    """
    top = layers[0]
    size = top.virtual_size

    def done(offset: int) -> None:
        if on_progress is not None:
            on_progress(offset, size)

    top.begin(data_write_guid=top.info.linkage)
    place_all(lacking(layers, alone=parent is None), layers, top, after_batch=done)
    if parent is None:
        _complete_blocks(top)
    top.flush()
    top.set_parent(parent)
    done(size)


def lacking(layers: Sequence[Readable], *, alone: bool) -> Iterator[Found]:
    """What the first of *layers* would have to be given to read the same without the others; *alone*: without any."""
    return (found for found in resolve(layers, 0, layers[0].virtual_size) if _lacks(found, alone=alone))


def _lacks(found: Found, *, alone: bool) -> bool:
    """Whether the top has to be given this; zeros only where something below could come through instead."""
    if found.extent.presence is Presence.DATA:
        return found.layer > 0
    return found.extent.presence is Presence.ZERO and not alone


def _complete_blocks(image: Image) -> None:
    """Zeros into the absent parts of blocks that hold something, which nothing below fills any more."""
    block_size = image.info.block_size
    assert block_size is not None
    size = image.virtual_size
    absent = [
        (extent.offset, extent.end)
        for extent in image.extents(0, size)
        if extent.presence is Presence.NOT_PRESENT
        and (extent.offset % block_size or (extent.end % block_size and extent.end != size))
    ]
    for start, end in absent:
        first = min(-(-start // block_size) * block_size, end)
        last = end if end == size else max(end // block_size * block_size, first)
        if start < first:
            image.zero(start, first - start)
        if last < end:
            image.zero(last, end - last)
