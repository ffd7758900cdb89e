"""Remedies: each names only what the command has that failed, and doing what it says helps."""

import re
from pathlib import Path

import click
import pytest

from tests.cli.running import Programs
from tests.support.disks import MIB, pattern
from vhdx.cli import img, inspect
from vhdx.cli.hints import HINTS, hint, offered

COMMANDS = [
    (program.name, name, program.get_command(click.Context(program), name))
    for program in (img.program, inspect.program)
    for name in program.list_commands(click.Context(program))
]


@pytest.mark.parametrize(("program", "name", "command"), COMMANDS, ids=[f"{one} {two}" for one, two, _ in COMMANDS])
def test_only_options_that_there_are(program: str, name: str, command: click.Command) -> None:
    known = {f"{one} {two}": found for one, two, found in COMMANDS}
    for kind in {one.kind for one in HINTS}:
        text = hint(_made(kind), offered(command))
        others = re.findall(r"(vhdx-(?:img|inspect) [a-z]+)((?: --[a-z-]+)*)", text)
        for other, options in others:
            assert all(any(option in one.opts for one in known[other].params) for option in options.split())
            text = text.replace(other + options, "")
        for option, value in re.findall(r"(?<![\w-])(--?[A-Za-z][a-z-]*)(?: ([a-z0-9]+))?", text):
            parameter = next((one for one in command.params if option in one.opts), None)
            assert parameter is not None, f"{program} {name} has no {option}: {text}"
            if isinstance(parameter.type, click.Choice) and value:
                assert value in parameter.type.choices


def _made(kind: type[BaseException]) -> BaseException:
    return kind.__new__(kind)


def test_the_format_is_said(programs: Programs) -> None:
    (programs.here / "disk").write_bytes(pattern(1, MIB))
    (programs.here / "other").write_bytes(pattern(1, MIB))
    assert "-f raw" in programs.inspect("hash", "disk", code=2).err
    programs.inspect("hash", "disk", "-f", "raw")
    assert "-F raw" in programs.inspect("compare", "disk", "other", code=3).err
    programs.inspect("compare", "disk", "other", "-f", "raw", "-F", "raw")
    assert "-f raw" not in programs.img("merge", "disk", code=2).err
    assert "-f raw" not in programs.img("create", "child.vhdx", "-b", "disk", code=2).err


def test_a_parent_that_is_no_image_is_not_to_be_called_one(programs: Programs) -> None:
    (programs.here / "disk.qcow2").write_bytes(b"QFI\xfb\0\0\0\3".ljust(MIB, b"\0"))
    said = programs.img("create", "child.vhdx", "-b", "disk.qcow2", code=2).err
    assert "qemu-img convert" in said
    assert "-F" not in said


def test_what_is_replaced_cannot_give_up_children(programs: Programs) -> None:
    """Neither command has an option for it, so none is hinted at; what the message says helps."""
    programs.bench.create("parent.vhdx")
    programs.img("create", "child.vhdx", "-b", "parent.vhdx")
    programs.bench.create("other.vhdx")
    for command in (("create", "parent.vhdx", "1M"), ("convert", "other.vhdx", "parent.vhdx")):
        said = programs.refused(*command, "--force")
        assert "given up" not in said
    (programs.here / "child.vhdx").unlink()
    programs.img("convert", "other.vhdx", "parent.vhdx", "--force")


def test_azure_says_which_word_is_in_the_way(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    assert "omit -O vhdx" in programs.refused("convert", "a.vhdx", "b.vhd", "--azure", "-O", "vhdx", code=64)
    assert "name it .vhd" in programs.refused("convert", "a.vhdx", "b.vhdx", "--azure", code=64)


def test_repair_names_its_own_option(programs: Programs) -> None:
    """It replaces no undo file: there is no --force to name."""
    programs.bench.create("a.vhdx")
    _spoil_a_header(programs.here / "a.vhdx")
    (programs.here / "a.vhdx.undo").write_bytes(b"of another day")
    said = programs.refused("repair", "a.vhdx")
    assert "--undo-file" in said
    assert "--force" not in said
    programs.img("repair", "a.vhdx", "--undo-file", "b.undo")
    assert (programs.here / "a.vhdx.undo").read_bytes() == b"of another day"
    programs.inspect("check", "a.vhdx")


def _spoil_a_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(64 * 1024 + 4)
        file.write(b"\xff" * 4)


def test_files_are_replaced_as_it_says(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    (programs.here / "b").write_bytes(b"old")
    for words in (["create", "b", "8M", "-f", "vhdx"], ["convert", "a.vhdx", "b", "-O", "vhdx"]):
        assert "--force" in programs.refused(*words)
        programs.img(*words, "--force")


def test_data_is_cut_off_as_it_says(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    programs.bench.write("a.vhdx", 7 * MIB, b"data")
    assert "--shrink --force" in programs.refused("resize", "a.vhdx", "4M")
    programs.img("resize", "a.vhdx", "4M", "--shrink", "--force")
