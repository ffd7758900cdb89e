"""``vhdx-img``: creates and modifies images."""

from typing import NoReturn

from vhdx.cli.program import Program, run
from vhdx.cli.summaries import CHANGING

COMMANDS = CHANGING

program = Program("vhdx-img", "vhdx.cli.changing")


def main() -> NoReturn:
    """The installed script."""
    run(program)
