"""What the disks hold: runs of one byte, which every program can be told to write, at places that a seed fixes."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import NativeEngine

KIB = 1 << 10
MIB = 1 << 20


class Run(NamedTuple):
    """*length* times *byte* from *offset* on."""

    offset: int
    length: int
    byte: int

    @property
    def data(self) -> bytes:
        return bytes([self.byte]) * self.length


def every(step: int, length: int, size: int, *, seed: int = 0) -> Iterator[Run]:
    """A run of *length* at every multiple of *step* below *size*."""
    for number, offset in enumerate(range(0, size, step)):
        yield Run(offset, length, _byte(number + seed))


def scattered(count: int, length: int, size: int, *, seed: int) -> list[Run]:
    """*count* runs of *length* at different random multiples of it below *size*, ascending."""
    places = sorted(random.Random(seed).sample(range(size // length), count))
    return [Run(place * length, length, _byte(place + seed)) for place in places]


def _byte(number: int) -> int:
    return number % 255 + 1  # never zero: all contenders look for zeros and leave them out


def write_raw(path: Path, size: int, runs: Iterable[Run]) -> None:
    """A raw disk with holes between *runs*."""
    with path.open("wb") as file:
        file.truncate(size)
        for run in runs:
            file.seek(run.offset)
            file.write(run.data)


def write_image(files: FileSystem, path: str, runs: Iterable[Run]) -> None:
    """Put *runs* into an image of ours."""
    with NativeEngine().open_chain(files, path, writable=1) as disk:
        for run in runs:
            disk.write(run.offset, run.data)
