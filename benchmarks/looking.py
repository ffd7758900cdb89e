"""Looking at an image: `info` and `check` against qemu-img's.

Ours is measured twice: as a call in a running program, and as the installed command, which is what qemu-img has to be
compared with; and `info`, which should answer at once, also against an interpreter that does nothing.
"""

import sys
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.content import KIB, scattered, write_image
from benchmarks.measuring import Case, Contender, WrongResult
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

VERBS = ("info", "check")


def cases(directory: Path, place: str, size: int) -> Iterator[Case]:
    """A dynamic image with data all over it."""
    files, path = LocalFileSystem(directory), directory / "disk.vhdx"
    NativeEngine().create(files, path.name, 64 * size)
    write_image(files, path.name, scattered(256, 4 * KIB, 64 * size, seed=3))
    script = Path(sysconfig.get_path("scripts"), "vhdx-inspect")
    calls = {"info": lambda: _info(files, path.name), "check": lambda: _check(files, path.name)}
    for verb in VERBS:
        theirs = Contender(f"qemu-img {verb}", partial(_run, "qemu-img", verb, "-f", "vhdx", path))
        command = Contender(f"vhdx-inspect {verb}", partial(_run, script, verb, path))
        yield Case(f"{verb}, a call", place, [Contender("vhdx, a call", calls[verb]), theirs])
        yield Case(f"{verb}, the command", place, [command, theirs])
        if verb == "info":
            bare = Contender("python -c pass", partial(_run, sys.executable, "-c", "pass"))
            yield Case("info, the command, and an idle Python", place, [command, bare])


def _info(files: FileSystem, name: str) -> None:
    NativeEngine().info(files, name)


def _check(files: FileSystem, name: str) -> None:
    found = list(NativeEngine().check(files, name))
    if found:
        raise WrongResult(f"check finds fault with a sound image: {found[0]}")


def _run(*arguments: str | Path) -> None:
    peers.command(*arguments)
