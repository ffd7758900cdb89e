"""``vhdx-inspect``: examines images. It never writes to one, not even to replay a log."""

from typing import NoReturn

from vhdx.cli.program import Program, run

COMMANDS = ("info", "chain", "map", "check", "dump", "hash", "compare", "read", "report")

program = Program(
    "vhdx-inspect",
    "Examine VHD and VHDX images, local or on SMB shares. Images are never modified.\n\n"
    "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path.",
    {name: f"vhdx.cli.looking.{name}" for name in COMMANDS},
)


def main() -> NoReturn:
    """The installed script."""
    run(program)
