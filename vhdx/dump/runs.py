"""Runs of table entries that follow each other, so that a table of millions is told in a few lines."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Run(NamedTuple):
    """*length* entries from entry *first* on: *raw*, then each *step* more than the one before."""

    first: int
    length: int
    raw: int
    step: int

    @property
    def end(self) -> int:
        return self.first + self.length


def runs(
    entries: Iterable[tuple[int, int]],
    start: int,
    end: int,
    *,
    blank: int,
    stride: int,
    slack: int = 0,
    edge: Callable[[int], int],
) -> Iterator[Run]:
    """The entries from *start* to before *end*, of which *entries* leave out those that are *blank*.

    Entries of one run grow by the same step, of *stride* up to *slack* more, or are the same; *edge* says of an entry
    where the run that it begins has to end at the latest. A run of blank ones knows no edges.
    """
    expected = position = start  # of the raw value and of the index that go on with the run
    run: Run | None = None
    limit = start
    for index, raw in entries:
        if index == position and raw == expected and index < limit and run is not None:
            position += 1
            expected += run.step
            continue
        if run is not None:
            step = raw - run.raw
            second = run.first + 1 == position == index < limit
            if second and (not step or stride <= step <= stride + slack):
                run = run._replace(step=step)
                position += 1
                expected = raw + step
                continue
            yield run._replace(length=position - run.first)
        if index > position:
            yield Run(position, index - position, blank, 0)
        run = Run(index, 1, raw, stride)
        limit, position, expected = edge(index), index + 1, raw + stride
    if run is not None:
        yield run._replace(length=position - run.first)
    if position < end:
        yield Run(position, end - position, blank, 0)
