"""The commands, ready to be run, and the images they are run on."""

import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.running import Programs
from tests.conftest import connect
from tests.support.relay import Relay
from tests.support.smbd import Smbd
from vhdx.storage.smb import SmbPool

KEPT = Path(__file__).parent / "golden"
_WRITING = os.environ.get("VHDX_CLI_GOLDEN") == "write"
_numbers = itertools.count()

Golden = Callable[[str, str], None]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """The commands in an empty directory."""
    return Programs(tmp_path)


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `gallery`, which nobody changes."""
    directory = tmp_path_factory.mktemp("gallery")
    gallery.paint(directory)
    return directory


@pytest.fixture(scope="session")
def looking(painted: Path) -> Programs:
    """The commands in the directory of `gallery`: for looking only."""
    return Programs(painted)


@pytest.fixture
def golden() -> Golden:
    """Compares text with what is kept of it in golden/; ``VHDX_CLI_GOLDEN=write pytest tests/cli`` keeps it anew."""

    def compare(name: str, text: str) -> None:
        path = KEPT / f"{name}.txt"
        if _WRITING:
            path.write_text(text)
            return
        assert path.exists(), f"{path} is not written yet: VHDX_CLI_GOLDEN=write pytest {Path(__file__).parent}"
        kept = path.read_text()
        wrong = "".join(difflib.unified_diff(kept.splitlines(True), text.splitlines(True), str(path), "printed"))
        assert kept == text, f"\n{wrong}"

    return compare


def general(text: str, directory: Path) -> str:
    """What a command printed, without what is another on each machine: where files lie and how much is stored."""
    text = text.replace(str(directory), "/disks")
    return re.sub(r"[\d.]+ \w+ on disk|[\d.]+ \w+ free", lambda found: f"SOME {found[0].split()[-1]}", text)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a real server, and where its files lie on this machine."""

    server: Smbd
    name: str
    directory: Path
    auth: Path

    def url(self, path: str, *, user: str = "", port: int | None = None) -> str:
        return f"smb://{user}{'@' * bool(user)}{self.server.host}:{port or self.server.port}/{self.name}/{path}"


def account(path: Path, user: str, password: str) -> Path:
    """An account file that only its owner may read."""
    path.write_text(f"username = {user}\npassword = {password}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def share(smbd: Smbd, smb_pool: SmbPool, tmp_path: Path) -> Share:
    """An empty share."""
    directory = tmp_path / "share"
    directory.mkdir()
    name = connect(smbd, smb_pool, directory).name.rpartition("/")[2]
    return Share(smbd, name, directory, account(tmp_path / "account", smbd.user, smbd.password))


@pytest.fixture
def shared(share: Share, tmp_path: Path) -> Programs:
    """The commands with an account on the share."""
    here = tmp_path / "here"
    here.mkdir()
    return Programs(here, {"VHDX_SMB_AUTH_FILE": str(share.auth)})


@pytest.fixture
def relay(smbd: Smbd) -> Iterator[Relay]:
    """Sees what crosses the wire."""
    with Relay(smbd.port) as relay:
        yield relay
