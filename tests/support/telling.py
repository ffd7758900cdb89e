"""What a run tells when it is over, summed over its processes, and what makes a whole run fail."""

import ctypes
import gc
import resource
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

MOST_MEMORY = 1 << 30
"""No process that runs tests should ever hold more bytes: which files it gets, and so how much, is chance."""

_FAR_TOO_MUCH = MOST_MEMORY * 5 // 4
"""What no chance explains, and fails the run."""

LEAST_STATES = {"": 20_000, "not more": 6_000, "more": 12_000}
"""Distinct crash states that a whole run goes through, by its ``-m``; those of each process are counted alone."""


@dataclass
class Told:
    """What one process, or all of them, have to tell."""

    lines: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[str, int, int, str]] = field(default_factory=list)

    def portable(self) -> dict[str, Any]:
        """For another process."""
        return {"lines": self.lines, "states": dict(self.states), "memory": [list(one) for one in self.memory]}

    def add(self, other: dict[str, Any]) -> None:
        """What another process has made portable."""
        self.lines += other.get("lines", [])
        self.states.update(other.get("states", {}))
        self.memory += [(name, peak, grown, test) for name, peak, grown, test in other.get("memory", [])]

    def summary(self) -> list[str]:
        """Everything, a line each."""
        lines = sorted(self.lines)
        if self.states:
            parts = ", ".join(f"{verb} {count:,}" for verb, count in sorted(self.states.items()))
            lines.append(f"crash states: {parts}; {self.states.total():,} in all")
        for name, peak, grown, test in sorted(self.memory):
            much = f", MORE THAN {MOST_MEMORY >> 20} MiB" if peak > MOST_MEMORY else ""
            lines.append(f"memory of {name}: at most {peak >> 20} MiB{much}, grown most ({grown >> 20} MiB) in {test}")
        return lines

    def wrong(self, config: pytest.Config) -> list[str]:
        """What is wrong with the run as a whole."""
        faults = [
            f"{name} held {peak >> 20} MiB, more than {MOST_MEMORY >> 20}; it grew most in {test}"
            for name, peak, _, test in sorted(self.memory)
            if peak > _FAR_TOO_MUCH
        ]
        least = LEAST_STATES.get(config.option.markexpr, 0)
        if whole(config) and self.states.total() < least:
            faults.append(f"only {self.states.total():,} crash states were tried, {least:,} are the least")
        return faults


class Memory:
    """How much this process has held at most, and the test in which that grew most."""

    def __init__(self) -> None:
        self.peak = _peak()
        self.grown = 0
        self.test = "its start"

    def note(self, test: str) -> None:
        """Look once *test* is over."""
        peak = _peak()
        if peak - self.peak > self.grown:
            self.grown, self.test = peak - self.peak, test
        self.peak = max(peak, self.peak)


def give_back() -> None:
    """Have what is free of this process's memory be free for others: the C library would keep it."""
    gc.collect()
    with suppress(AttributeError):  # one that is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def whole(config: pytest.Config) -> bool:
    """Whether the run is one of all tests, or of all that ``-m`` leaves."""
    chosen = config.option.keyword or getattr(config.option, "deselect", None) or getattr(config.option, "lf", False)
    return not chosen and config.args_source is pytest.Config.ArgsSource.TESTPATHS


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
