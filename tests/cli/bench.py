"""Images for the commands to work on, made in this process: a process each would take most of the tests' time."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """The images in one directory."""

    directory: Path

    @property
    def files(self) -> LocalFileSystem:
        return LocalFileSystem(self.directory)

    def create(
        self,
        name: str,
        size: int = 8 * MIB,
        *,
        fixed: bool = False,
        block: int | None = None,
        sector: int | None = None,
    ) -> None:
        """An empty image of the format that its name says."""
        format = ImageFormat(name.rpartition(".")[2])
        options = CreateOptions(format=format, fixed=fixed, block_size=block, logical_sector_size=sector)
        NativeEngine().create(self.files, name, size, options)

    def child(self, name: str, parent: str) -> None:
        """An empty image over *parent*, beside it."""
        NativeEngine().create_child(self.files, name, parent)

    def write(self, name: str, offset: int, data: bytes) -> None:
        with NativeEngine().open_chain(self.files, name, writable=1, orphan=True) as chain:
            chain.write(offset, data)

    def content(self, name: str) -> bytes:
        """The disk in an image."""
        with NativeEngine().open_chain(self.files, name) as chain:
            return chain.read(0, chain.size)

    def digest(self, name: str) -> str:
        """Of the disk, in pieces: it may be large."""
        found = hashlib.sha256()
        with NativeEngine().open_chain(self.files, name) as chain:
            for offset in range(0, chain.size, 16 * MIB):
                found.update(chain.read(offset, min(16 * MIB, chain.size - offset)))
        return found.hexdigest()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())
