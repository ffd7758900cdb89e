"""Overlaps between file ranges."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vhdx.extents import Range


class Named(NamedTuple):
    """A named file range."""

    name: str
    place: Range


def overlapping(places: Iterable[tuple[str, Range]]) -> Iterator[tuple[Named, Named]]:
    """Every pair of ranges that overlap, lower offset first; empty ranges overlap nothing.

    In ascending order and on demand: the number of pairs may be quadratic.
    """
    before: list[Named] = []
    for one in sorted((Named(*item) for item in places if item[1].length), key=lambda item: item.place):
        before = [other for other in before if other.place.end > one.place.offset]
        yield from ((other, one) for other in before)
        before.append(one)
