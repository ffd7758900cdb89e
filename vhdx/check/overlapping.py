"""Which of some places overlap."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vhdx.extents import Range


class Named(NamedTuple):
    """A structure, or whatever has a place."""

    name: str
    place: Range


def overlapping(places: Iterable[tuple[str, Range]]) -> Iterator[tuple[Named, Named]]:
    """Every pair of them that has a byte in common, the one that begins first in front; places of no length have none.

    In the order of the places, and as they are asked for: there may be as many as the square of their number.
    """
    before: list[Named] = []
    for one in sorted((Named(*item) for item in places if item[1].length), key=lambda item: item.place):
        before = [other for other in before if other.place.end > one.place.offset]
        yield from ((other, one) for other in before)
        before.append(one)
