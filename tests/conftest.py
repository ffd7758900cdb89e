"""Fixtures that need a real server; without Samba what uses them is skipped, and says so."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.smbd import Smbd, unavailable
from vhdx.storage.smb import Credentials, SmbFileSystem, SmbPool, SmbSettings

SETTINGS = SmbSettings(timeout=6)
_numbers = itertools.count()


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
