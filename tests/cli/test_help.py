"""The help of both programs and of each subcommand, as it is kept in golden/."""

import re

import click
import pytest

from tests.cli.conftest import Golden
from tests.cli.running import Programs
from vhdx.cli.exits import MEANINGS, Exit, exit_codes
from vhdx.cli.front import OPTIONS
from vhdx.cli.img import program as img
from vhdx.cli.inspect import program as inspect
from vhdx.cli.program import CONTEXT
from vhdx.cli.summaries import CODES, KNOWN_AS
from vhdx.cli.summaries import LISTS as COMMANDS

ALL = [(program, name) for program, names in COMMANDS.items() for name in ("", *names)]


@pytest.mark.parametrize(("program", "name"), ALL, ids=[f"{program} {name}".strip() for program, name in ALL])
def test_help(program: str, name: str, programs: Programs, golden: Golden) -> None:
    words = [name] if name else []
    golden(f"help-{'-'.join([program, *words])}", programs.run(program, *words, "--help").out)


@pytest.mark.parametrize("program", COMMANDS)
def test_the_short_option(program: str, programs: Programs) -> None:
    assert programs.run(program, "-h").out == programs.run(program, "--help").out


def test_a_narrow_and_a_wide_terminal(programs: Programs) -> None:
    for columns, most in (("60", 60), ("300", 100)):
        programs.more["COLUMNS"] = columns
        for line in programs.img("convert", "--help").lines:
            assert len(line) <= most


@pytest.mark.parametrize("program", COMMANDS)
def test_the_version(program: str, programs: Programs) -> None:
    assert programs.run(program, "--version").out.startswith(f"{program} ")


@pytest.mark.parametrize("program", COMMANDS)
def test_nothing_asked_for(program: str, programs: Programs) -> None:
    """The help, and one line as for any other wrong usage."""
    ended = programs.run(program, code=64)
    assert "--help" in ended.err
    assert "\\n" not in ended.err
    assert ended.out == programs.run(program, "--help").out



@pytest.mark.parametrize("program", COMMANDS)
def test_the_front_page_is_true(program: str) -> None:
    """What is told without loading the commands is what they say of themselves."""
    group = {"vhdx-inspect": inspect, "vhdx-img": img}[program]
    context = click.Context(group, help_option_names=CONTEXT["help_option_names"])
    for name, summary in COMMANDS[program].items():
        command = group.get_command(context, name)
        assert command is not None
        assert summary == " ".join((command.help or "").partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")
    records = [option.get_help_record(context) for option in group.get_params(context)]
    assert list(OPTIONS.items()) == records
    assert exit_codes({**MEANINGS, Exit.SALVAGED: "salvaged in part"}) == CODES


@pytest.mark.parametrize("program", COMMANDS)
def test_the_front_page_of_the_script(program: str, programs: Programs) -> None:
    """Which is made without click, is the same at every width."""
    for columns in ("10", "60", "80", "99", "300", "0", "x"):
        programs.more["COLUMNS"] = columns
        assert programs.run(program, "-h", before=["env"]).out == programs.run(program, "-h").out


@pytest.mark.parametrize(("program", "name"), ALL, ids=[f"{program} {name}".strip() for program, name in ALL])
def test_nothing_is_cut(program: str, name: str, programs: Programs) -> None:
    """Whole sentences, and the exit codes, each once."""
    told = programs.run(program, *([name] if name else []), "--help").out
    assert "..." not in told.replace("[ARGS]...", "").replace("[PART]...", "")
    codes = " ".join(told.partition("Exit codes: ")[2].split())
    assert re.search(r"\b64 wrong usage", codes)
    assert codes.endswith("141 nobody reads the output.")


MISTYPED = [
    ("vhdx-inspect", ["chek"], "vhdx-inspect check"),
    ("vhdx-img", ["convret", "a", "b"], "vhdx-img convert"),
    ("vhdx-img", ["info", "a"], "vhdx-inspect info"),
    ("vhdx-img", ["commit", "a"], "vhdx-img merge"),
    ("vhdx-inspect", ["Resize", "a"], "vhdx-img resize"),
    ("vhdx-inspect", ["info", "--jsno", "a"], "--json"),
    ("vhdx-img", ["create", "--bloc-size", "1M"], "--block-size"),
]


@pytest.mark.parametrize(("program", "words", "meant"), MISTYPED, ids=[" ".join(words) for _, words, _ in MISTYPED])
def test_what_was_meant(program: str, words: list[str], meant: str, programs: Programs) -> None:
    assert f"{meant}" in programs.run(program, *words, code=64).err.partition("(see ")[0].partition("id you mean")[2]


def test_other_names_lead_to_commands() -> None:
    """And are none themselves."""
    names = {name for names in COMMANDS.values() for name in names}
    assert set(KNOWN_AS.values()) <= names
    assert not names & set(KNOWN_AS)


def test_what_nobody_can_have_meant(programs: Programs) -> None:
    assert "mean" not in programs.img("xyzzy", code=64).err
