"""The count of crash states: what each verb was put through, told at the end of the run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.judging import Tally
from tests.crash.remembering import remembered_parses

_HERE = Path(__file__).parent
_LAST = "test_enough_states_were_tried"


@pytest.fixture(scope="session")
def tally(tell: Callable[[str], None]) -> Iterator[Tally]:
    """The count of the whole run."""
    count = Tally()
    yield count
    tell(count.summary())


@pytest.fixture(autouse=True, scope="package")
def _parse_once() -> Iterator[None]:
    with remembered_parses():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The count is judged when everything else is over, and only of a run of everything."""
    last = [item for item in items if item.name == _LAST]
    items[:] = [item for item in items if item.name != _LAST] + last
    modules = {item.path for item in items}
    chosen = config.option.keyword or config.option.markexpr or any("::" in argument for argument in config.args)
    if chosen or not set(_HERE.glob("test_*.py")) <= modules:
        for item in last:
            item.add_marker(pytest.mark.skip(reason="only some of the crash tests run, so their count says nothing"))
