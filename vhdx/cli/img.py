"""``vhdx-img``: creates and modifies images."""

from typing import NoReturn

from vhdx.cli.program import Program, run

COMMANDS = ("create", "convert", "merge", "relink", "resize", "compact", "replay", "repair", "write")

program = Program(
    "vhdx-img",
    "Create and modify VHD and VHDX images, local or on SMB shares.\n\n"
    "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path. Images stay readable if a "
    "command is interrupted; run the same command again to finish.",
    {name: f"vhdx.cli.changing.{name}" for name in COMMANDS},
)


def main() -> NoReturn:
    """The installed script."""
    run(program)
