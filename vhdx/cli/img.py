"""``vhdx-img``: creating and changing images."""

from typing import NoReturn

from vhdx.cli.program import Program, run

COMMANDS = ("create", "convert", "merge", "relink", "resize", "compact", "replay", "repair", "write")

program = Program(
    "vhdx-img",
    "Create and change VHD and VHDX images, in files and on SMB shares.\n\n"
    "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path. Whatever a command is "
    "stopped in, the images stay readable; the same command again finishes.",
    {name: f"vhdx.cli.changing.{name}" for name in COMMANDS},
)


def main() -> NoReturn:
    """The installed script."""
    run(program)
