"""The verbs done with this package's own code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from vhdx.arguments import whole
from vhdx.chain.chain import Chain, Claim
from vhdx.chain.family import Family, Means
from vhdx.chain.parents import DEFAULT_POLICY, Layer, ParentPolicy, path_between
from vhdx.check import Finding, check_chain, check_forced, check_storage
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat, ImageInfo, LogState, NewId, Progress
from vhdx.image.open import open_image
from vhdx.image.raw import open_raw
from vhdx.repair.fix import Fix
from vhdx.repair.verb import plan_repair, repair
from vhdx.repair.verb import undo as put_back
from vhdx.salvage.report import Salvaged
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs import copies
from vhdx.verbs import create as creating
from vhdx.verbs.compact import compact
from vhdx.verbs.contract import Engine, Kinsman, OpenDisk, Warn
from vhdx.verbs.kinship import kinship
from vhdx.verbs.merge_plan import Direction, MergePlan
from vhdx.verbs.merging import carry_out, plan_merge
from vhdx.verbs.refusals import children_beside, refuse_bereaving
from vhdx.verbs.relink import relink, undo_relink
from vhdx.verbs.resize import resize
from vhdx.verbs.shrink import Shrink

__all__ = ["Direction", "Engine", "MergePlan", "NativeEngine", "Shrink"]


@dataclass(frozen=True, slots=True)
class NativeEngine:
    """Implements `Engine`."""

    new_id: NewId = uuid4
    policy: ParentPolicy = DEFAULT_POLICY

    @property
    def means(self) -> Means:
        """What its verbs work with."""
        return Means(self.new_id, self.policy)

    def open_family(
        self,
        files: FileSystem,
        path: str,
        *,
        claim: Claim | None = None,
        format: ImageFormat | None = None,
    ) -> Family:
        """The disk of *path* with its files open; see `Engine.open_family`."""
        return Family.open(files, path, self.means, claim=claim, format=format)

    def _open(
        self,
        files: FileSystem,
        path: str,
        *,
        writable: int = 0,
        down_to: str | None = None,
        writing: Access = Access.WRITE,
        access: Access = Access.READ,
        orphan: bool = True,
        format: ImageFormat | None = None,
    ) -> Family:
        family = Family.open(
            files,
            path,
            self.means,
            writable=writable,
            down_to=down_to,
            writing=writing,
            access=access,
            format=format,
        )
        if writable and not orphan:
            try:
                refuse_bereaving(family)
            except BaseException:
                family.close()
                raise
        return family

    def open_chain(
        self,
        files: FileSystem,
        path: str,
        *,
        writable: int = 0,
        access: Access = Access.READ,
        orphan: bool = False,
        format: ImageFormat | None = None,
    ) -> Chain:
        """The disk of *path* through all its layers; see `Engine.open_chain`."""
        return self._open(files, path, writable=writable, access=access, orphan=orphan, format=format).chain

    def create(
        self,
        files: FileSystem,
        path: str,
        size: int,
        options: CreateOptions | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Make an image; see `Engine.create`."""
        creating.create(files, path, size, options, self.means, replace=replace)

    def create_child(
        self,
        files: FileSystem,
        path: str,
        parent: str,
        *,
        size: int | None = None,
        any_size: bool = False,
        parent_format: ImageFormat | None = None,
        replace: bool = False,
        disk: OpenDisk | None = None,
    ) -> None:
        """Make an empty differencing image; see `Engine.create_child`."""
        size = None if size is None else whole("size", size)
        parent = files.resolve(parent)
        path_between(path, parent, self.policy)
        said = parent_format is not None
        with self._within(disk, files, parent, format=parent_format) as below:
            whole_disk = None if disk is None or not replace else _own(disk)
            if whole_disk is not None and len(below.layers) < len(whole_disk.layers) and whole_disk.is_leaf(path):
                creating.replace_leaf(whole_disk, path, below, size=size, any_size=any_size, said=said)
            else:
                creating.create_child(below, path, size=size, any_size=any_size, replace=replace, said=said)

    def info(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> ImageInfo:
        """What the image says of itself; see `Engine.info`."""
        with closing(open_image(files.open(path, Access.INSPECT), new_id=self.new_id, format=format)) as image:
            return image.info

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The verified chain under *path*; see `Engine.layers`."""
        with self._open(files, path, format=format) as family:
            return family.paths

    def children(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The images beside *path* whose parent it is; see `Engine.children`."""
        return children_beside(files, files.resolve(path), format, self.means)

    def kinship(self, files: FileSystem, paths: Sequence[str], *, format: ImageFormat) -> list[Kinsman]:
        """What images are to each other; see `Engine.kinship`."""
        return kinship(files, paths, format, self.means)

    def resize(
        self,
        files: FileSystem,
        path: str,
        size: int,
        *,
        shrink: Shrink = Shrink.REFUSE,
        orphan: bool = False,
        any_size: bool = False,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Change the disk's size; see `Engine.resize`."""
        size = whole("size", size)
        with self._within(disk, files, path, writable=1, orphan=orphan, format=format) as family:
            resize(family, size, shrink=shrink, any_size=any_size)

    def merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        direction: Direction = Direction.DOWN,
        shrink: Shrink = Shrink.REFUSE,
        orphan: bool = False,
        remove: bool = False,
        format: ImageFormat | None = None,
        on_progress: Progress | None = None,
        disk: OpenDisk | None = None,
        plan: MergePlan | None = None,
    ) -> str:
        """Merge a run of layers into one file; see `Engine.merge`."""
        if disk is not None and remove:
            raise ValueError("a disk that stays open keeps its layers: release and remove them afterwards")
        if disk is not None and plan is not None:
            direction = plan.direction
        if direction is Direction.CHEAPER:
            direction = self.plan_merge(files, top, target, direction=direction, format=format, disk=disk).direction
        up = direction is Direction.UP
        writing = Access.OWN if remove and not up else Access.WRITE
        with self._within(
            disk,
            files,
            top,
            writable=1,
            down_to=None if up else target,
            writing=writing,
            format=format,
        ) as family:
            if disk is None or plan is None:
                plan = plan_merge(family, target, direction)
            carry_out(family, plan, shrink=shrink, orphan=orphan, remove=remove, on_progress=on_progress)
        return plan.result

    def plan_merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        direction: Direction = Direction.DOWN,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> MergePlan:
        """What a merge would do; see `Engine.plan_merge`."""
        with self._within(disk, files, top, format=format) as family:
            return plan_merge(family, target, direction)

    def relink(
        self,
        files: FileSystem,
        child: str,
        parent: str,
        *,
        force: bool = False,
        merged: bool = False,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Record *parent* as the parent of *child*; see `Engine.relink`."""
        image = None if disk is None else _own(disk).claimed(child)
        with self._within(disk, files, parent, format=format) as below:
            relink(below, child, force=force, merged=merged, format=format, image=image)
            if image is not None:
                image.checkpoint()

    def undo_relink(self, files: FileSystem, child: str, *, format: ImageFormat | None = None) -> None:
        """Record again what a child recorded before a parent was forced on it; see `Engine.undo_relink`."""
        undo_relink(files, child, self.means, format=format)

    def convert(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat | None = None,
        options: CreateOptions | None = None,
        size: int | None = None,
        replace: bool = False,
        scan_zeros: bool = False,
        on_progress: Progress | None = None,
        on_warning: Warn | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Make *target* a copy of *source* in another shape; see `Engine.convert`."""
        with self._source(disk, source_files, source, source_format, options) as family:
            copies.copy(
                family,
                target_files,
                target,
                options=options,
                size=size,
                replace=replace,
                scan_zeros=scan_zeros,
                on_progress=on_progress,
                on_warning=on_warning,
            )

    def salvage(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat | None = None,
        options: CreateOptions | None = None,
        replace: bool = False,
        without_parent: bool = False,
        on_progress: Progress | None = None,
    ) -> Salvaged:
        """Make *target* a copy of what can be read of *source*; see `Engine.salvage`."""
        return copies.salvage(
            source_files,
            source,
            target_files,
            target,
            self.means,
            source_format=source_format,
            options=options,
            replace=replace,
            without_parent=without_parent,
            on_progress=on_progress,
        )

    def replay(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> bool:
        """Put what the log holds where it belongs; see `Engine.replay`."""
        # Opening for writing replays, and what is under the image has no part in it.
        dirty = self.info(files, path, format=format).log is LogState.DIRTY
        if dirty:
            open_image(files.open(path, Access.WRITE), new_id=self.new_id, format=format).close()
        return dirty

    def compact(
        self,
        files: FileSystem,
        path: str,
        *,
        scan: bool = True,
        format: ImageFormat | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Make the file small; see `Engine.compact`."""
        with self._open(files, path, writable=1, format=format) as family:
            compact(family.chain, scan=scan, on_progress=on_progress)

    def check(
        self,
        files: FileSystem,
        path: str,
        *,
        chain: bool = True,
        deep: bool = False,
        format: ImageFormat | None = None,
    ) -> Iterator[Finding]:
        """What is wrong with the file and those under it; see `Engine.check`."""
        if chain:
            yield from check_chain(files, path, new_id=self.new_id, policy=self.policy, deep=deep, format=format)
            return
        with closing(files.open(path, Access.READ)) as storage:
            yield from check_storage(storage, deep=deep, format=format)
        yield from check_forced(files, path, new_id=self.new_id, format=format)

    def plan_repair(
        self, files: FileSystem, path: str, *, format: ImageFormat | None = None, reclaim: bool = False
    ) -> list[Fix]:
        """What a repair would do; see `Engine.plan_repair`."""
        return plan_repair(
            files, path, new_id=self.new_id, policy=self.policy, format=format, reclaim=reclaim
        )

    def repair(
        self,
        files: FileSystem,
        path: str,
        *,
        undo: str,
        format: ImageFormat | None = None,
        reclaim: bool = False,
        on_fix: Callable[[Fix], None] | None = None,
    ) -> list[Fix]:
        """Put right what can be; see `Engine.repair`."""
        return repair(
            files,
            path,
            undo=undo,
            new_id=self.new_id,
            policy=self.policy,
            format=format,
            reclaim=reclaim,
            on_fix=on_fix,
        )

    def undo_repair(self, files: FileSystem, path: str, undo: str) -> None:
        """Take a repair back; see `Engine.undo_repair`."""
        put_back(files, path, undo)

    def _source(
        self,
        disk: OpenDisk | None,
        files: FileSystem,
        path: str,
        format: ImageFormat | None,
        options: CreateOptions | None,
    ) -> AbstractContextManager[Family]:
        """The disk to convert; a raw one in sectors as large as those of the copy."""
        if format is ImageFormat.RAW and options is not None and options.logical_sector_size is not None:
            image = open_raw(files.open(path, Access.READ), sector_size=options.logical_sector_size)
            return Family(files, Chain([Layer(path, image)]), self.means)
        return self._within(disk, files, path, format=format)

    def _within(
        self,
        disk: OpenDisk | None,
        files: FileSystem,
        path: str,
        *,
        writable: int = 0,
        down_to: str | None = None,
        writing: Access = Access.WRITE,
        orphan: bool = True,
        format: ImageFormat | None = None,
    ) -> AbstractContextManager[Family]:
        """The disk of *path*: as a layer of *disk*, which stays open, or else opened for this."""
        if disk is None:
            return self._open(
                files, path, writable=writable, down_to=down_to, writing=writing, orphan=orphan, format=format
            )
        family = _own(disk)
        place = family.place(path)
        if place is None:
            raise Error(f"{files.describe(path)}: not a layer of {files.describe(family.paths[0])}")
        found = family.under(place)
        if writable and not orphan:
            refuse_bereaving(found)
        return _checkpointed(found)


@contextmanager
def _checkpointed(family: Family) -> Iterator[Family]:
    """Layers that stay open: what a verb has changed is as durable behind it as if it had closed them.

    What was seen beside them is forgotten: the verb itself may have made a child.
    """
    try:
        yield family
        family.checkpoint()
    finally:
        family.forget_relatives()


def _own(disk: OpenDisk) -> Family:
    """An open disk as this engine opened it."""
    if not isinstance(disk, Family):
        raise TypeError(f"{type(disk).__name__} is not a disk that this engine has opened")
    return disk
