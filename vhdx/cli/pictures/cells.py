"""Cells of the map: proportions and fill level, quantised."""

from typing import NamedTuple

from vhdx.cli.pictures.shapes import FULL
from vhdx.cli.pictures.survey import Portion

FAINTEST = 2


class Cell(NamedTuple):
    """Byte counts of one or more columns of a layer, out of *length*."""

    visible: int
    hidden: int
    zero: int
    length: int

    @property
    def filled(self) -> int:
        """Bytes that are data or zeros in this layer."""
        return self.visible + self.hidden + self.zero

    def strength(self) -> int:
        """Fill level: 0 if empty, at least 1 if not, FULL if full."""
        if not self.filled:
            return 0
        return max(FAINTEST, _steps(self.filled, self.length, FULL))

    def parts(self, height: int) -> tuple[int, int, int]:
        """*height* pixels (at least 6) for visible, hidden and zero; at least one for each nonzero count."""
        if not self.filled:
            return 0, 0, 0
        found = [_steps(part, self.filled, height) for part in self[:3]]
        # Rounding up may take a pixel too many; it is subtracted from the largest part.
        found[found.index(max(found))] -= sum(found) - height
        return found[0], found[1], found[2]


def _steps(part: int, whole: int, most: int) -> int:
    """*part* of *whole* in *most* steps, rounded up: 0 only for 0."""
    return -(-part * most // whole)


def cell(share: Portion, first: int, stop: int, length: int) -> Cell:
    """The columns of a layer from *first* to before *stop*, *length* bytes of the disk, as one cell."""
    held, visible, zero = (sum(counts.columns[first:stop]) for counts in (share.held, share.visible, share.zero))
    return Cell(visible, held - visible, zero, length)
