"""The disk as it must be: a raw file of this machine that is changed the same way as the volume."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from vhdx import Chain
from vhdx.extents import Presence

CHUNK = 1 << 20
PAGE = 4096
_ZEROS = bytes(CHUNK)


class ExpectedDisk:
    """A sparse raw file with a real ext4 in it, written to by the file system's own tools."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        with path.open("wb") as raw:
            raw.truncate(size)

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def copy(self, path: Path) -> "ExpectedDisk":
        """The disk as it is now."""
        other = ExpectedDisk(path, self.size)
        with path.open("r+b") as raw:
            for offset, data in self.chunks():
                raw.seek(offset)
                raw.write(data)
        return other

    def make_filesystem(self, tree: Path) -> None:
        """An ext4 that holds the files of *tree*."""
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(self.path))

    def put(self, source: Path, name: str) -> None:
        """Copy a file into the ext4."""
        _run("debugfs", "-w", "-R", f"write {source} {name}", str(self.path))

    def remove(self, name: str) -> None:
        """Remove a file from the ext4."""
        _run("debugfs", "-w", "-R", f"rm {name}", str(self.path))

    def grow(self, size: int) -> None:
        """Add zeros at the end."""
        os.truncate(self.path, size)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """The disk in pieces of 1 MiB, those that are holes left out."""
        with self.path.open("rb") as raw:
            offset = 0
            while offset < self.size:
                try:
                    start = os.lseek(raw.fileno(), offset, os.SEEK_DATA) // CHUNK * CHUNK
                except OSError:
                    return
                yield start, os.pread(raw.fileno(), CHUNK, start)
                offset = start + CHUNK

    def changed_since(self, before: "ExpectedDisk") -> Iterator[tuple[int, bytes]]:
        """Runs of 4 KiB pages that differ from an earlier copy."""
        with before.path.open("rb") as raw:
            for offset, data in self.chunks():
                old = os.pread(raw.fileno(), CHUNK, offset).ljust(len(data), b"\0")
                changed = ((at, data[at : at + PAGE] != old[at : at + PAGE]) for at in range(0, len(data), PAGE))
                for differs, run in groupby(changed, itemgetter(1)):
                    places = [at for at, _ in run]
                    if differs:
                        yield offset + places[0], data[places[0] : places[-1] + PAGE]

    def digest(self) -> str:
        """What `digest_of` must give."""
        return _digest(self.chunks(), self.size)


def digest_of(chain: Chain) -> str:
    """SHA-256 of a disk: its size, and offset and bytes of every MiB that is not all zeros."""
    offsets = sorted(
        {
            offset
            for found in chain.extents(0, chain.size)
            if found.extent.presence is Presence.DATA
            for offset in range(found.extent.offset // CHUNK * CHUNK, found.extent.end, CHUNK)
        }
    )
    return _digest(((at, chain.read(at, min(CHUNK, chain.size - at))) for at in offsets), chain.size)


def _digest(chunks: Iterator[tuple[int, bytes]], size: int) -> str:
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    for offset, data in chunks:
        if data != _ZEROS[: len(data)]:
            digest.update(offset.to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def check_filesystem(path: Path) -> None:
    """Have the file system's own checker look at a raw disk. Raises CalledProcessError."""
    _run("e2fsck", "-fn", str(path))


def missing_tools() -> list[str]:
    """What of the file system's tools is not there."""
    return [program for program in ("mke2fs", "debugfs", "e2fsck") if _find(program) is None]


def _find(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def _run(program: str, *arguments: str) -> None:
    found = _find(program)
    assert found is not None
    subprocess.run([found, *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)
