"""Fixtures that need a real server, without Samba what uses them is skipped, and says so; what a run is to tell.

The suite can run in several processes (pytest-xdist): a file is one's, and the crash tests, which are counted
together, are one's.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.smbd import Smbd, unavailable
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings

SETTINGS = SmbSettings(timeout=6)
_numbers = itertools.count()
_FIGURES = pytest.StashKey[list[str]]()
_TOGETHER = "tests/crash/"


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Have a line told when all tests are over."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs some of the tests hands over what it has to tell."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = session.config.stash.get(_FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what such a process has to tell."""
    node.config.stash.setdefault(_FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process runs what."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _TOGETHER if nodeid.startswith(_TOGETHER) else str(super()._split_scope(nodeid))

    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures, a line each."""
    for line in sorted(config.stash.get(_FIGURES, [])):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def smbd() -> Iterator[Smbd]:
    """A private Samba for the whole session; tests that hurt it start their own."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Smbd() as server:
        yield server


@pytest.fixture(scope="session")
def smb_pool(smbd: Smbd) -> Iterator[SmbPool]:
    """Connections to it."""
    with SmbPool() as pool:
        yield pool


@pytest.fixture
def own_smbd() -> Iterator[Smbd]:
    """A Samba that one test may freeze, kill and starve."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Smbd() as server:
        yield server


@pytest.fixture
def share_directory(tmp_path: Path) -> Path:
    """Where the files of `smb_files` lie on this machine."""
    directory = tmp_path / "share"
    directory.mkdir()
    return directory


@pytest.fixture
def smb_files(smbd: Smbd, smb_pool: SmbPool, share_directory: Path) -> SmbFileSystem:
    """An empty share."""
    return connect(smbd, smb_pool, share_directory)


def connect(
    server: Smbd, pool: SmbPool, directory: Path, extra: str = "", settings: SmbSettings = SETTINGS
) -> SmbFileSystem:
    """Serve *directory* as a share of its own and connect to it."""
    name = f"share{next(_numbers)}"
    server.add_share(name, directory, extra, wait=False)
    credentials = Credentials(server.user, server.password)
    deadline = time.monotonic() + 20
    while True:
        try:
            return pool.share(server.host, name, port=server.port, credentials=credentials, settings=settings)
        except FileNotFoundError:
            # Each of the server's processes takes a new share up in its own time.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
