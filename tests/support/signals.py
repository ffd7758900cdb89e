"""Signals of the programs that tests start: those of the foreground, whatever the tests themselves have inherited."""

from collections.abc import Sequence
from pathlib import Path


def interruptible(command: Sequence[str | Path]) -> list[str | Path]:
    """*command*, in the same process, where SIGINT does what it does by default.

    What a shell starts in the background has it ignored, and so has all that is started from there.
    """
    return ["env", "--default-signal=INT", *command]
