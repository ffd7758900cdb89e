"""Places for payload in blocks: what is the same in every format that has some."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import RLock
from typing import Protocol

from vhdx.extents import Extent, Presence, Range, coalesce, spans
from vhdx.image.lifecycle import LifeCycle


class _Changing(Protocol):
    """A file whose tables are changed."""

    @property
    def life(self) -> LifeCycle: ...

    @property
    def lock(self) -> RLock: ...

    def changing(self) -> AbstractContextManager[None]: ...


class _Prepared(Protocol):
    """Space for payload: adopted when that is there, or given back."""

    @property
    def places(self) -> Sequence[Extent]: ...

    def adopt(self) -> None: ...

    def give_back(self) -> None: ...


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


@contextmanager
def allocating(file: _Changing, prepare: Callable[[], _Prepared]) -> Iterator[Sequence[Extent]]:
    """What *prepare* has taken, for the payload of the caller: adopted on a clean exit, else given back.

    A failure of the transport poisons the image, since then nobody knows what lies there.
    """
    with file.life.writer:
        with file.changing():
            allocation = prepare()
        try:
            yield allocation.places
        except OSError as error:
            file.life.fail(error)
            raise
        except BaseException:
            with file.lock:
                allocation.give_back()
            raise
        with file.changing(), file.life.poisoning():
            allocation.adopt()
