"""Space for payload in blocks: what all formats with blocks have in common."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from vhdx.extents import Extent, Presence, Range, coalesce, spans
from vhdx.image.lifecycle import LifeCycle
from vhdx.image.underway import BlocksUnderWay, UnderWay


class Prepared(Protocol):
    """Space for payload: adopted once the payload is written; always left, which frees what was not adopted."""

    @property
    def places(self) -> list[Extent]: ...

    def adopt(self) -> None:
        """Stage the table entries; the payload has been written."""

    def leave(self) -> None:
        """No more payload is written there."""


def by_block(ranges: Iterable[Range], block_size: int) -> dict[int, list[Range]]:
    """The parts of *ranges* that lie in each block, from the start of the block."""
    covered: dict[int, list[Range]] = {}
    for wanted in ranges:
        for span in spans(wanted.offset, wanted.length, block_size):
            covered.setdefault(span.number, []).append(Range(span.within, span.length))
    return covered


def places_of(blocks: Iterable[tuple[int, int, Iterable[Range]]], block_size: int) -> list[Extent]:
    """Where parts of blocks lie; *blocks*: number, place of the first byte of its payload, parts of it."""
    return list(
        coalesce(
            Extent(number * block_size + part.offset, part.length, Presence.DATA, place + part.offset)
            for number, place, parts in blocks
            for part in parts
        )
    )


class Visit:
    """The blocks to which one call writes payload, joined and left under the table lock."""

    def __init__(self, blocks: BlocksUnderWay) -> None:
        self.joined: dict[int, UnderWay] = {}
        self._blocks = blocks

    def join(self, parts: Mapping[int, list[Range]], begin: Callable[[int, list[Range]], UnderWay]) -> None:
        """Wait until payload may be written to *parts* of blocks, the lock released meanwhile, and join all of them.

        *begin* allocates a block's place.
        """
        self._blocks.wait_for_all(parts)
        for number, wanted in parts.items():
            self.joined[number] = self._blocks.join(number, partial(begin, number, wanted))

    def adopted(self, number: int) -> None:
        """The table refers to the place of a block now."""
        self._blocks.adopted(number)

    def leave(self, give_back: Callable[[int], None]) -> None:
        """Leave all blocks; *give_back* gets each place to which nothing refers."""
        while self.joined:
            number, _ = self.joined.popitem()
            place = self._blocks.leave(number)
            if place is not None:
                give_back(place)


@contextmanager
def filled(life: LifeCycle, prepared: Prepared) -> Iterator[Sequence[Extent]]:
    """The places of *prepared* for the caller's payload: adopted on a clean exit, always left.

    An OSError poisons the image, because it is unknown what was written.
    """
    try:
        try:
            yield prepared.places
        except OSError as error:
            life.fail(error)
            raise
        with life.poisoning():
            prepared.adopt()
    finally:
        prepared.leave()
