"""How much of each part of a disk each layer holds, counted exactly from extents.

A part, or column, is a range of the disk; extents are cut at its edges, so that the numbers of a layer add up to what
its extents say. What is kept are the numbers: any number of extents can go by.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vhdx.chain.chain import Chain
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import ImageInfo

_SECTOR = 512
COLUMNS = 1024


class Counts:
    """Bytes for each column of *width* bytes."""

    def __init__(self, columns: int, width: int) -> None:
        self._width = width
        self.columns = array("Q", bytes(8 * columns))

    @property
    def total(self) -> int:
        return sum(self.columns)

    def add(self, offset: int, length: int) -> None:
        """Count a range of the disk."""
        width, columns = self._width, self.columns
        first, within = divmod(offset, width)
        if within + length <= width:
            columns[first] += length
            return
        columns[first] += width - within
        last, rest = divmod(offset + length, width)
        for number in range(first + 1, last):
            columns[number] += width
        if rest:
            columns[last] += rest


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of one layer in a disk, in bytes for each column.

    *held*: data in its file; *visible*: the part of it that no layer above hides; *zero*: what it says is zeros,
    whatever lies below. A layer may end before the disk does, and reaches up to *end*.
    """

    name: str
    info: ImageInfo
    end: int
    held: Counts
    visible: Counts
    zero: Counts


@dataclass(frozen=True, slots=True)
class Survey:
    """A disk of *size* bytes, cut into columns of *width* bytes, and the share of each layer, the leaf first."""

    size: int
    width: int
    layers: tuple[Portion, ...]

    @property
    def columns(self) -> int:
        """How many there are; the last may be narrower."""
        return -(-self.size // self.width)

    def column(self, number: int) -> Range:
        """The range of the disk that a column stands for."""
        start = number * self.width
        return Range(start, min(self.width, self.size - start))

    @property
    def data(self) -> int:
        """Bytes of the disk that are in some file."""
        return sum(layer.visible.total for layer in self.layers)


def survey(chain: Chain, names: Sequence[str], columns: int = COLUMNS) -> Survey:
    """Look through every layer of *chain*, whose files are called *names*, in at most *columns* columns.

    Raises what reading the tables of an image raises.
    """
    size = chain.size
    width = max(-(-size // (columns * _SECTOR)), 1) * _SECTOR
    count = -(-size // width)
    seen = [Counts(count, width) for _ in chain.images]
    for layer, extent in chain.extents(0, size):
        if extent.presence is Presence.DATA:
            seen[layer].add(extent.offset, extent.length)
    shares = []
    for name, image, visible in zip(names, chain.images, seen, strict=True):
        held, zero = Counts(count, width), Counts(count, width)
        end = min(size, image.virtual_size)
        _count(image.extents(0, end), held, zero)
        shares.append(Portion(name, image.info, end, held, visible, zero))
    return Survey(size, width, tuple(shares))


def _count(extents: Iterable[Extent], held: Counts, zero: Counts) -> None:
    for extent in extents:
        if extent.presence is Presence.DATA:
            held.add(extent.offset, extent.length)
        elif extent.presence is Presence.ZERO:
            zero.add(extent.offset, extent.length)
