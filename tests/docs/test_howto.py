"""Every command in the how-tos, and in the page on commands, does what it shows."""

import shutil
from pathlib import Path

import pytest

from tests.docs.transcript import run, steps
from tests.support.smbd import Smbd

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = [DOCS / "commands.md", *sorted((DOCS / "howto").glob("*.md"))]
SHARE = "smb://fileserver/disks"
OTHERS = ("qemu-img",)
"""Programs that are not of this project."""


def shares(path: Path) -> bool:
    return any(SHARE in step.command for step in steps(path.read_text()))


LOCAL = [path for path in PAGES if not shares(path)]
SHARED = [path for path in PAGES if shares(path)]


def without(text: str) -> None:
    """Skip where a program is missing that the page calls."""
    for program in OTHERS:
        if any(step.command.startswith(program) for step in steps(text)) and shutil.which(program) is None:
            pytest.skip(f"{program} not found (Debian: apt-get install qemu-utils)")


def test_every_page_is_run() -> None:
    assert len(PAGES) == 6
    assert len(SHARED) == 1


@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.stem)
def test_a_page(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    without(text)
    place = tmp_path / "disks"
    place.mkdir()
    wrong = run(steps(text), place, {}, {})
    assert not wrong, "\n".join([path.name, *wrong])


@pytest.mark.smb
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_a_page_on_shares(path: Path, tmp_path: Path, own_smbd: Smbd) -> None:
    text = path.read_text()
    place = tmp_path / "disks"
    share = tmp_path / "share"
    for directory in (place, share):
        directory.mkdir()
    own_smbd.add_share("disks", share)
    named = {"fileserver": f"{own_smbd.host}:{own_smbd.port}"}
    account = {"SHARE": str(share), "SHARE_USER": own_smbd.user, "SHARE_PASSWORD": own_smbd.password}
    wrong = run(steps(text), place, named, account)
    assert not wrong, "\n".join([path.name, *wrong])
