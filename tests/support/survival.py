"""Everything that a crash may leave of a few pending writes and size changes, one after another.

Every subset; where two of what survives change the same bytes or the size, every order of them; and each write torn in
every way that counts, beside every subset of the others. Where there are too many for that, every single one and every
pair that is lost, and every single one that survives alone.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

from tests.support.memory import PAGE, Pages
from tests.support.recording import DataEvent, Resize, Write

SECTOR = 512
_MOST_ORDERED = 4
"""Changes that overlap each other, up to which every order of them is tried."""
_MOST_TORN = 256
"""Torn states of one write, up to which every subset of the others is tried beside every tear."""
_SHORT = 16
"""Sectors of a write up to which it is torn at every one."""

Files = dict[int, Pages]
Runs = list[tuple[int, int]]


class Survival(NamedTuple):
    """The bytes of every file by number, and how they came about."""

    files: Files
    description: str


class Change:
    """A pending event, cut into pages once to be applied many times."""

    __slots__ = ("_edges", "_pages", "event")

    def __init__(self, event: DataEvent) -> None:
        self.event = event
        self._pages: dict[int, bytes] = {}
        self._edges: list[Write] = []
        if not isinstance(event, Write) or event.data is None:
            return
        first, last = -(-event.offset // PAGE), event.end // PAGE
        if first >= last:
            self._edges = [event]
            return
        for number in range(first, last):
            at = number * PAGE - event.offset
            self._pages[number] = event.data[at : at + PAGE]
        if event.offset < first * PAGE:
            self._edges.append(_part(event, event.offset, first * PAGE))
        if last * PAGE < event.end:
            self._edges.append(_part(event, last * PAGE, event.end))

    @property
    def file(self) -> int:
        return self.event.file

    def apply(self, pages: Pages) -> None:
        """Let it reach *pages* whole."""
        if not self._pages and not self._edges:
            self.event.apply(pages)
            return
        if self._pages:
            pages.put(self._pages, (max(self._pages) + 1) * PAGE)
        for edge in self._edges:
            edge.apply(pages)

    def conflicts(self, other: "Change") -> bool:
        """Whether it matters which of the two comes first."""
        if self.file != other.file:
            return False
        one, two = self.event, other.event
        if isinstance(one, Write) and isinstance(two, Write):
            return one.offset < two.end and two.offset < one.end
        for size, reach in ((one, two), (two, one)):
            if isinstance(size, Resize):
                return size.size != reach.size if isinstance(reach, Resize) else _end(reach) > size.size
        return False

    def brief(self) -> str:
        """What it is, for a description."""
        if isinstance(self.event, Write):
            return f"write {self.event.offset}+{self.event.length} of file {self.file}"
        return f"size {self.event.size} of file {self.file}"


def _end(event: DataEvent) -> int:
    return event.end if isinstance(event, Write) else event.size


def _part(event: Write, begin: int, end: int) -> Write:
    data = None if event.data is None else event.data[begin - event.offset : end - event.offset]
    return Write(event.file, begin, end - begin, data)


def survivals(changes: Sequence[Change], durable: Mapping[int, Pages], *, most: int) -> Iterator[Survival]:
    """What may be left of *durable* with *changes*; all subsets of up to *most*, a choice of them of more."""
    start = Survival(dict(durable), "")
    if len(changes) <= most:
        tied = [number for number in range(len(changes)) if _meets(changes, number)]
        loose = [number for number in range(len(changes)) if number not in tied]
        for left in _subsets(start, changes, loose):
            yield from _ordered(left, changes, tied)
    else:
        for kept in _few(len(changes)):
            yield _keep(start, changes, kept)
    yield from _tears(start, changes, most)


def _meets(changes: Sequence[Change], number: int) -> bool:
    return any(other != number and changes[number].conflicts(changes[other]) for other in range(len(changes)))


def _keep(start: Survival, changes: Sequence[Change], kept: Iterable[int]) -> Survival:
    files, notes, own = dict(start.files), [start.description] if start.description else [], set()
    for number in kept:
        change = changes[number]
        if change.file not in own:
            own.add(change.file)
            files[change.file] = files[change.file].copy()
        change.apply(files[change.file])
        notes.append(f"kept {change.brief()}")
    for number in own:
        files[number].fingerprint()
    return Survival(files, "; ".join(notes))


def _subsets(start: Survival, changes: Sequence[Change], numbers: Sequence[int]) -> Iterator[Survival]:
    """Every subset of changes that commute; what two of them have in common is applied once."""
    if not numbers:
        yield start
        return
    yield from _subsets(start, changes, numbers[1:])
    yield from _subsets(_keep(start, changes, numbers[:1]), changes, numbers[1:])


def _ordered(start: Survival, changes: Sequence[Change], tied: Sequence[int]) -> Iterator[Survival]:
    """Every subset of changes that do not commute, in every order where there are few."""
    for count in range(len(tied) + 1):
        for subset in combinations(tied, count):
            for order in _orders(subset):
                yield _keep(start, changes, order)


def _orders(numbers: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if len(numbers) <= _MOST_ORDERED:
        yield from permutations(numbers)
        return
    yield numbers
    yield numbers[::-1]
    for at, number in enumerate(numbers):
        others = numbers[:at] + numbers[at + 1 :]
        yield (number, *others)
        yield (*others, number)


def _few(count: int) -> Iterator[list[int]]:
    everything = list(range(count))
    yield everything
    for lost in (1, 2):
        for chosen in combinations(everything, lost):
            yield [number for number in everything if number not in chosen]
    for number in everything:
        yield [number]
        yield everything[:number]


def _tears(start: Survival, changes: Sequence[Change], most: int) -> Iterator[Survival]:
    """Each write torn in turn, beside subsets of the others."""
    for number, change in enumerate(changes):
        event = change.event
        if not isinstance(event, Write):
            continue
        others = [other for other in range(len(changes)) if other != number]
        before, after = others[:number], others[number:]
        variants = list(torn(event))
        if not variants:
            continue
        if len(changes) <= most and len(variants) << len(others) <= _MOST_TORN:
            beside = [list(kept) for count in range(len(others) + 1) for kept in combinations(others, count)]
        else:
            beside = [others, before, after, []]
        for kept in beside:
            base = _keep(start, changes, kept)
            differing = _differing(event, base.files[change.file])
            seen: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
            for name, runs, parts, end in variants:
                # Most sectors of most writes are what they were, so most tears come to the same.
                effect = tuple((bisect_left(differing, one), bisect_left(differing, two)) for one, two in runs)
                if (end, effect) in seen or (not end and all(one == two for one, two in effect)):
                    continue
                seen.add((end, effect))
                pages = base.files[change.file].copy()
                for part in parts:
                    part.apply(pages)
                pages.grow(end)
                left = f"{base.description}; " if base.description else ""
                yield Survival({**base.files, change.file: pages}, f"{left}tore {change.brief()} keeping {name}")


def _differing(event: Write, pages: Pages) -> list[int]:
    """Sectors of a write, numbered from its first, that are not in *pages* as they are in the write."""
    start, end = event.offset // SECTOR * SECTOR, -(-event.end // SECTOR) * SECTOR
    old = pages.read(start, end - start)
    data = bytes(event.length) if event.data is None else event.data
    new = b"".join((old[: event.offset - start], data, old[event.end - start :]))
    behind = max(pages.size - start, 0)  # from there on even zeros make the file longer
    return [
        at // SECTOR
        for at in range(0, end - start, SECTOR)
        if at + SECTOR > behind or old[at : at + SECTOR] != new[at : at + SECTOR]
    ]


def torn(event: Write) -> Iterator[tuple[str, Runs, list[Write], int]]:
    """The ways to tear a write at sector edges: a name, the sectors that arrive, as writes, and the file's length.

    Sectors are counted from the first of the write; the length is the least that the file has.
    """
    first, last = event.offset // SECTOR, -(-event.end // SECTOR)
    count = last - first
    seen: set[tuple[tuple[int, int], ...]] = {((0, count),), ()}
    for runs in _runs(count):
        key = tuple(runs)
        if key in seen:
            continue
        seen.add(key)
        parts = [
            _part(event, max((first + begin) * SECTOR, event.offset), min((first + end) * SECTOR, event.end))
            for begin, end in runs
        ]
        yield f"sectors {runs} of {count}", runs, parts, 0
    if count > 1:
        # The growth of the file is metadata of its own, and may survive without the bytes.
        yield "its length only", [], [], event.end
        half = _part(event, event.offset, (first + count // 2) * SECTOR)
        yield "its first half and all of its length", [(0, count // 2)], [half], event.end


def _runs(count: int) -> Iterator[Runs]:
    cuts = range(1, count) if count <= _SHORT else (1, 8, count // 2, count - 8, count - 1)
    for cut in cuts:
        yield [(0, cut)]
        yield [(cut, count)]
    singles = range(count) if count <= _SHORT else (0, count // 3, count - 1)
    for one in singles:
        yield [(one, one + 1)]
        yield [(begin, end) for begin, end in ((0, one), (one + 1, count)) if begin < end]
    if count > 2:
        yield [(one, one + 1) for one in range(0, min(count, 256), 2)]
        yield [(one, one + 1) for one in range(1, min(count, 256), 2)]
