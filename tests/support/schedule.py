"""The order of the tests, long ones first, and which process runs which (pytest-xdist)."""

from collections.abc import Sequence
from zlib import crc32

import pytest
from xdist.scheduler import LoadFileScheduling

SECONDS: dict[str, int] = {}
"""About how long the longest files take, by their path under tests/; what is not here is short."""

PARTS: dict[str, int] = {}
"""In how many parts a file is run whose tests need not stay together."""


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests in one process, but a long file may be cut; in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        parts = PARTS.get(file.removeprefix("tests/"), 1)
        return file if parts == 1 else f"{file}::{crc32(nodeid.encode()) % parts}"


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The same tests, so that no process is alone with a long file in the end."""
    return sorted(items, key=lambda item: -_weight(item.nodeid.partition("::")[0].removeprefix("tests/")))


def _weight(file: str) -> float:
    return SECONDS.get(file, 0) / PARTS.get(file, 1)
