"""Operations on the volumes of a share.

Every operation holds the volume's intent (`smbfs_driver.volumes.journal`) and first recovers an interrupted operation.
It checks everything before it changes anything. Errors:

* `vhdx.errors.Error`: the volume or snapshot does not exist, a file is in use, the size is invalid, the chain is broken
  or contains files of others;
* OSError: the transport failed. The operation has not succeeded; `recover` or the next operation on the volume recovers
  it.

After an interruption at any point, the content of a volume is the old or the requested one: interrupted creations are
undone, interrupted deletions are completed. Sizes are in bytes.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple
from uuid import uuid4

from smbfs_driver.volumes import info as info_file
from smbfs_driver.volumes import journal, plans
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.journal import Recovery, VolumeOperation
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames, check_snapshot, parse
from smbfs_driver.volumes.plans import Plan, VolumeState
from smbfs_driver.volumes.receiving import Announced, Sink, check_sound
from smbfs_driver.volumes.refusals import BadImage, ImageTooLarge, judging_image, judging_source
from smbfs_driver.volumes.shape import DYNAMIC_VHDX, Shape
from smbfs_driver.volumes.shelf import Shelf
from smbfs_driver.volumes.steps import MoveStopped, Remove, Site
from vhdx.chain.chain import Claim
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ImageInfo, NewId
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import temporary_name
from vhdx.verbs.refusals import bereaved
from vhdx.verbs.shrink import Shrink, refuse_cut


def _refuse(warning: str) -> None:
    """Turn a warning about a foreign image into an error."""
    raise BadImage(f"the image is damaged and was not used: {warning}")


class ForeignImage(NamedTuple):
    """An image that belongs to no volume, such as a Glance image; *format* is its declared format."""

    files: FileSystem
    path: str
    format: ImageFormat


class Volumes:
    """The volumes of a share. Stateless: any number of instances may work on a share, on any number of machines."""

    def __init__(self, files: FileSystem, engine: VolumeEngine, ids: NewId = uuid4) -> None:
        self._site = Site(files, engine, ids)
        self.shelf = Shelf(self._site)

    def create(self, name: str, size: int, shape: Shape = DYNAMIC_VHDX) -> None:
        """Create an empty volume. Raises Error if files of a volume with this name exist."""
        shape.check(plans.check_size(size))
        with self.shelf.creation(name, shape.format) as held:
            held.site.engine.create(held.site.files, held.names.base, size, shape.options)

    def load(self, name: str, image: ForeignImage, size: int, shape: Shape) -> None:
        """Replace the content of a volume without snapshots by that of *image*.

        Atomically replaces the volume's base by an image of *size* bytes. Raises Error if *image* has a parent, is
        larger, or has overlapping blocks.
        """
        plans.check_size(size)
        with self.shelf.operation(name) as held:
            state = self._state(held, _for_writing)
            plans.check_loadable(state, shape.format)
            held.run(Plan([], undo=[]))
            held.site.clear()
            self._take(held.site, image, state.names.base, size, shape)

    def receive(self, name: str, image: Announced, size: int, shape: Shape) -> None:
        """Create a volume of *size* bytes from an image that is being downloaded.

        The image is written under a temporary name. Raises Error, before its content is used, if its hash differs, a
        check finds an error, or it has a parent or is too large.
        """
        shape.check(plans.check_size(size))
        format = image.format.image
        with self.shelf.creation(name, shape.format) as held:
            site, names = held.site, held.names
            received = temporary_name(names.base, site.token())
            with closing(site.files.create(received)) as storage:
                sink = Sink(storage, image.digest)
                image.fetch(sink)
                sink.finish()
                check_sound(storage, image.format)
            info = self._check_foreign(site, ForeignImage(site.files, received, format), size)
            if image.format is shape.format and info.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC):
                site.engine.resize(site.files, received, size, format=format)
                site.files.rename(received, names.base, replace=False)
                site.files.sync_directory("")
            else:
                self._take(site, ForeignImage(site.files, received, format), names.base, size, shape)
                site.files.remove(received)

    def adopt(self, name: str, path: str, format: DiskFormat, unit: int = plans.SECTOR) -> None:
        """Turn *path*, an image on this share, into a volume: extend it to a multiple of *unit* bytes and rename it.

        Raises Error if the image has a parent or children, or a check finds an error; InUse if it is open.
        """
        kind = format.image
        with self.shelf.creation(name, format) as held:
            site, names = held.site, held.names
            info = site.engine.info(site.files, path, format=kind)
            self._check_alone(path, info)
            was = parse(path)
            if was is not None and was.kind is FileKind.BASE:
                self.shelf.settled(was.names.volume)
            if children := site.engine.children(site.files, path, format=kind):
                where = site.files.describe(path)
                raise Error(f"{where}: is the parent of {', '.join(children)}, so it cannot be managed")
            self.shelf.check_idle([path], Access.WRITE)
            with closing(site.files.open(path, Access.READ)) as storage:
                check_sound(storage, format)
            size = -(-info.virtual_size // unit) * unit
            if size != info.virtual_size:
                site.engine.resize(site.files, path, size, format=kind)
            site.files.rename(path, names.base, replace=False)
            # Without children, the .info document of a former volume is obsolete.
            if was is not None and was.kind is FileKind.BASE:
                with contextlib.suppress(FileNotFoundError):
                    site.files.remove(was.names.info)
            site.files.sync_directory("")

    def rename(self, name: str, to: str) -> None:
        """Rename a volume without snapshots. Raises Error if files of a volume with the new name exist."""
        with self.shelf.operation(name) as held, self.shelf.creation(to, held.names.format) as made:
            base = plans.check_lone(self._state(held))
            # Without snapshots, the .info document is redundant.
            held.run(Plan([Remove(held.names.info)], undo=[]))
            held.site.clear()
            made.site.files.rename(base, made.names.base, replace=False)
            made.site.files.sync_directory("")

    def export(self, name: str, files: FileSystem, path: str, options: CreateOptions) -> None:
        """Write the current content of a volume to *path* in another file system, as a flat image.

        Raises InUse if the volume is open for writing.
        """
        with self.shelf.working() as shelf:
            site, names = shelf.site, shelf.settled(name)
            active = shelf.state(names).info.active
            format = names.format.image
            site.engine.convert(
                site.files, active, files, path, source_format=format, options=options, disk=site.disk
            )

    def size(self, name: str) -> int:
        """Current size of a volume in bytes; works while it is in use."""
        names = self.shelf.settled(name)
        return self._size(names, info_file.load(self._site.files, names).active)

    def format(self, name: str) -> DiskFormat:
        """The format of a volume's images."""
        return self.shelf.find(name).format

    def delete(self, name: str) -> None:
        """Delete all files of a volume, and no others. Does nothing for a volume that does not exist."""
        self.shelf.delete(name)

    def create_snapshot(self, name: str, snapshot_id: str) -> None:
        """Create a snapshot of the current content. Raises InUse if the volume is open for writing."""
        with self.held_for_snapshot(name, snapshot_id) as create:
            create()

    @contextlib.contextmanager
    def held_for_snapshot(self, name: str, snapshot_id: str) -> Iterator[Callable[[], None]]:
        """Lock a volume against writers and yield a function that creates the snapshot. Raises InUse."""
        check_snapshot(snapshot_id)
        with self.shelf.operation(name) as held:
            plan = plans.create_snapshot(self._state(held), snapshot_id)
            yield lambda: held.run(plan)

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Delete a snapshot: merge what was written after it into its content. Does nothing if it does not exist."""
        check_snapshot(snapshot_id)
        with self.shelf.operation(name) as held:
            info = info_file.or_none(held.site.document(held.names), held.names)
            file = info.snapshots.get(snapshot_id)
            state = self._state(held, None if file is None else _for_merging(file))
            if file is None:
                held.run(Plan([]))
                return
            held.run(plans.delete_snapshot(state, snapshot_id, self._shrinking(held, file, state.parent_of(file))))

    def _shrinking(self, held: VolumeOperation, top: str, target: str) -> Shrink:
        """Whether merging *top* into *target* may cut off unused space at the end of *target*.

        Raises Error, before anything is changed, if the merge would be refused during the plan: it would cut off data,
        or *target* has foreign children or several hard links. No operation of this driver makes a layer smaller than
        its parent; others may have.
        """
        site = held.site
        plan = site.engine.plan_merge(site.files, top, target, format=held.names.format.image, disk=site.disk)
        where = site.files.describe(target)
        if plan.links > 1:
            names = f"has {plan.links} hard links, which would all be changed"
            raise Error(f"{where}: {names}; remove the others")
        if plan.orphaned:
            raise bereaved(site.files, target, plan.orphaned)
        refuse_cut(where, plan, Shrink.UNUSED)
        assert site.desk is not None
        site.desk.plan = plan
        return Shrink.UNUSED if plan.cut else Shrink.REFUSE

    def rename_snapshot(self, name: str, old: str, new: str) -> None:
        """Change the id of a snapshot."""
        check_snapshot(new)
        with self.shelf.operation(name) as held:
            held.run(plans.rename_snapshot(self._state(held), old, new))

    def snapshot_size(self, name: str, snapshot_id: str) -> int:
        """Size of a volume at a snapshot, in bytes."""
        with self.shelf.working() as shelf:
            names = shelf.settled(name)
            content = shelf.state(names).content_of(snapshot_id)
            assert shelf.site.disk is not None
            return shelf.site.disk.size_of(content)

    def has_snapshot(self, name: str, snapshot_id: str) -> bool:
        """Whether a volume has a snapshot; works while it is in use."""
        return snapshot_id in info_file.load(self._site.files, self.shelf.find(name)).snapshots

    def snapshots(self) -> dict[str, list[str]]:
        """The snapshot ids on this share, by volume name; volumes with an unreadable .info document are omitted."""
        found: dict[str, list[str]] = {}
        for file in self._site.files.list("", suffix=".info"):
            parsed = parse(file)
            if parsed is not None and parsed.kind is FileKind.INFO:
                with contextlib.suppress(Error):
                    document = info_file.load(self._site.files, parsed.names)
                    found[parsed.names.volume] = sorted(document.snapshots)
        return found

    def create_from_snapshot(
        self,
        name: str,
        source: str,
        snapshot_id: str,
        size: int,
        *,
        target: "Volumes | None" = None,
        shape: Shape = DYNAMIC_VHDX,
    ) -> None:
        """Create volume *name* of *size* bytes, here or on *target*, from a snapshot of *source*."""
        check_snapshot(snapshot_id)
        self._copy(source, snapshot_id, target or self, name, size=size, shape=shape)

    def clone(
        self, name: str, source: str, size: int, *, target: "Volumes | None" = None, shape: Shape = DYNAMIC_VHDX
    ) -> None:
        """Create volume *name* of *size* bytes, here or on *target*, from the current content of *source*.

        Raises InUse if *source* is open for writing.
        """
        self._copy(source, None, target or self, name, size=size, shape=shape)

    def extend(self, name: str, size: int) -> None:
        """Extend a volume; the new part reads as zeros. Raises Error if *size* is less than the current size."""
        with self.shelf.operation(name) as held:
            state = self._state(held, _for_writing)
            assert held.site.disk is not None
            held.run(plans.extend(state, held.site.disk.size_of(state.info.active), size))

    def revert(self, name: str, snapshot_id: str) -> None:
        """Revert a volume to the content and size of its latest snapshot, which is kept."""
        check_snapshot(snapshot_id)
        with self.shelf.operation(name) as held:
            held.run(plans.revert_to_latest(self._state(held), snapshot_id))

    def active(self, name: str) -> str:
        """The path of a volume's active file; opens no image, so it works while the volume is in use."""
        return info_file.load(self._site.files, self.shelf.settled(name)).active

    def chain(self, name: str) -> list[str]:
        """The paths of the verified chain, active file first."""
        with self.shelf.working() as shelf:
            return list(shelf.state(shelf.settled(name)).chain)

    def recover(self, name: str | None = None) -> Recovery:
        """Recover interrupted operations on this share, of any machine; does not affect running ones.

        With *name*, only those on that volume.
        """
        return journal.recover(self._site, name)

    def unsettled(self) -> list[str]:
        """The names of the volumes with interrupted or running operations."""
        return journal.unsettled(self._site)

    # Helpers.

    def _size(self, names: VolumeNames, file: str) -> int:
        """Virtual size of an image of a volume, in bytes."""
        return self._site.engine.info(self._site.files, file, format=names.format.image).virtual_size

    def _state(self, held: VolumeOperation, claim: Claim | None = None) -> VolumeState:
        """The state of a held volume; its layers stay open until the operation ends."""
        return Shelf(held.site).state(held.names, claim)

    def _take(self, site: Site, image: ForeignImage, base: str, size: int, shape: Shape) -> None:
        """Check an image, convert it and atomically replace *base* by it."""
        self._check_foreign(site, image, size)
        with judging_image():
            site.engine.convert(
                image.files,
                image.path,
                site.files,
                base,
                source_format=image.format,
                options=shape.options,
                size=size,
                replace=True,
                on_warning=_refuse,
            )

    def _check_foreign(self, site: Site, image: ForeignImage, size: int) -> ImageInfo:
        """The metadata of a foreign image. Raises BadImage, or ImageTooLarge if its disk exceeds *size* bytes."""
        where = image.files.describe(image.path)
        with judging_image():
            info = site.engine.info(image.files, image.path, format=image.format)
        self._check_alone(where, info)
        if info.virtual_size > size:
            raise ImageTooLarge(f"{where}: its disk of {info.virtual_size} bytes does not fit into {size} bytes")
        return info

    def _check_alone(self, name: str, info: ImageInfo) -> None:
        if info.parent is not None:
            raise BadImage(f"{name}: has a parent; flatten the image first")

    def _copy(
        self, source: str, snapshot_id: str | None, target: "Volumes", name: str, *, size: int, shape: Shape
    ) -> None:
        shape.check(size)
        with self.shelf.working() as shelf:
            site = shelf.site
            with judging_source(MoveStopped):
                names = shelf.settled(source)
                state = shelf.state(names)
                content = state.info.active if snapshot_id is None else state.content_of(snapshot_id)
                assert site.disk is not None
                plans.check_growth(source, site.disk.size_of(content), size)
            if snapshot_id is not None:
                self._check_shown(site, names, content)
            with target.shelf.creation(name, shape.format) as made:
                site.engine.convert(
                    site.files,
                    content,
                    made.site.files,
                    made.names.base,
                    source_format=names.format.image,
                    options=shape.options,
                    size=size,
                    disk=site.disk,
                )


    def _check_shown(self, site: Site, names: VolumeNames, content: str) -> None:
        """Raise InUse if the open file may no longer represent the snapshot.

        Copies do not hold the source's intent, so that several may run concurrently. Nothing is merged into an open
        layer, but a deletion of the snapshot may have been interrupted just before.
        """
        if site.files.exists(names.intent):
            where = site.files.describe(content)
            raise InUse(f"{where}: volume {names.volume} was changed concurrently; try again")


def _for_writing(above: Sequence[str]) -> Access:
    """Claim the active file for writing, its parents for reading."""
    return Access.READ if above else Access.WRITE


def _for_merging(file: str) -> Claim:
    """Claims for merging *file* into its parent and relinking its child to that."""

    def claim(above: Sequence[str]) -> Access:
        is_under = any(path.lower() == file.lower() for path in above[:-1])
        return Access.READ if is_under else Access.WRITE

    return claim
