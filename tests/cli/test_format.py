"""``-f`` and ``-F``: what an image is is said where its content says two things."""

import click
import pytest

from tests.cli.running import Programs
from vhdx.cli.img import program as img
from vhdx.cli.inspect import program as inspect

MIB = 1 << 20
AMBIGUOUS = "marks of a VHDX and of a VHD"


@pytest.mark.parametrize("program", [img, inspect], ids=lambda program: program.name)
def test_every_command_that_opens_an_image_can_be_told_its_format(program: click.Group) -> None:
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        options = {option for param in command.params for option in param.opts}
        assert {"-f", "--format"} <= options, name


@pytest.fixture
def planted(programs: Programs) -> Programs:
    """A fixed VHD whose guest wrote the mark of a VHDX over the start of its disk."""
    programs.img("create", "base.vhd", "4M", "-t", "fixed")
    programs.bench.write("base.vhd", 0, b"vhdxfile, says the guest")
    return programs


def test_a_chain_over_an_image_with_two_marks(planted: Programs) -> None:
    failed = planted.img("create", "-b", "base.vhd", "child.vhd", code=2)
    assert AMBIGUOUS in failed.err
    assert "specify the format with -F vhd or -F vhdx" in failed.err
    planted.img("create", "-b", "base.vhd", "-F", "vhd", "child.vhd")
    (planted.here / "bytes").write_bytes(b"and more")
    planted.img("write", "child.vhd", "1M", "--from", "bytes")
    # Parents are of the child's format, so a child whose own marks are clear needs no word.
    assert planted.inspect("read", "child.vhd", "0", "8", "--raw").out == "vhdxfile"
    assert planted.inspect("check", "child.vhd", "--chain", "--json").json["findings"][-1]["severity"] == "info"
    assert "is the parent of" in planted.img("write", "base.vhd", "0", "-f", "vhd", "--from", "bytes", code=4).err
    assert AMBIGUOUS in planted.img("relink", "child.vhd", "base.vhd", code=2).err
    planted.img("relink", "-f", "vhd", "child.vhd", "base.vhd")
    assert "nothing to replay" in planted.img("replay", "-f", "vhd", "base.vhd").out
    planted.img("merge", "-f", "vhd", "child.vhd")
    assert planted.inspect("read", "-f", "vhd", "base.vhd", "1M", "8", "--raw").out == "and more"
    assert not (planted.here / "child.vhd").exists()


def test_what_is_replaced_is_looked_at_as_all_that_it_may_be(planted: Programs) -> None:
    """The guest's mark does not make a parent rubbish that --force may take."""
    planted.img("create", "-b", "base.vhd", "-F", "vhd", "child.vhd")
    for words in (["create", "base.vhd", "1M"], ["convert", "child.vhd", "base.vhd"]):
        planted.img(*words, "--force", code=4)
    assert planted.inspect("read", "child.vhd", "0", "8", "--raw").out == "vhdxfile"


def test_a_format_of_no_parent(programs: Programs) -> None:
    assert "-F requires -b" in programs.img("create", "-F", "vhd", "a.vhd", "1M", code=64).err
