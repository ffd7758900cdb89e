"""A share in memory for each engine."""

import pytest

from tests.driver.kits import KITS, Bench
from tests.support.memory import MemoryFileSystem


@pytest.fixture(params=sorted(KITS))
def kit_name(request: pytest.FixtureRequest) -> str:
    """Which engine."""
    name: str = request.param
    return name


@pytest.fixture
def bench(kit_name: str) -> Bench:
    """An empty share."""
    return Bench.on(MemoryFileSystem(), kit_name)
