"""The shares of one backend and every operation on them, in values that can cross from one process to another."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from smbfs_driver.shares.connections import Connect, ShareConnections
from smbfs_driver.shares.shares import Share
from smbfs_driver.volumes import moving
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.managing import Manageable, Reference, candidates
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
    """A volume of a group, and the snapshot that is to be made of it."""

    address: str
    name: str
    snapshot_id: str


Feed = Callable[[], bytes]
"""Gives the next bytes of an image, and none at its end."""


class Backend:
    """Operations on the volumes of *shares*, which are named by their addresses. Safe to use from many threads.

    Names of volumes, sizes in bytes, and what is raised are those of `smbfs_driver.volumes.volumes.Volumes`.
    """

    def __init__(self, shares: Sequence[Share], connect: Connect) -> None:
        self._connections = ShareConnections(shares, connect)
        self._engine: VolumeEngine = NativeEngine(policy=ParentPolicy(related=may_be_related, prefix=beginning))

    def capacity(self, address: str) -> Space:
        """Total and free bytes of a share."""
        return self._connections.capacity(self._connections.find(address))

    def unsettled(self, address: str) -> list[str]:
        """The volumes on a share on which something was stopped, or is running."""
        return self._on(address).unsettled()

    def recover(self, address: str, name: str) -> bool:
        """Set right what was stopped on a volume; whether there was something. Raises what keeps it from being done."""
        report = self._on(address).recover(name)
        for failure in report.failed.values():
            raise failure
        return bool(report.settled or report.removed)

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

    def create_group_snapshot(self, members: Sequence[GroupMember]) -> None:
        """Keep what several volumes hold now, at one moment for all of them. Where one fails, none is kept."""
        begun: list[GroupMember] = []
        try:
            with ExitStack() as held:
                # All are looked at before the first is made; what is there already is nothing to take back.
                creates = {member: self._held(member, held) for member in sorted(members)}
                for member, create in creates.items():
                    begun.append(member)
                    create()
        except BaseException:
            for member in begun:
                # What cannot be taken back now is there to be deleted like any other snapshot.
                with suppress(Error, OSError):
                    self.delete_snapshot(*member)
            raise

    def _held(self, member: GroupMember, held: ExitStack) -> Callable[[], None]:
        return held.enter_context(self._on(member.address).held_for_snapshot(member.name, member.snapshot_id))

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

    def kept(self, address: str, name: str) -> Kept:
        """How a volume is kept."""
        return moving.kept(self._on(address).shelf, name)

    def reshape(self, address: str, name: str, shape: Shape) -> None:
        """Keep a volume in another way."""
        moving.reshape(self._on(address).shelf, name, shape)

    def move(self, feed: Feed, address: str, name: str, *, onto: str, owner: str, shape: Shape) -> None:
        """Move a volume to the share *onto*: takes a piece of *feed* when it is there, and its end once that counts."""

        def entered() -> None:
            while feed():
                pass

        destination = Destination(onto, self._shelf(onto))
        moving.move(self._shelf(address), name, destination, owner=owner, shape=shape, entered=entered)

    def settle_move(self, address: str, name: str, *, home: str) -> bool:
        """Settle a move from a share that was stopped; the catalogue says that the volume is at *home*."""
        elsewhere = None if home == address else self._shelf(home)
        return moving.settle(self._shelf(address), name, elsewhere, self._shelf)

    def exists(self, address: str, name: str) -> bool:
        """Whether a share has a volume of this name."""
        return self._shelf(address).exists(name)

    def rename(self, address: str, name: str, to: str) -> None:
        """Give a volume without snapshots another name."""
        self._on(address).rename(name, to)

    def load(self, address: str, name: str, path: str, format: ImageFormat, *, size: int, fixed: bool) -> None:
        """Fill a new volume with the content of an image on this machine."""
        volumes = self._on(address)
        image = ForeignImage(*_local(path), format)
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

    def has_snapshot(self, address: str, name: str, snapshot_id: str) -> bool:
        """Whether a volume has a snapshot."""
        return self._on(address).has_snapshot(name, snapshot_id)

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
        files, format = self._files(reference.address), reference.format.image
        return self._engine.info(files, reference.path, format=format).virtual_size

    def adopt(self, name: str, reference: Reference, unit: int) -> None:
        """Make an image on a share a volume there, of a whole number of *unit* bytes."""
        self._on(reference.address).adopt(name, reference.path, reference.format, unit)

    def candidates(self, address: str, managed: Collection[str]) -> list[Manageable]:
        """The images on a share that are, or could become, volumes."""
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
