"""The help of both programs and of each subcommand, as it is kept in golden/."""

import pytest

from tests.cli.conftest import Golden
from tests.cli.running import Programs
from vhdx.cli.img import COMMANDS as CHANGING
from vhdx.cli.inspect import COMMANDS as LOOKING

COMMANDS = {"vhdx-inspect": LOOKING, "vhdx-img": CHANGING}
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
    """One line that says where the help is, like any other usage error."""
    ended = programs.run(program, code=64)
    assert "--help" in ended.err
    assert "\\n" not in ended.err
