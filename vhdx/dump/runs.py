"""Runs of consecutive table entries, so that a table of millions of entries takes a few lines."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Run(NamedTuple):
    """*length* entries from index *first*: *raw*, then each *step* more than the previous one."""

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
    """The entries from *start* to before *end* as runs; *entries* omits those equal to *blank*.

    Entries of a run increase by a constant step, from *stride* to *stride* plus *slack*, or are equal; *edge* returns
    the index at which a run that begins at an entry must end. Runs of blank entries have no such limit.
    """
    expected = position = start  # the raw value and the index that continue the run
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
