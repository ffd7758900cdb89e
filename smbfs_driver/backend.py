"""The shares of one backend and every operation on them, in values that can cross from one process to another."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from smbfs_driver.connections import Connect, ShareConnections
from smbfs_driver.journal import Recovery
from smbfs_driver.managing import Candidate, Reference, candidates
from smbfs_driver.names import DiskFormat
from smbfs_driver.receiving import Announced, Digest, Sink
from smbfs_driver.shape import Shape
from smbfs_driver.shares import Share
from smbfs_driver.volumes import Foreign, Volumes
from vhdx.engine import NativeEngine
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem, Space
from vhdx.storage.local import LocalFileSystem

Feed = Callable[[], bytes]
"""Gives the next bytes of an image, and none at its end."""


class Backend:
    """Operations on the volumes of *shares*, which are named by their addresses. Safe to use from many threads.

    Names of volumes, sizes in bytes, and what is raised are those of `smbfs_driver.volumes.Volumes`.
    """

    def __init__(self, shares: Sequence[Share], connect: Connect) -> None:
        self._connections = ShareConnections(shares, connect)
        self._engine = NativeEngine()

    def capacity(self, address: str) -> Space:
        """Total and free bytes of a share."""
        return self._connections.capacity(self._connections.find(address))

    def recover(self, address: str) -> Recovery:
        """Set right what was stopped on a share."""
        return self._on(address).recover()

    def create(self, address: str, name: str, size: int, shape: Shape) -> None:
        """Make an empty volume."""
        self._on(address).create(name, size, shape)

    def delete(self, address: str, name: str) -> None:
        """Remove a volume."""
        self._on(address).delete(name)

    def extend(self, address: str, name: str, size: int) -> None:
        """Make a volume larger."""
        self._on(address).extend(name, size)

    def create_snapshot(self, address: str, name: str, snapshot_id: str) -> None:
        """Keep what a volume holds now."""
        self._on(address).create_snapshot(name, snapshot_id)

    def delete_snapshot(self, address: str, name: str, snapshot_id: str) -> None:
        """Forget a snapshot."""
        self._on(address).delete_snapshot(name, snapshot_id)

    def revert(self, address: str, name: str, snapshot_id: str) -> None:
        """Give a volume back what it held at its latest snapshot."""
        self._on(address).revert(name, snapshot_id)

    def clone(
        self, address: str, name: str, source: str, *, size: int, onto: str, shape: Shape, snapshot_id: str | None
    ) -> None:
        """Make volume *name* on the share *onto*, with what *source* on this one holds, or held at a snapshot."""
        here, there = self._on(address), self._on(onto)
        if snapshot_id is None:
            here.clone(name, source, size, target=there, shape=shape)
        else:
            here.create_from_snapshot(name, source, snapshot_id, size, target=there, shape=shape)

    def load(self, address: str, name: str, path: str, format: ImageFormat, *, size: int, fixed: bool) -> None:
        """Fill a new volume with the content of an image on this machine."""
        volumes = self._on(address)
        image = Foreign(*_local(path), format)
        volumes.load(name, image, size, Shape(volumes.format(name), fixed))

    def receive(
        self, feed: Feed, address: str, name: str, *, format: DiskFormat, digest: Digest, size: int, shape: Shape
    ) -> None:
        """Make a volume of an image that comes from *feed*."""

        def fetch(sink: Sink) -> None:
            while data := feed():
                sink.write(data)

        self._on(address).receive(name, Announced(format, fetch, digest), size, shape)

    def export(self, address: str, name: str, path: str, options: CreateOptions) -> None:
        """Make an image on this machine of what a volume holds."""
        self._on(address).export(name, *_local(path), options)

    def rename_snapshot(self, address: str, name: str, old: str, new: str) -> None:
        """Give a snapshot another id."""
        self._on(address).rename_snapshot(name, old, new)

    def snapshot_size(self, address: str, name: str, snapshot_id: str) -> int:
        """Bytes that a volume had at a snapshot."""
        return self._on(address).snapshot_size(name, snapshot_id)

    def snapshots(self, address: str) -> dict[str, list[str]]:
        """The ids of the snapshots on a share, by the names of their volumes."""
        return self._on(address).snapshots()

    def active(self, address: str, name: str) -> str:
        """The name of the file that takes a volume's writes."""
        return self._on(address).active(name)

    def image_size(self, reference: Reference) -> int:
        """Bytes of the disk in an image that is no volume."""
        format = ImageFormat(reference.format.value)
        return self._engine.info(self._files(reference.address), reference.path, format=format).virtual_size

    def adopt(self, name: str, reference: Reference) -> int:
        """Make an image on a share a volume there; its size in bytes."""
        return self._on(reference.address).adopt(name, reference.path, reference.format)

    def candidates(self, address: str, managed: Collection[str]) -> list[Candidate]:
        """The images on a share that are, or could become, volumes."""
        return list(candidates(self._files(address), address, self._engine, managed))

    def _files(self, address: str) -> FileSystem:
        return self._connections.files(self._connections.find(address))

    def _on(self, address: str) -> Volumes:
        return Volumes(self._files(address), self._engine)


def _local(path: str) -> tuple[FileSystem, str]:
    place = Path(path)
    return LocalFileSystem(place.parent), place.name
