"""All operations on the shares of a backend, with arguments and results that can be pickled."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from smbfs_driver.shares.connections import Connect, ShareConnections
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes import info, moving
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.managing import Manageable, Reference, candidates, existing, snapshot_named
from smbfs_driver.volumes.moving import Destination, Kept
from smbfs_driver.volumes.names import DiskFormat, beginning, may_be_related
from smbfs_driver.volumes.receiving import Announced, Digest, Sink
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.shelf import Shelf
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from vhdx.chain.parents import ParentPolicy
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import FileSystem, Space
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine


class GroupMember(NamedTuple):
    """A volume of a group, and the snapshot to create of it."""

    address: str
    name: str
    snapshot_id: str


Feed = Callable[[], bytes]
"""Returns the next bytes of an image; empty at its end."""


class Backend:
    """Operations on the volumes of *shares*, which are identified by address. Thread-safe.

    Volume names, sizes in bytes and exceptions are as in `smbfs_driver.volumes.volumes.Volumes`.
    """

    def __init__(self, shares: Sequence[Share], connect: Connect) -> None:
        self._connections = ShareConnections(shares, connect)
        self._engine: VolumeEngine = NativeEngine(policy=ParentPolicy(related=may_be_related, prefix=beginning))

    def capacity(self, address: str) -> Space:
        """Total and free bytes of a share."""
        return self._connections.capacity(self._connections.find(address))

    def unsettled(self, address: str) -> list[str]:
        """The volumes of a share with an interrupted or running operation."""
        return self._on(address).unsettled()

    def recover(self, address: str, name: str) -> bool:
        """Recover an interrupted operation on a volume; whether there was one. Raises what prevents the recovery."""
        report = self._on(address).recover(name)
        for failure in report.failed.values():
            raise failure
        return bool(report.settled or report.removed)

    def create(self, address: str, name: str, size: int, shape: Shape) -> None:
        """Create an empty volume."""
        self._on(address).create(name, size, shape)

    def delete(self, address: str, name: str) -> None:
        """Delete a volume."""
        self._on(address).delete(name)

    def extend(self, address: str, name: str, size: int) -> None:
        """Extend a volume."""
        self._on(address).extend(name, size)

    def create_snapshot(self, address: str, name: str, snapshot_id: str) -> None:
        """Create a snapshot of a volume."""
        self._on(address).create_snapshot(name, snapshot_id)

    def delete_snapshot(self, address: str, name: str, snapshot_id: str) -> None:
        """Delete a snapshot."""
        self._on(address).delete_snapshot(name, snapshot_id)

    def create_group_snapshot(self, members: Sequence[GroupMember]) -> None:
        """Create consistent snapshots of several volumes, all of the same point in time; all of them or none."""
        begun: list[GroupMember] = []
        try:
            with ExitStack() as held:
                # Checks all volumes before the first snapshot; one that exists already is not rolled back.
                creates = {member: self._held(member, held) for member in sorted(members)}
                for member, create in creates.items():
                    begun.append(member)
                    create()
        except BaseException:
            for member in begun:
                # A snapshot that cannot be deleted now can be deleted later like any other.
                with suppress(Error, OSError):
                    self.delete_snapshot(*member)
            raise

    def _held(self, member: GroupMember, held: ExitStack) -> Callable[[], None]:
        return held.enter_context(self._on(member.address).held_for_snapshot(member.name, member.snapshot_id))

    def revert(self, address: str, name: str, snapshot_id: str) -> None:
        """Revert a volume to its latest snapshot."""
        self._on(address).revert(name, snapshot_id)

    def clone(
        self, address: str, name: str, source: str, *, size: int, onto: str, shape: Shape, snapshot_id: str | None
    ) -> None:
        """Create volume *name* on the share *onto* as a copy of *source* on this one, or of its snapshot."""
        here, there = self._on(address), self._on(onto)
        if snapshot_id is None:
            here.clone(name, source, size, target=there, shape=shape)
        else:
            here.create_from_snapshot(name, source, snapshot_id, size, target=there, shape=shape)

    def kept(self, address: str, name: str) -> Kept:
        """The shape of a volume, and whether it has snapshots."""
        return moving.kept(self._on(address).shelf, name)

    def reshape(self, address: str, name: str, shape: Shape) -> None:
        """Convert a volume to another shape."""
        moving.reshape(self._on(address).shelf, name, shape)

    def move(self, feed: Feed, address: str, name: str, *, onto: str, owner: str, shape: Shape) -> None:
        """Move a volume to the share *onto*. Reads *feed* after the copy; its end: the database is updated."""

        def entered() -> None:
            while feed():
                pass

        destination = Destination(onto, self._shelf(onto))
        moving.move(self._shelf(address), name, destination, owner=owner, shape=shape, entered=entered)

    def settle_move(self, address: str, name: str, *, home: str) -> bool:
        """Recover an interrupted move from a share; the database says that the volume is at *home*."""
        elsewhere = None if home == address else self._shelf(home)
        return moving.settle(self._shelf(address), name, elsewhere, self._shelf)

    def exists(self, address: str, name: str) -> bool:
        """Whether a share has a volume with this name."""
        return self._shelf(address).exists(name)

    def rename(self, address: str, name: str, to: str) -> None:
        """Rename a volume without snapshots."""
        self._on(address).rename(name, to)

    def load(self, address: str, name: str, path: str, format: ImageFormat, *, size: int, fixed: bool) -> None:
        """Replace the content of a new volume by that of a local image."""
        volumes = self._on(address)
        image = ForeignImage(*_local(path), format)
        volumes.load(name, image, size, Shape(volumes.format(name), fixed))

    def receive(
        self, feed: Feed, address: str, name: str, *, format: DiskFormat, digest: Digest, size: int, shape: Shape
    ) -> None:
        """Create a volume from an image that *feed* supplies."""

        def fetch(sink: Sink) -> None:
            while data := feed():
                sink.write(data)

        self._on(address).receive(name, Announced(format, fetch, digest), size, shape)

    def export(self, address: str, name: str, path: str, options: CreateOptions) -> None:
        """Write the content of a volume to a local image."""
        self._on(address).export(name, *_local(path), options)

    def rename_snapshot(self, address: str, name: str, old: str, new: str) -> None:
        """Change the id of a snapshot."""
        self._on(address).rename_snapshot(name, old, new)

    def has_snapshot(self, address: str, name: str, snapshot_id: str) -> bool:
        """Whether a volume has a snapshot."""
        return self._on(address).has_snapshot(name, snapshot_id)

    def snapshot_named(self, address: str, name: str, reference: object) -> str:
        """The id of the snapshot that *reference* names; see `smbfs_driver.volumes.managing`."""
        names = self._shelf(address).settled(name)
        return snapshot_named(reference, name, info.load(self._files(address), names))

    def snapshot_size(self, address: str, name: str, snapshot_id: str) -> int:
        """Size of a volume at a snapshot, in bytes."""
        return self._on(address).snapshot_size(name, snapshot_id)

    def snapshots(self, address: str) -> dict[str, list[str]]:
        """The snapshot ids on a share, by volume name."""
        return self._on(address).snapshots()

    def active(self, address: str, name: str) -> str:
        """The name of a volume's active file."""
        return self._on(address).active(name)

    def existing(self, reference: Reference) -> Reference:
        """Complete the extension of a reference; see `smbfs_driver.volumes.managing`."""
        return existing(self._files(reference.address), reference)

    def image_size(self, reference: Reference) -> int:
        """Virtual size of an image that is no volume, in bytes."""
        files, format = self._files(reference.address), reference.format.image
        return self._engine.info(files, reference.path, format=format).virtual_size

    def adopt(self, name: str, reference: Reference, unit: int) -> None:
        """Turn an image on a share into a volume; its size is rounded up to a multiple of *unit* bytes."""
        self._on(reference.address).adopt(name, reference.path, reference.format, unit)

    def candidates(self, address: str, managed: Collection[str]) -> list[Manageable]:
        """The images on a share that are volumes or can be managed as such."""
        return list(candidates(self._files(address), address, self._engine, managed))

    def _shelf(self, address: str) -> Shelf:
        return self._on(address).shelf

    def _files(self, address: str) -> FileSystem:
        return self._connections.files(self._connections.find(address))

    def _on(self, address: str) -> Volumes:
        return Volumes(self._files(address), self._engine)


def _local(path: str) -> tuple[FileSystem, str]:
    place = Path(path)
    return LocalFileSystem(place.parent), place.name
