"""What two blocks on one place of a file mean for who wants to read all of a disk.

The rule: blocks that are together longer than twice their file are refused, since then reading the disk has nothing
to do with the size of the file any more. What is less is told, and read.
"""

_MOST = 2


def refusal(mapped: int, file_size: int) -> str:
    """Why a disk whose blocks have *mapped* bytes together is not read as a whole; empty when it is."""
    if mapped <= _MOST * file_size:
        return ""
    return (
        f"all blocks together have more than twice the {file_size} bytes of the file, so the disk is not read as a "
        "whole: a check lists them, single ranges can be read, salvage takes what can be told apart"
    )


def warning() -> str:
    """What is told where the disk can be read."""
    return "one of them shows the data of the other, and nothing in the file tells which: a check lists all of them"
