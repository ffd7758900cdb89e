"""``vhdx-inspect``: examines images. It never writes to one, not even to replay a log."""

from typing import NoReturn

from vhdx.cli.program import Program, run
from vhdx.cli.summaries import LOOKING

COMMANDS = LOOKING

program = Program("vhdx-inspect", "vhdx.cli.looking")


def main() -> NoReturn:
    """The installed script."""
    run(program)
