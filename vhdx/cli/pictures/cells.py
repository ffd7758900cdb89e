"""What one column of the map looks like: shares of what there is, and how much that is, in a few steps."""

from typing import NamedTuple

from vhdx.cli.pictures.shapes import FULL
from vhdx.cli.pictures.survey import Portion

FAINTEST = 2


class Cell(NamedTuple):
    """Bytes of one or several columns of a layer, out of *length*."""

    visible: int
    hidden: int
    zero: int
    length: int

    @property
    def filled(self) -> int:
        """Bytes of which the layer says anything."""
        return self.visible + self.hidden + self.zero

    def strength(self) -> int:
        """How full it is, 0 for empty, FULL for all of it; whatever is there at all can be seen."""
        if not self.filled:
            return 0
        return max(FAINTEST, _steps(self.filled, self.length, FULL))

    def parts(self, height: int) -> tuple[int, int, int]:
        """*height* pixels, 6 or more, divided among visible, hidden and zero; whatever is there gets one at least."""
        if not self.filled:
            return 0, 0, 0
        found = [_steps(part, self.filled, height) for part in self[:3]]
        # Rounding up takes a pixel too many here and there; the largest can spare it.
        found[found.index(max(found))] -= sum(found) - height
        return found[0], found[1], found[2]


def _steps(part: int, whole: int, most: int) -> int:
    """*part* of *whole* in *most* steps, rounded up: only nothing is 0."""
    return -(-part * most // whole)


def cell(share: Portion, first: int, stop: int, length: int) -> Cell:
    """The columns of a layer from *first* to before *stop*, *length* bytes of the disk, as one."""
    held, visible, zero = (sum(counts.columns[first:stop]) for counts in (share.held, share.visible, share.zero))
    return Cell(visible, held - visible, zero, length)
