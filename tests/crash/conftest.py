"""The count of crash states: what each verb was put through, told at the end of the run."""

from collections.abc import Iterator

import pytest

from tests.crash.judging import Tally
from tests.crash.remembering import remembered_parses
from tests.support.telling import Told


@pytest.fixture(scope="session")
def tally(told: Told) -> Iterator[Tally]:
    """The count of the whole run."""
    count = Tally()
    yield count
    told.states.update(count.numbers())


@pytest.fixture(autouse=True, scope="package")
def _parse_once() -> Iterator[None]:
    with remembered_parses():
        yield
