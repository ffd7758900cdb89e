"""Engines to test the driver with, a guest's view of their disks, and what a share holds at a glance."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Protocol
from uuid import UUID

from smbfs_driver.volumes import info
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.names import VolumeNames
from smbfs_driver.volumes.volumes import Volumes
from tests.driver.fake_engine import SECTOR, FakeEngine
from vhdx.image.base import NewId
from vhdx.storage.base import FileSystem
from vhdx.verbs.engine import NativeEngine

SIZE = 16 * SECTOR
VOLUME = f"volume-{UUID(int=1)}"
OTHER = f"volume-{UUID(int=2)}"
A, B, C = (str(UUID(int=number)) for number in (10, 11, 12))


def telling_ids(start: int) -> NewId:
    """GUIDs that come out the same in every run and differ from their first digits on, as temporaries need it."""
    numbers = count(start)
    return lambda: UUID(int=next(numbers) << 96 | 0x8000_0000_0000_0000)


class Kit(Protocol):
    """An engine, and a guest of its disks."""

    @property
    def engine(self) -> VolumeEngine: ...

    def write(self, files: FileSystem, path: str, sector: int, content: int) -> None:
        """Fill one sector with a byte."""

    def read(self, files: FileSystem, path: str) -> bytes:
        """The whole disk."""


@dataclass(frozen=True)
class FakeKit:
    """The engine whose images are JSON."""

    engine: FakeEngine

    def write(self, files: FileSystem, path: str, sector: int, content: int) -> None:
        self.engine.write(files, path, sector, content)

    def read(self, files: FileSystem, path: str) -> bytes:
        return self.engine.read(files, path)


@dataclass(frozen=True)
class NativeKit:
    """The real engine."""

    engine: NativeEngine

    def write(self, files: FileSystem, path: str, sector: int, content: int) -> None:
        with closing(self.engine.open_chain(files, path, writable=1, orphan=True)) as chain:
            chain.write(sector * SECTOR, bytes([content]) * SECTOR)

    def read(self, files: FileSystem, path: str) -> bytes:
        with closing(self.engine.open_chain(files, path)) as chain:
            return chain.read(0, chain.size)


def fake_kit(ids: NewId) -> Kit:
    return FakeKit(FakeEngine(ids))


def native_kit(ids: NewId) -> Kit:
    return NativeKit(NativeEngine(ids))


KITS = {"fake": fake_kit, "native": native_kit}


@dataclass(frozen=True)
class Bench:
    """A share, the volumes on it, and a guest."""

    files: FileSystem
    kit: Kit
    volumes: Volumes

    @classmethod
    def on(cls, files: FileSystem, kit_name: str, start: int = 1) -> "Bench":
        """*start* keeps the ids of two benches on one share apart."""
        ids = telling_ids(start)
        kit = KITS[kit_name](ids)
        return cls(files, kit, Volumes(files, kit.engine, ids))

    def write(self, sector: int, content: int, volume: str = VOLUME) -> None:
        """As the volume's guest."""
        self.kit.write(self.files, self.volumes.active(volume), sector, content)

    def content(self, volume: str = VOLUME) -> dict[int, int]:
        """What the volume's guest sees: the first byte of each sector that is not zero; -1 is the size."""
        return self._look(self.volumes.active(volume))

    def at_snapshot(self, snapshot_id: str, volume: str = VOLUME) -> dict[int, int]:
        """What the guest saw at a snapshot."""
        chain = self.volumes.chain(volume)
        file = info.load(self.files, VolumeNames(volume)).snapshots[snapshot_id]
        return self._look(chain[chain.index(file) + 1])

    def _look(self, path: str) -> dict[int, int]:
        content = self.kit.read(self.files, path)
        sectors = {number: content[number * SECTOR] for number in range(len(content) // SECTOR)}
        assert content == b"".join(bytes([byte]) * SECTOR for byte in sectors.values())
        return {-1: len(content)} | {number: byte for number, byte in sectors.items() if byte}

    def picture(self, volume: str = VOLUME) -> Mapping[str, dict[int, int]] | None:
        """All that a volume shows, by snapshot; None where there is no volume."""
        names = VolumeNames(volume)
        if names.base not in self.files.list(""):
            return None
        snapshots = info.load(self.files, names).snapshots
        return {"active": self.content(volume)} | {key: self.at_snapshot(key, volume) for key in snapshots}

    def strays(self) -> set[str]:
        """Files that no volume on the share needs."""
        files = set(self.files.list(""))
        needed: set[str] = set()
        for volume in (VOLUME, OTHER):
            names = VolumeNames(volume)
            if names.base in files:
                needed |= {names.info, *self.volumes.chain(volume)}
        return files - needed
