"""``vhdx-inspect`` never writes: every file has the bytes, and the times, it had before."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.running import Programs

COMMANDS = [
    ["info"],
    ["info", "--json"],
    ["chain"],
    ["map"],
    ["map", "--layer", "--json"],
    ["check"],
    ["check", "--chain", "--deep"],
    ["hash"],
    ["hash", "--sparse"],
    ["compare"],
    ["read"],
    ["dump"],
]
CODES = (0, 1, 2, 3)
KINDS = ["leaf.vhdx", "dirty.vhdx", "child.vhd", "orphan.vhdx", gallery.DAMAGED]


@pytest.fixture(scope="module")
def before(looking: Programs) -> dict[str, tuple[str, int, int]]:
    """How the gallery was when this module began."""
    return everything(looking.here)


def everything(directory: Path) -> dict[str, tuple[str, int, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in directory.iterdir()
    }


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_written(command: list[str], looking: Programs, before: dict[str, tuple[str, int, int]]) -> None:
    for name in KINDS:
        more = {"compare": ["base.vhdx"], "read": ["0", "64K"]}.get(command[0], [])
        warns = name == "damaged.vhdx" and command[0] in {"map", "hash", "compare"}  # of blocks on one place
        looking.inspect(command[0], name, *more, *command[1:], code=CODES, warns=warns)
    assert everything(looking.here) == before


def test_a_file_that_may_not_be_written(looking: Programs, tmp_path: Path) -> None:
    """A dirty log is read through on a medium that takes no writes."""
    shutil.copy(looking.here / "dirty.vhdx", tmp_path)
    (tmp_path / "dirty.vhdx").chmod(0o400)
    programs = Programs(tmp_path)
    for name in ("info", "hash", "map", "chain", "check"):
        programs.inspect(name, "dirty.vhdx")
