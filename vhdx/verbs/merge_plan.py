"""What a merge would do, worked out without doing any of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from vhdx.chain.chain import Found, resolve
from vhdx.extents import Presence
from vhdx.image.base import DiskType, Readable
from vhdx.verbs.merge import lacking
from vhdx.verbs.zeros import is_zeros


class Direction(Enum):
    """Which file of a merged run is left."""

    DOWN = "down"  # the lowest: it takes what the others hold over it
    UP = "up"  # the highest: it takes what it lacks from the others, which stay as they are
    CHEAPER = "cheaper"  # the one of the two that moves fewer bytes; down where they are equal


@dataclass(frozen=True, slots=True)
class MergePlan:
    """A merge before it is done. Bytes; paths are as the caller's file system takes them.

    *merged* are the files whose content moves into *result*. *moved* is the payload to copy, *needed* the space that
    new blocks take at most, *free* what the file system has. *relinked* are the files that name the top of the run as
    their parent and will name *result*; *orphaned* those that name a changed or removed file otherwise, and would
    lose their parent: with any of them the merge is refused unless the caller gives them up. *cut* is by how much the
    largest disk among *merged* and *result* is longer than the top's, whose size the result gets, and *lost* how much
    of what lies there is data, which no disk shows afterwards: the merge is refused unless the caller lets disks
    shrink. *done* says that a merge that was stopped had moved everything: only relinking and removing are left.
    *links* is how many names the file has whose content changes: with more than one (hard links) the merge is refused
    as it is for *orphaned*.
    """

    direction: Direction
    result: str
    merged: tuple[str, ...]
    moved: int
    needed: int
    free: int
    relinked: tuple[str, ...]
    orphaned: tuple[str, ...]
    done: bool = False
    cut: int = 0
    lost: int = 0
    links: int = 1


def cut_off(layers: Sequence[Readable]) -> tuple[int, int]:
    """What lies behind the end of the first of *layers* in the others: the most of any, and how much of it is data.

    Bytes. Data is counted in the pieces in which the tables name it; one that holds nothing but zeros is none.
    """
    size = layers[0].virtual_size
    tails = [(image, image.virtual_size - size) for image in layers[1:] if image.virtual_size > size]
    lost = sum(
        extent.length
        for image, length in tails
        for extent in image.extents(size, length)
        if extent.presence is Presence.DATA and not is_zeros(image, extent)
    )
    return max((length for _, length in tails), default=0), lost


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of payload to copy, and bytes of blocks that the target has to gain for them."""

    moved: int
    needed: int


def cost_down(layers: Sequence[Readable]) -> Cost:
    """What merging *layers* (top first) into the last of them takes."""
    sources, target = layers[:-1], layers[-1]
    cost = _cost(resolve(sources, 0, sources[0].virtual_size), target)
    # A fixed target takes the space of all that it gains, whatever is in it.
    gained = sources[0].virtual_size - target.virtual_size if target.info.type is DiskType.FIXED else 0
    return Cost(cost.moved, max(cost.needed, gained))


def cost_up(layers: Sequence[Readable], *, alone: bool) -> Cost:
    """What it takes to give the first of *layers* all it lacks."""
    return _cost(lacking(layers, alone=alone), layers[0])


def _cost(found: Iterable[Found], target: Readable) -> Cost:
    block_size = target.info.block_size
    moved = blocks = 0
    counted = -1
    for _, extent in found:
        if extent.presence is not Presence.DATA:
            continue
        moved += extent.length
        if block_size is None:
            continue
        first, last = max(extent.offset // block_size, counted + 1), (extent.end - 1) // block_size
        if first <= last:
            blocks += last - first + 1 - _held(target, first, last, block_size)
            counted = last
    return Cost(moved, blocks * (block_size or 0))


def _held(image: Readable, first: int, last: int, block_size: int) -> int:
    """How many blocks of *first* to *last* the file has space for already."""
    start = first * block_size
    length = min((last + 1) * block_size, image.virtual_size) - start
    if length <= 0:
        return 0
    held, counted = 0, first - 1
    for extent in image.extents(start, length):
        if extent.presence is Presence.DATA:
            begin = max(extent.offset // block_size, counted + 1)
            counted = max(counted, (extent.end - 1) // block_size)
            held += max(counted - begin + 1, 0)
    return held
