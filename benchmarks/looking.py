"""Looking at an image: `info` and `check` against qemu-img's.

Ours is measured twice: as a call in a running program, and as a Python process that is started for it, which is what
qemu-img has to be compared with.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.content import KIB, scattered, write_image
from benchmarks.measuring import Case, Contender, WrongResult
from vhdx.engine import NativeEngine
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem

PROGRAM = """\
from vhdx.engine import NativeEngine
from vhdx.storage.local import LocalFileSystem

files = LocalFileSystem({directory!r})
"""
"""What a fresh process runs, with one of `VERBS` behind it."""

VERBS = {"info": "NativeEngine().info(files, {name!r})", "check": "list(NativeEngine().check(files, {name!r}))"}


def cases(directory: Path, place: str, size: int) -> Iterator[Case]:
    """A dynamic image with data all over it."""
    files, path = LocalFileSystem(directory), directory / "disk.vhdx"
    NativeEngine().create(files, path.name, 64 * size)
    write_image(files, path.name, scattered(256, 4 * KIB, 64 * size, seed=3))
    calls = {"info": lambda: _info(files, path.name), "check": lambda: _check(files, path.name)}
    for verb, call in calls.items():
        theirs = Contender(f"qemu-img {verb}", partial(_run, "qemu-img", verb, "-f", "vhdx", path))
        program = (PROGRAM + VERBS[verb]).format(directory=str(directory), name=path.name)
        process = partial(_run, sys.executable, "-c", program)
        yield Case(f"{verb}, a call", place, [Contender("vhdx, a call", call), theirs])
        yield Case(f"{verb}, a new process", place, [Contender("vhdx, a new process", process), theirs])


def _info(files: FileSystem, name: str) -> None:
    NativeEngine().info(files, name)


def _check(files: FileSystem, name: str) -> None:
    found = list(NativeEngine().check(files, name))
    if found:
        raise WrongResult(f"check finds fault with a sound image: {found[0]}")


def _run(*arguments: str | Path) -> None:
    peers.command(*arguments)
