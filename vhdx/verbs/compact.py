"""Giving back the space that a disk does not need: blocks that hold nothing but zeros, and holes in the file.

The disk reads the same before, during and after, so children of the image stay its children.
"""

from collections.abc import Iterator, Sequence

from vhdx.chain.chain import Chain, Found, resolve
from vhdx.errors import Error
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import DiskType, Image, Progress, Readable
from vhdx.verbs.zeros import is_zeros

_BATCH = 64
"""Blocks given back between two flushes."""


def compact(chain: Chain, *, scan: bool = True, on_progress: Progress | None = None) -> None:
    """Make the file of the leaf small. Every stop leaves a sound image with the same content.

    *scan* reads every block that the file holds and drops those of zeros; over a parent that has something there, the
    block goes on masking it. Without it only what is known to be unused goes. Raises Error for an image of a fixed
    size, FormatError for one in which blocks share places, OutOfSpace, Cancelled.
    """
    leaf = chain.leaf
    block_size = leaf.info.block_size
    if block_size is None or leaf.info.type is DiskType.FIXED:
        raise Error(f"{leaf.storage.name}: only dynamic and differencing images can be compacted")
    # One place of two blocks would have to be moved to two.
    for fault in chain.shared():
        if fault.file == leaf.storage.name:
            raise fault
    done: Progress = on_progress or _ignore
    if scan:
        _drop_zeros(chain, block_size, done)
    leaf.pack(done)


def _ignore(done: int, total: int) -> None:
    pass


def _drop_zeros(chain: Chain, block_size: int, on_progress: Progress) -> None:
    leaf, below = chain.leaf, chain.images[1:]
    batches: dict[bool, list[Range]] = {False: [], True: []}
    for block, extents in _allocated_blocks(leaf, block_size):
        if not all(is_zeros(leaf, extent) for extent in extents if extent.presence is Presence.DATA):
            continue
        masked, absent_zeros = _under(below, block, extents)
        if not absent_zeros:
            continue
        batches[masked].append(block)
        if sum(map(len, batches.values())) >= _BATCH:
            _give_back(leaf, batches)
            on_progress(block.end, chain.size)
    _give_back(leaf, batches)


def _give_back(leaf: Image, batches: dict[bool, list[Range]]) -> None:
    for masked, blocks in batches.items():
        if blocks:
            leaf.drop_zeros(blocks, masked=masked)
            blocks.clear()
    leaf.flush()


def _allocated_blocks(leaf: Readable, block_size: int) -> Iterator[tuple[Range, list[Extent]]]:
    """Every block of which the file holds something, and what it says of it."""
    size, at = leaf.virtual_size, 0
    for extent in leaf.extents(0, size):
        if extent.presence is not Presence.DATA or extent.end <= at:
            continue
        at = max(at, extent.offset // block_size * block_size)
        while at < extent.end:
            block = Range(at, min(block_size, size - at))
            yield block, list(leaf.extents(block.offset, block.length))
            at += block_size


def _under(below: Sequence[Readable], block: Range, extents: Sequence[Extent]) -> tuple[bool, bool]:
    """Whether the parents have anything in *block*, and whether they read as zeros where the leaf has nothing."""
    if not below:
        return False, True
    masked = any(found.extent.presence is Presence.DATA for found in _resolve_inside(below, block))
    for extent in extents:
        if extent.presence is Presence.NOT_PRESENT and masked:
            for layer, piece in _resolve_inside(below, Range(extent.offset, extent.length)):
                if piece.presence is Presence.DATA and not is_zeros(below[layer], piece):
                    return masked, False
    return masked, True


def _resolve_inside(below: Sequence[Readable], wanted: Range) -> Iterator[Found]:
    """What lies under a range, as far as the uppermost parent goes."""
    length = min(wanted.end, below[0].virtual_size) - wanted.offset
    return resolve(below, wanted.offset, length) if length > 0 else iter(())
