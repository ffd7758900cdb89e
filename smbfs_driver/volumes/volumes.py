"""Volumes on one share: each operation from the state of the files to files that are settled.

Every operation holds its volume's intent (`smbfs_driver.volumes.journal`) and finishes first what was stopped before
it. It looks at everything it needs before it changes anything, and refuses with one clear error:

* `vhdx.errors.Error`: there is no such volume or snapshot, a file is in use, the size cannot be, the chain is broken
  or leaves the volume's own files;
* OSError: the transport failed. The operation has not succeeded; `recover`, or the next operation on the volume, sets
  it right.

Stopped at any point, what a volume's disk holds is what it held before or what was asked for: what creates is
undone, what deletes is finished. Sizes are in bytes.
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
from smbfs_driver.volumes.shape import DYNAMIC_VHDX, Shape
from smbfs_driver.volumes.shelf import Shelf
from smbfs_driver.volumes.steps import Remove, Site
from vhdx.chain.chain import Claim
from vhdx.errors import Error, InUse
from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ImageInfo, NewId
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import temporary_name
from vhdx.verbs.refusals import bereaved
from vhdx.verbs.shrink import Shrink, refuse_cut


def _refuse(warning: str) -> None:
    """What is wrong with an image that comes from elsewhere does not become a volume."""
    raise Error(f"the image is damaged and is not used: {warning}")


class ForeignImage(NamedTuple):
    """An image that belongs to no volume, such as one that came from Glance; *format* is what it is said to be."""

    files: FileSystem
    path: str
    format: ImageFormat


class Volumes:
    """The volumes of one share. Keeps no state: any number of these may work on a share, here and elsewhere."""

    def __init__(self, files: FileSystem, engine: VolumeEngine, ids: NewId = uuid4) -> None:
        self._site = Site(files, engine, ids)
        self.shelf = Shelf(self._site)

    def create(self, name: str, size: int, shape: Shape = DYNAMIC_VHDX) -> None:
        """Make an empty volume. Raises Error where files of one with this name are there."""
        plans.check_size(size)
        with self.shelf.creation(name, shape.format) as held:
            held.site.engine.create(held.site.files, held.names.base, size, shape.options)

    def load(self, name: str, image: ForeignImage, size: int, shape: Shape) -> None:
        """Make the content of *image* that of a volume without snapshots.

        The volume's base is replaced, in one step, by one of *size* bytes. Raises Error for an image with a parent,
        for one that is larger, and for one in which blocks share places.
        """
        plans.check_size(size)
        with self.shelf.operation(name) as held:
            state = self._state(held, _for_writing)
            plans.check_loadable(state, shape.format)
            held.run(Plan([], undo=[]))
            held.site.clear()
            self._take(held.site, image, state.names.base, size, shape)

    def receive(self, name: str, image: Announced, size: int, shape: Shape) -> None:
        """Make a volume of *size* bytes of an image that is on its way.

        It is written under a temporary name, and nothing uses a byte of it before it hashes as announced, a check finds
        no error in it, it has no parent and is not too large. Raises Error for an image that is not so.
        """
        plans.check_size(size)
        format = image.format.image
        with self.shelf.creation(name, shape.format) as held:
            site, names = held.site, held.names
            received = temporary_name(names.base, site.token())
            with closing(site.files.create(received)) as storage:
                sink = Sink(storage, image.digest)
                image.fetch(sink)
                sink.finish()
                check_sound(storage, image.format)
            info = site.engine.info(site.files, received, format=format)
            self._check_alone(site.files.describe(received), info)
            plans.check_growth(name, info.virtual_size, size)
            if image.format is shape.format and info.type is (DiskType.FIXED if shape.fixed else DiskType.DYNAMIC):
                site.engine.resize(site.files, received, size, format=format)
                site.files.rename(received, names.base, replace=False)
                site.files.sync_directory("")
            else:
                self._take(site, ForeignImage(site.files, received, format), names.base, size, shape)
                site.files.remove(received)

    def adopt(self, name: str, path: str, format: DiskFormat, unit: int = plans.SECTOR) -> None:
        """Make *path*, an image on this share that is no volume's, a volume: it is grown to whole *unit*, and renamed.

        Raises Error for an image with a parent, with children beside it, or with an error that a check finds; InUse for
        one that somebody has open.
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
                raise Error(f"{where}: is the parent of {', '.join(children)}, so it cannot be managed alone")
            self.shelf.check_idle([path], Access.WRITE)
            with closing(site.files.open(path, Access.READ)) as storage:
                check_sound(storage, format)
            size = -(-info.virtual_size // unit) * unit
            if size != info.virtual_size:
                site.engine.resize(site.files, path, size, format=kind)
            site.files.rename(path, names.base, replace=False)
            # Without children the document of the volume that it may have been says nothing any more.
            if was is not None and was.kind is FileKind.BASE:
                with contextlib.suppress(FileNotFoundError):
                    site.files.remove(was.names.info)
            site.files.sync_directory("")

    def rename(self, name: str, to: str) -> None:
        """Give a volume without snapshots another name. Raises Error where files of one with that name are there."""
        with self.shelf.operation(name) as held, self.shelf.creation(to, held.names.format) as made:
            base = plans.check_lone(self._state(held))
            # Without snapshots the document says nothing that the base alone does not.
            held.run(Plan([Remove(held.names.info)], undo=[]))
            held.site.clear()
            made.site.files.rename(base, made.names.base, replace=False)
            made.site.files.sync_directory("")

    def export(self, name: str, files: FileSystem, path: str, options: CreateOptions) -> None:
        """Make *path* in another file system an image of what the volume holds now, flattened.

        Raises InUse while somebody writes to the volume.
        """
        with self.shelf.working() as shelf:
            site, names = shelf.site, shelf.settled(name)
            active = shelf.state(names).info.active
            format = names.format.image
            site.engine.convert(
                site.files, active, files, path, source_format=format, options=options, disk=site.disk
            )

    def size(self, name: str) -> int:
        """Bytes of the volume as it is now; works while it is in use."""
        names = self.shelf.settled(name)
        return self._size(names, info_file.load(self._site.files, names).active)

    def format(self, name: str) -> DiskFormat:
        """The format of the volume's files."""
        return self.shelf.find(name).format

    def delete(self, name: str) -> None:
        """Remove every file of a volume, and no other; a missing one is ignored."""
        self.shelf.delete(name)

    def create_snapshot(self, name: str, snapshot_id: str) -> None:
        """Keep what the volume holds now as a snapshot. Raises InUse while somebody writes to the volume."""
        with self.held_for_snapshot(name, snapshot_id) as create:
            create()

    @contextlib.contextmanager
    def held_for_snapshot(self, name: str, snapshot_id: str) -> Iterator[Callable[[], None]]:
        """Hold a volume for a snapshot, which what is given makes; nobody writes to it meanwhile. Raises InUse."""
        check_snapshot(snapshot_id)
        with self.shelf.operation(name) as held:
            plan = plans.create_snapshot(self._state(held), snapshot_id)
            yield lambda: held.run(plan)

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Forget a snapshot, merging what was written after it down; a missing one is ignored."""
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
        """How much *target* loses when *top* is merged into it: nothing, or zeros.

        Raises Error, while nothing has begun, where the merge would be refused half-way through a plan: data would go,
        somebody else's image lies over *target*, or that has more names than one. No operation makes a layer smaller
        than the one under it; somebody else may have.
        """
        site = held.site
        plan = site.engine.plan_merge(site.files, top, target, format=held.names.format.image, disk=site.disk)
        where = site.files.describe(target)
        if plan.links > 1:
            names = f"has {plan.links} names (hard links), which would all show the change"
            raise Error(f"{where}: {names}; remove the others")
        if plan.orphaned:
            raise bereaved(site.files, target, plan.orphaned)
        refuse_cut(where, plan, Shrink.UNUSED)
        assert site.desk is not None
        site.desk.plan = plan
        return Shrink.UNUSED if plan.cut else Shrink.REFUSE

    def rename_snapshot(self, name: str, old: str, new: str) -> None:
        """Give a snapshot another id."""
        check_snapshot(new)
        with self.shelf.operation(name) as held:
            held.run(plans.rename_snapshot(self._state(held), old, new))

    def snapshot_size(self, name: str, snapshot_id: str) -> int:
        """Bytes that the volume had at a snapshot."""
        with self.shelf.working() as shelf:
            names = shelf.settled(name)
            content = shelf.state(names).content_of(snapshot_id)
            assert shelf.site.disk is not None
            return shelf.site.disk.size_of(content)

    def has_snapshot(self, name: str, snapshot_id: str) -> bool:
        """Whether the volume has this snapshot; works while it is in use."""
        return snapshot_id in info_file.load(self._site.files, self.shelf.find(name)).snapshots

    def snapshots(self) -> dict[str, list[str]]:
        """The ids of the snapshots on this share, by the names of their volumes; an unreadable document is left out."""
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
        """Make volume *name*, here or on *target*, with what *source* held at a snapshot, *size* bytes large."""
        check_snapshot(snapshot_id)
        self._copy(source, snapshot_id, target or self, name, size=size, shape=shape)

    def clone(
        self, name: str, source: str, size: int, *, target: "Volumes | None" = None, shape: Shape = DYNAMIC_VHDX
    ) -> None:
        """Make volume *name*, here or on *target*, with what *source* holds now, *size* bytes large.

        Raises InUse while somebody writes to the source.
        """
        self._copy(source, None, target or self, name, size=size, shape=shape)

    def extend(self, name: str, size: int) -> None:
        """Make a volume larger; the new part reads as zeros. Raises Error where it would become smaller."""
        with self.shelf.operation(name) as held:
            state = self._state(held, _for_writing)
            assert held.site.disk is not None
            held.run(plans.extend(state, held.site.disk.size_of(state.info.active), size))

    def revert(self, name: str, snapshot_id: str) -> None:
        """Give a volume the content, and the size, that it had at its latest snapshot, which stays."""
        check_snapshot(snapshot_id)
        with self.shelf.operation(name) as held:
            held.run(plans.revert_to_latest(self._state(held), snapshot_id))

    def active(self, name: str) -> str:
        """The path of the file that takes the volume's writes; opens no image, so it works while one is in use."""
        return info_file.load(self._site.files, self.shelf.settled(name)).active

    def chain(self, name: str) -> list[str]:
        """The paths of the verified chain under the active file, that one first."""
        with self.shelf.working() as shelf:
            return list(shelf.state(shelf.settled(name)).chain)

    def recover(self, name: str | None = None) -> Recovery:
        """Set right what was stopped on this share, on whichever machine; leaves alone what is running.

        With *name* on that volume only.
        """
        return journal.recover(self._site, name)

    def unsettled(self) -> list[str]:
        """The names of the volumes that `recover` would look at."""
        return journal.unsettled(self._site)

    # What the operations share.

    def _size(self, names: VolumeNames, file: str) -> int:
        """Bytes of the disk in a file of a volume."""
        return self._site.engine.info(self._site.files, file, format=names.format.image).virtual_size

    def _state(self, held: VolumeOperation, claim: Claim | None = None) -> VolumeState:
        """A volume that is held, as it is; its layers stay open until the operation ends."""
        return Shelf(held.site).state(held.names, claim)

    def _take(self, site: Site, image: ForeignImage, base: str, size: int, shape: Shape) -> None:
        """Convert an image into *base*, in its place, after a look at whether it may be used at all."""
        engine = site.engine
        info = engine.info(image.files, image.path, format=image.format)
        self._check_alone(image.files.describe(image.path), info)
        plans.check_growth(base, info.virtual_size, size)
        engine.convert(
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

    def _check_alone(self, name: str, info: ImageInfo) -> None:
        if info.parent is not None:
            raise Error(f"{name}: records a parent, and what comes from elsewhere must stand alone; flatten it first")

    def _copy(
        self, source: str, snapshot_id: str | None, target: "Volumes", name: str, *, size: int, shape: Shape
    ) -> None:
        with self.shelf.working() as shelf:
            site, names = shelf.site, shelf.settled(source)
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
        """Raise where the file that is open may not show the snapshot any more.

        Copies of one source may run side by side, so they do not hold it. Nothing is merged into a layer that is open,
        but a deletion of the snapshot may have been stopped just before.
        """
        if site.files.exists(names.intent):
            where = site.files.describe(content)
            raise InUse(f"{where}: {names.volume} was changed while it was looked at; try again")


def _for_writing(above: Sequence[str]) -> Access:
    """The active file is about to change."""
    return Access.READ if above else Access.WRITE


def _for_merging(file: str) -> Claim:
    """*file* is about to be merged into the layer under it, and the one above it to be linked to that."""

    def claim(above: Sequence[str]) -> Access:
        is_under = any(path.lower() == file.lower() for path in above[:-1])
        return Access.READ if is_under else Access.WRITE

    return claim
