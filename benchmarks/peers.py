"""The programs that we are measured against, and how their results are made durable like ours."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.content import Run
from benchmarks.measuring import WrongResult

CACHE = ("-t", "writeback")
"""qemu-img writes through the page cache and flushes when it closes the image, as we do."""


def missing(*programs: str) -> str | None:
    """Which of *programs* is not there, in words, or None."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{' and '.join(absent)} not found" if absent else None


def command(*arguments: str | Path, text: str | None = None) -> str:
    """Run a program; what it printed. Raises WrongResult with its own words when it fails."""
    done = subprocess.run(list(map(str, arguments)), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongResult(f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def durable(path: Path) -> None:
    """Make a file that a program has written durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle(directory: Path) -> None:
    """Wait until what earlier work left in the page cache is written, so that nobody pays for somebody else."""
    command("sync", "-f", directory)


def fresh_copy(source: Path, target: Path) -> None:
    """A copy that shares no blocks with its source."""
    target.unlink(missing_ok=True)
    command("cp", "--sparse=always", "--reflink=never", source, target)


def write_qcow2(path: Path, runs: Iterable[Run]) -> None:
    """Put *runs* into a qcow2 image."""
    lines = [f"write -q -P {run.byte} {run.offset} {run.length}\n" for run in runs]
    command("qemu-io", "-f", "qcow2", *CACHE, path, text="".join(lines))


def same_disk(first: Path, second: Path) -> None:
    """Both images hold the same disk, each read through its own chain. Raises WrongResult."""
    formats = [path.suffix.removeprefix(".") for path in (first, second)]
    command("qemu-img", "compare", "-f", formats[0], "-F", formats[1], first, second)
