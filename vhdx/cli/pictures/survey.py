"""Exact byte counts of each layer's content, by column of the disk, from extents.

A column is a range of the disk; extents are split at column boundaries, so the counts of a layer add up to the length
of its extents. Only counts are kept, so the number of extents does not matter.
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
    """Byte counts for columns of *width* bytes."""

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
    """The share of one layer in a disk, in bytes per column.

    *held*: data in its file; *visible*: the part of it that no child hides; *zero*: zeros that hide the parent. The
    layer ends at *end*, which may be before end of disk.
    """

    name: str
    info: ImageInfo
    end: int
    held: Counts
    visible: Counts
    zero: Counts


@dataclass(frozen=True, slots=True)
class Survey:
    """A disk of *size* bytes in columns of *width* bytes, and the share of each layer, leaf first."""

    size: int
    width: int
    layers: tuple[Portion, ...]

    @property
    def columns(self) -> int:
        """Number of columns; the last may be narrower."""
        return -(-self.size // self.width)

    def column(self, number: int) -> Range:
        """The range of the disk in a column."""
        start = number * self.width
        return Range(start, min(self.width, self.size - start))

    @property
    def data(self) -> int:
        """Bytes of the disk that are data in some layer."""
        return sum(layer.visible.total for layer in self.layers)


def survey(chain: Chain, names: Sequence[str], columns: int = COLUMNS) -> Survey:
    """Count the extents of every layer of *chain*, whose files are *names*, in at most *columns* columns.

    Raises what reading the block tables raises.
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
