"""``-q``, ``-p`` and ``--json`` on whatever command has them."""

import click
import pytest

from tests.cli.running import Programs
from vhdx.cli.img import program as img
from vhdx.cli.inspect import program as inspect

CHANGES = [
    "create new.vhdx 1M",
    "create over.vhdx -b base.vhdx",
    "convert base.vhdx new.raw",
    "convert base.vhdx azure.vhd --azure",
    "merge child.vhdx",
    "relink child.vhdx base.vhdx",
    "resize other.vhdx 9M",
    "compact other.vhdx",
    "replay other.vhdx",
    "repair other.vhdx",
    "write other.vhdx 0",
]
MOVING = ["convert base.vhdx new.raw", "merge child.vhdx", "compact base.vhdx", "hash base.vhdx"]
MOVING += ["compare base.vhdx other.vhdx", "write other.vhdx 0"]


@pytest.fixture
def disks(programs: Programs) -> Programs:
    for name in ("base.vhdx", "other.vhdx"):
        programs.bench.create(name)
        programs.bench.write(name, 0, b"same")
    programs.bench.child("child.vhdx", "base.vhdx")
    programs.bench.write("child.vhdx", 4096, b"data")
    return programs


def test_every_command_is_here() -> None:
    """All that change something take -q, all that show progress both."""
    context = click.Context(img)
    assert {line.split()[0] for line in CHANGES} == set(img.list_commands(context))
    moving = set()
    for program in (img, inspect):
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            options = {option for one in command.params for option in one.opts}
            assert program is inspect or {"-q", "--quiet", "--json"} <= options
            if "-p" in options:
                assert {"--progress", "-q"} <= options
                moving.add(name)
    assert moving == {line.split()[0] for line in MOVING}


@pytest.mark.parametrize("line", CHANGES)
def test_nothing_is_said(line: str, disks: Programs) -> None:
    ended = disks.img(*line.split(), "-q", stdin=b"bytes")
    assert ended.out == ""


@pytest.mark.parametrize("line", CHANGES)
def test_json_is_said_all_the_same(line: str, disks: Programs) -> None:
    assert disks.img(*line.split(), "-q", "--json", stdin=b"bytes").json


def test_a_plan_is_said_all_the_same(disks: Programs) -> None:
    assert "would be merged" in disks.img("merge", "child.vhdx", "--dry-run", "-q").out


def test_what_goes_wrong_is_said_all_the_same(disks: Programs) -> None:
    assert "exists" in disks.refused("create", "base.vhdx", "1M", "-q")


@pytest.mark.parametrize("line", MOVING)
def test_progress_from_the_start(line: str, disks: Programs) -> None:
    """On stderr, as lines where that is no terminal."""
    program = "vhdx-inspect" if line.partition(" ")[0] in {"hash", "compare"} else "vhdx-img"
    assert disks.run(program, *line.split(), "-p", stdin=b"bytes", code=(0, 1), progress=True).err


def test_quiet_wins(disks: Programs) -> None:
    assert disks.inspect("hash", "base.vhdx", "-p", "-q").err == ""
