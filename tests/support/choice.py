"""What of a long series is tried in every run, and what in the session tests-all only: together it is all of it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import settings

_ALL_EXAMPLES = 100
"""How many examples Hypothesis tries unless told otherwise."""
_LEAST_EXAMPLES = 6


def examples(most: int) -> int:
    """How many examples a test tries that is to try *most*: in `tests` a few, always the same."""
    return max(most * settings.default.max_examples // _ALL_EXAMPLES, min(most, _LEAST_EXAMPLES))


def few(values: Collection[Any], most: int, *, ids: Sequence[str] | None = None) -> list[Any]:
    """Parameters, of which at most so many, spread over all, are tried in every run."""
    chosen = {place * len(values) // most for place in range(most)} if len(values) > most else range(len(values))
    names = ids or [None] * len(values)
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name, marks=_marks(place in chosen))
        for place, (value, name) in enumerate(zip(values, names, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers from 0 without end: every *stride*-th, or all others."""

    stride: int
    others: bool = False

    def __iter__(self) -> Iterator[int]:
        return (number for number in count() if (number % self.stride != 0) is self.others)


def points(stride: int) -> list[Any]:
    """Parameters: at which points something is stopped; every *stride*-th in every run."""
    return [
        pytest.param(Points(stride), id=f"every {stride}"),
        pytest.param(Points(stride, others=True), id="all others", marks=pytest.mark.more),
    ]


def _marks(always: bool) -> Sequence[pytest.MarkDecorator]:
    return () if always else (pytest.mark.more,)
