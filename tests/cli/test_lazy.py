"""A command loads what it uses: looking at a local file takes no SMB, no pictures, no terminal library."""

from pathlib import Path

import pytest

from tests.cli.running import Programs, interpreter

HEAVY = ["smbprotocol", "cryptography", "spnego", "rich", "jinja2", "PIL", "oslo_config", "oslo_concurrency", "cinder"]
_PROGRAM = """
import os, sys
def tell(code, leave=os._exit):
    sys.stdout.flush()
    os.write(kept, f"{code} {' '.join(sys.modules)}".encode())
    leave(0)
os._exit, sys.argv = tell, sys.argv[1:]
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from vhdx.cli.start import img, inspect
try:
    (img if sys.argv[0] == "vhdx-img" else inspect)()
except SystemExit as end:
    tell(end.code)
"""
"""The installed script, which tells at its end what is loaded."""


def loaded(programs: Programs, program: str, *words: str, code: int = 0) -> set[str]:
    """The modules that a command loads, each by its full name, those of a bare interpreter left out."""
    ended, *modules = interpreter("-c", _PROGRAM, program, *words, environment=programs.outside).split()
    assert int(ended) == code
    return set(modules) - imported(programs, "pass")


def imported(programs: Programs, code: str) -> set[str]:
    """The modules that are there after a piece of code."""
    return set(interpreter("-c", f"{code}\nimport sys; print(*sys.modules)", environment=programs.outside).split())


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
    assert looking_too == {f"vhdx.cli.looking.{name}" for name in ("glance", "info", "info_text", "image_json")}


START = {"importlib", "warnings", "gc", "vhdx", "vhdx.cli", "vhdx.cli.start"}
"""What every command loads: the installed script names a function of the last."""
GLANCE = {
    "vhdx.cli.looking",
    "vhdx.cli.looking.glance",
    "vhdx.cli.looking.info_text",
    "vhdx.cli.plain",
    "vhdx.format",
    "vhdx.format.checksum",
    "vhdx.format.vhd_checksum",
}
STRUCTURES = {"struct", "google_crc32c", "encodings.utf_16_le"}
FRONT = {"vhdx.cli.front", "vhdx.cli.summaries"}
AT_ONCE = [
    (["vhdx-inspect", "--version"], {"vhdx.version"}, set()),
    (["vhdx-img", "--version"], {"vhdx.version"}, set()),
    (["vhdx-inspect", "--help"], FRONT, {"textwrap"}),
    (["vhdx-img", "--help"], FRONT, {"textwrap"}),
    (["vhdx-inspect", "info", "base.vhdx"], GLANCE, {*STRUCTURES}),
    (["vhdx-inspect", "info", "--json", "base.vhdx"], GLANCE, {*STRUCTURES, "json"}),
]


@pytest.mark.parametrize(("words", "own", "needed"), AT_ONCE, ids=[" ".join(words) for words, _, _ in AT_ONCE])
def test_what_is_asked_most_often(words: list[str], own: set[str], needed: set[str], programs: Programs) -> None:
    """All that is loaded is used: of this package exactly that, of others what those need."""
    programs.bench.create("base.vhdx")
    words = [str(programs.here / word) if word.endswith("vhdx") else word for word in words]
    modules = loaded(programs, *words)
    ours = {name for name in modules if name.partition(".")[0] in {"vhdx", "smbfs_driver"}}
    assert ours == own | {name for name in START if name.startswith("vhdx")}
    others = modules - ours - START
    assert needed <= others
    assert others <= imported(programs, f"import {', '.join({'collections.abc', 'importlib', *needed})}")
    assert not others & {"click", "rich", "construct", "typing", "dataclasses", "inspect", "pdb", "importlib.metadata"}


@pytest.mark.parametrize("program", ["vhdx-inspect", "vhdx-img"])
def test_what_is_used_wrongly(program: str, programs: Programs) -> None:
    """Nothing of an image is loaded for a command that does not get as far."""
    modules = loaded(programs, program, "nothing", code=64)
    assert "click" in modules
    assert not {name for name in modules if name.startswith(("vhdx.image", "vhdx.format", "construct", "rich"))}


def test_changing_a_local_file(programs: Programs) -> None:
    path = str(programs.here / "a.vhdx")
    assert not heavy(loaded(programs, "vhdx-img", "create", path, "8M"))
    assert not heavy(loaded(programs, "vhdx-img", "compact", path))
    assert not heavy(loaded(programs, "vhdx-img", "convert", path, str(programs.here / "b.vhd")))


@pytest.mark.parametrize("program", ["vhdx-inspect", "vhdx-img"])
def test_help(program: str, programs: Programs) -> None:
    """The help of one command."""
    command = {"vhdx-inspect": "map", "vhdx-img": "merge"}[program]
    assert not heavy(loaded(programs, program, command, "--help"))


def test_there_is_something_to_be_found(looking: Programs, tmp_path: Path) -> None:
    """What a command uses is seen by the same eyes."""
    picture = str(tmp_path / "map.svg")
    modules = loaded(looking, "vhdx-inspect", "map", str(looking.here / "leaf.vhdx"), "--svg", picture)
    assert "vhdx.cli.pictures" in modules
