"""A command loads what it uses: looking at a local file takes no SMB, no pictures, no terminal library."""

import json
from pathlib import Path

import pytest

from tests.cli.running import SCRIPTS, Programs, interpreter

HEAVY = ["smbprotocol", "cryptography", "spnego", "rich", "jinja2", "PIL", "oslo_config", "oslo_concurrency", "cinder"]
_PROGRAM = """
import json, os, runpy, sys
sys.argv = sys.argv[1:]
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    code = end.code
os.write(kept, json.dumps([code, sorted(sys.modules)]).encode())
"""


def loaded(programs: Programs, program: str, *words: str) -> set[str]:
    """The modules that are there after a command, each by its full name."""
    told = interpreter("-c", _PROGRAM, str(SCRIPTS / program), *words, environment=programs.environment)
    code, modules = json.loads(told)
    assert code == 0
    return set(modules)


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


@pytest.mark.parametrize("command", ["info", "chain", "map", "check", "hash"])
def test_looking_at_a_local_file(command: str, looking: Programs) -> None:
    modules = loaded(looking, "vhdx-inspect", command, str(looking.here / "leaf.vhdx"))
    assert not heavy(modules)
    assert not any(name.startswith(("vhdx.storage.smb", "vhdx.cli.pictures", "smbfs_driver")) for name in modules)


def test_info_needs_no_verbs(looking: Programs) -> None:
    modules = loaded(looking, "vhdx-inspect", "info", str(looking.here / "leaf.vhdx"))
    assert "vhdx.format.header" in modules
    assert not modules & {"vhdx.verbs.engine", "vhdx.verbs.merge", "vhdx.verbs.convert", "vhdx.repair", "vhdx.check"}
    looking_too = {name for name in modules if name.startswith("vhdx.cli.looking.")}
    assert looking_too == {"vhdx.cli.looking.info", "vhdx.cli.looking.image_json"}


def test_changing_a_local_file(programs: Programs) -> None:
    path = str(programs.here / "a.vhdx")
    assert not heavy(loaded(programs, "vhdx-img", "create", path, "8M"))
    assert not heavy(loaded(programs, "vhdx-img", "compact", path))
    assert not heavy(loaded(programs, "vhdx-img", "convert", path, str(programs.here / "b.vhd")))


@pytest.mark.parametrize("program", ["vhdx-inspect", "vhdx-img"])
def test_help(program: str, programs: Programs) -> None:
    """The help of one command; the list of all has to load each for its first line."""
    assert not heavy(loaded(programs, program, "--version"))
    command = {"vhdx-inspect": "map", "vhdx-img": "merge"}[program]
    assert not heavy(loaded(programs, program, command, "--help"))


def test_there_is_something_to_be_found(looking: Programs, tmp_path: Path) -> None:
    """What a command uses is seen by the same eyes."""
    picture = str(tmp_path / "map.svg")
    modules = loaded(looking, "vhdx-inspect", "map", str(looking.here / "leaf.vhdx"), "--svg", picture)
    assert "vhdx.cli.pictures" in modules
