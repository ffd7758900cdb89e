"""``vhdx-inspect``: looking into images. None is ever written, not even a log that waits to be replayed."""

from typing import NoReturn

from vhdx.cli.program import Program, run

COMMANDS = ("info", "chain", "map", "check", "dump", "hash", "compare", "read", "report")

program = Program(
    "vhdx-inspect",
    "Look into VHD and VHDX images, in files and on SMB shares. No image is ever written.\n\n"
    "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path.",
    {name: f"vhdx.cli.looking.{name}" for name in COMMANDS},
)


def main() -> NoReturn:
    """The installed script."""
    run(program)
