"""A cloud that runs already, whose description `VARIABLE` names; without one nothing here is collected."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cinder.cloud import VARIABLE, Cloud
from tests.cinder.nodes import BACKENDS
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from vhdx import SmbPool

collect_ignore_glob = [] if VARIABLE in os.environ else ["test_*.py"]
_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let the fixtures of a test know how it ended."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None
    return report


@pytest.fixture(scope="session")
def cloud() -> Cloud:
    """Where the services are."""
    return Cloud.load(Path(os.environ[VARIABLE]))


@pytest.fixture(scope="session")
def rest(cloud: Cloud) -> Rest:
    """Its REST interfaces."""
    return Rest(cloud)


@pytest.fixture(scope="session")
def shares(cloud: Cloud) -> Iterator[Shares]:
    """Its shares."""
    with SmbPool() as pool:
        yield Shares(cloud, pool)


@pytest.fixture
def driver(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A driver beside those of the services, without their database: nothing is attached."""
    from cinder import objects  # it is there only with a cloud

    from tests.cinder.driving import driving

    monkeypatch.setattr(objects.VolumeAttachmentList, "get_all_by_volume_id", lambda *_: [])
    with driving(cloud, tmp_path) as made:
        yield made


@pytest.fixture(params=BACKENDS)
def volumes(request: pytest.FixtureRequest, rest: Rest, shares: Shares) -> Iterator[Volumes]:
    """Volumes of each backend in turn. When a test has passed they are deleted, and no file of theirs is left."""
    before = shares.files()
    made = Volumes(rest, request.param)
    yield made
    if request.node.stash.get(_PASSED, False):
        made.clear()
        assert shares.files() == before
    else:
        made.force_clear()
