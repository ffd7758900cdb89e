"""Four clients at once on two shares of a real server, each through a worker process: no byte wrong, no file left."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import pytest

import vhdx
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes.names import DiskFormat
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.worker.backend import Backend
from smbfs_driver.worker.worker import Worker
from tests.support.load import Load, Open, operations
from tests.support.smbd import Smbd
from vhdx import SmbPool
from vhdx.storage.smb import Credentials

MIB = 1 << 20
OPERATIONS = 120
Feed = Callable[[], bytes]


class Shelves:
    """Volumes of one format on two shares, as a driver would work on them."""

    unit = 16 * MIB

    def __init__(self, worker: Worker, shares: list[Share], pool: SmbPool, format: DiskFormat) -> None:
        self._worker = worker
        self._shares = shares
        self._pool = pool
        self._shape = Shape(format)
        self._homes: dict[str, int] = {}

    def _address(self, volume: str) -> str:
        return self._shares[self._homes[volume]].address

    def _new(self) -> str:
        name = f"volume-{uuid4()}"
        self._homes[name] = hash(name) % 2
        return name

    def create(self, size: int) -> str:
        name = self._new()
        self._worker.call(Backend.create, self._address(name), name, size * self.unit, self._shape)
        return name

    def snapshot(self, volume: str) -> str:
        snapshot = str(uuid4())
        self._worker.call(Backend.create_snapshot, self._address(volume), volume, snapshot)
        return snapshot

    def delete_snapshot(self, volume: str, snapshot: str) -> None:
        self._worker.call(Backend.delete_snapshot, self._address(volume), volume, snapshot)

    def revert(self, volume: str, snapshot: str) -> None:
        self._worker.call(Backend.revert, self._address(volume), volume, snapshot)

    def clone(self, volume: str, size: int) -> str:
        return self._copy(volume, None, size)

    def from_snapshot(self, volume: str, snapshot: str, size: int) -> str:
        return self._copy(volume, snapshot, size)

    def _copy(self, volume: str, snapshot: str | None, size: int) -> str:
        name = self._new()
        self._worker.call(
            Backend.clone,
            self._address(volume),
            name,
            volume,
            size=size * self.unit,
            onto=self._address(name),
            shape=self._shape,
            snapshot_id=snapshot,
        )
        return name

    def extend(self, volume: str, size: int) -> None:
        self._worker.call(Backend.extend, self._address(volume), volume, size * self.unit)

    def can_extend(self, volume: str, snapshots: int) -> bool:
        return self._shape.format is DiskFormat.VHDX or not snapshots

    def migrate(self, volume: str) -> None:
        there = 1 - self._homes[volume]
        onto = self._shares[there].address
        with self._worker.feed(
            Backend.move, self._address(volume), volume, onto=onto, owner=volume, shape=self._shape
        ) as moving:
            moving.write(b"-")
            self._homes[volume] = there

    def can_migrate(self, volume: str) -> bool:
        return True

    def delete(self, volume: str) -> None:
        self._worker.call(Backend.delete, self._address(volume), volume)

    def open(self, volume: str, *, writable: bool = False) -> AbstractContextManager[Open]:
        share = self._shares[self._homes[volume]]
        active = self._worker.call(Backend.active, share.address, volume)
        location = f"smb://{share.server}:{share.port}/{share.share}/{active}"
        return vhdx.open(location, writable=writable, auth=share.credentials, pool=self._pool)


@pytest.fixture
def worker(smbd: Smbd, tmp_path: Path) -> Iterator[tuple[Worker, list[Share]]]:
    """A worker with two shares."""
    shares = []
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        name = f"load{uuid4().hex[:8]}"
        smbd.add_share(name, directory)
        shares.append(Share(smbd.host, name, Credentials(smbd.user, smbd.password), smbd.port))
    made = Worker(shares)
    yield made, shares
    made.close()


@pytest.mark.parametrize(
    "format",
    [DiskFormat.VHDX, pytest.param(DiskFormat.VHD, marks=pytest.mark.more)],
    ids=lambda one: one.value,
)
def test_no_byte_is_wrong_and_no_file_is_left(
    worker: tuple[Worker, list[Share]], tmp_path: Path, format: DiskFormat, tell: Callable[[str], None]
) -> None:
    with SmbPool() as pool:
        load = Load(Shelves(*worker, pool, format), seed=1)
        load.run(4, operations(OPERATIONS))
        tell(f"load, {format.value}: {load.summary()}")
        load.clear()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
