"""``python -m benchmarks.starting``: what a command costs before it does anything, in processor time.

Each command is run many times, taking turns with an interpreter that does nothing; the least time of each counts, since
nothing makes a process take less than it needs. Floors are those that the project promises; with ``--assert`` a missed
one ends the run with 1.
"""

import argparse
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20
SCRIPTS = Path(sysconfig.get_path("scripts"))
BARE = (sys.executable, "-c", "pass")


class Start(NamedTuple):
    """A command, and how many times the bare interpreter it may take; without a floor it is only shown."""

    words: tuple[str, ...]
    most: float | None = None


def starts(directory: Path) -> list[Start]:
    """The commands, on images in *directory*."""
    files = LocalFileSystem(directory)
    engine = NativeEngine()
    for name in ("disk.vhdx", "disk.vhd"):
        engine.create(files, name, 64 * MIB, CreateOptions(format=ImageFormat(name.rpartition(".")[2])))
    engine.create_child(files, "child.vhdx", "disk.vhdx")
    disk, other, child = (str(directory / name) for name in ("disk.vhdx", "disk.vhd", "child.vhdx"))
    return [
        Start(("vhdx-inspect", "--version"), 2),
        Start(("vhdx-img", "--version"), 2),
        Start(("vhdx-inspect", "--help"), 5),
        Start(("vhdx-img", "--help"), 5),
        Start(("vhdx-inspect", "info", disk), 4),
        Start(("vhdx-inspect", "info", other), 4),
        Start(("vhdx-inspect", "info", "--json", disk), 4),
        Start(("vhdx-inspect", "info", child)),
        Start(("vhdx-inspect", "info", "--help")),
        Start(("vhdx-inspect", "map", disk)),
    ]


def processor_time(words: Sequence[str]) -> float:
    """Seconds that a process takes in user and system mode. Raises RuntimeError when it fails."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    _, status, used = os.wait4(os.posix_spawn(words[0], words, os.environ, file_actions=quiet), 0)
    if status:
        raise RuntimeError(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.starting", description="Processor time to start.")
    parser.add_argument("--repeats", type=int, default=40, help="runs of each (40)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--assert", action="store_true", dest="floors", help="exit with 1 when a floor is missed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vhdx-start-") as place:
        found = starts(Path(place))
        commands = [BARE, *((sys.executable, str(SCRIPTS / start.words[0]), *start.words[1:]) for start in found)]
        least = [float("inf")] * len(commands)
        for _ in range(arguments.repeats + 1):  # whatever a first run has to compile is not the least
            for number, words in enumerate(commands):
                least[number] = min(least[number], processor_time(words))
    bare, *times = least
    names = [" ".join(Path(word).name if "/" in word else word for word in start.words) for start in found]
    if arguments.json:
        rows = [
            {"command": name, "seconds": time, "ratio": time / bare, "floor": start.most}
            for name, start, time in zip(names, found, times, strict=True)
        ]
        print(json.dumps({"bare": bare, "commands": rows}, indent=2))
    else:
        print(f"{'python -c pass':<36} {1000 * bare:7.1f} ms")
        for name, start, time in zip(names, found, times, strict=True):
            floor = "" if start.most is None else f"  at most {start.most:g}"
            print(f"{name:<36} {1000 * time:7.1f} ms  {time / bare:5.1f} x{floor}")
    missed = [start for start, time in zip(found, times, strict=True) if start.most and time > start.most * bare]
    return 1 if arguments.floors and missed else 0


if __name__ == "__main__":
    sys.exit(main())
