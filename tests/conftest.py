"""Fixtures that need a real server, without Samba what uses them is skipped, and says so; what a run is to tell.

The suite can run in several processes (pytest-xdist), see `tests.support.schedule`.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.support.smbd import Smbd, unavailable
from tests.support.telling import Memory, Told, give_back, whole
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings

T = TypeVar("T")
SETTINGS = SmbSettings(timeout=6)
_numbers = itertools.count()
_TOLD = pytest.StashKey[Told]()
_MEMORY = pytest.StashKey[Memory]()


@pytest.fixture(scope="session")
def told(request: pytest.FixtureRequest) -> Told:
    """What this process has to tell when all tests are over."""
    return request.config.stash[_TOLD]


@pytest.fixture(scope="session")
def tell(told: Told) -> Callable[[str], None]:
    """Have a line told when all tests are over."""
    return told.lines.append


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count, and say how many examples Hypothesis tries."""
    settings.register_profile("few", max_examples=15, derandomize=True, database=None)
    if config.option.markexpr == "not more" and not config.getoption("--hypothesis-profile"):
        settings.load_profile("few")
    config.stash[_TOLD] = Told()
    config.stash[_MEMORY] = Memory()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Look how far the process has grown, and give back what a file's tests needed."""
    yield
    item.config.stash[_MEMORY].note(item.nodeid)
    if nextitem is None or nextitem.path != item.path:
        give_back()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs some of the tests hands over what it has to tell; what started it judges all."""
    config = session.config
    told, memory = config.stash[_TOLD], config.stash[_MEMORY]
    output = getattr(config, "workeroutput", None)
    if output is not None or not told.memory:
        name = getattr(config, "workerinput", {}).get("workerid", "the process")
        told.memory.append((name, memory.peak, memory.grown, memory.test))
    if output is not None:
        output["told"] = told.portable()
    elif session.exitstatus == pytest.ExitCode.OK and not config.option.collectonly and told.wrong(config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what such a process has to tell."""
    node.config.stash[_TOLD].add(getattr(node, "workeroutput", {}).get("told", {}))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process runs what."""
    from tests.support.schedule import ByFile

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files come first. Of what Hypothesis tries there are more examples, so such a test is one of both kinds."""
    from tests.support.schedule import longest_first

    if config.option.markexpr == "more":
        for item in items:
            if is_hypothesis_test(getattr(item, "obj", None)):
                item.add_marker(pytest.mark.more)
    items[:] = longest_first(items)


def unlisted_files(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """Long files that are not known to be long, of a whole run."""
    from tests.support.schedule import unlisted

    if not whole(terminalreporter.config):
        return []
    seconds: Counter[str] = Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    return unlisted(seconds)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures, a line each, and what is wrong with the whole."""
    if config.option.collectonly:
        return
    for line in (*config.stash[_TOLD].summary(), *unlisted_files(terminalreporter)):
        terminalreporter.write_line(line)
    for line in config.stash[_TOLD].wrong(config):
        terminalreporter.write_line(f"FAILED: {line}", red=True, bold=True)


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
    return patiently(
        lambda: pool.share(server.host, name, port=server.port, credentials=credentials, settings=settings)
    )


def patiently(work: Callable[[], T]) -> T:
    """What *work* gives, once a server has taken a share up.

    Each of its processes does that in its own time, and one that is at it may answer that it has no memory
    (STATUS_NO_MEMORY).
    """
    deadline = time.monotonic() + 20
    while True:
        try:
            return work()
        except OSError as error:
            told = isinstance(error, FileNotFoundError) or "the share does not exist" in str(error)
            is_early = told or "0xc0000017" in str(error)
            if not is_early or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
