"""The verbs done with this package's own code."""

import logging
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import uuid4

from vhdx.arguments import whole
from vhdx.chain.chain import Chain
from vhdx.chain.children import children, formats_of, namers
from vhdx.chain.forced import forget
from vhdx.chain.parents import DEFAULT_POLICY, Layer, ParentPolicy, path_between
from vhdx.check import Finding, check_chain, check_forced, check_storage
from vhdx.errors import Error, HasChildren, OutOfSpace
from vhdx.image.base import CreateOptions, Image, ImageFormat, ImageInfo, LogState, NewId, ParentLink, Progress
from vhdx.image.create import create_image, refuse_shape, whole_size
from vhdx.image.open import open_image
from vhdx.image.raw import open_raw
from vhdx.repair.fix import Fix
from vhdx.repair.verb import plan_repair, repair
from vhdx.repair.verb import undo as put_back
from vhdx.salvage.copying import fill
from vhdx.salvage.disk import open_salvage
from vhdx.salvage.report import Ledger, Salvaged
from vhdx.storage.base import Access, FileStatus, FileSystem
from vhdx.storage.building import building, temporary_name
from vhdx.verbs.compact import compact
from vhdx.verbs.contract import Engine, Warn
from vhdx.verbs.convert import convert
from vhdx.verbs.equal_sizes import refuse_unequal
from vhdx.verbs.merge import is_merged, merge, pull
from vhdx.verbs.merge_plan import Cost, Direction, MergePlan, cost_down, cost_up, cut_off
from vhdx.verbs.relink import hand_over, link_to, relink, undo_relink
from vhdx.verbs.shrink import Shrink, refuse_cut, refuse_loss

__all__ = ["Direction", "Engine", "MergePlan", "NativeEngine", "Shrink"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NativeEngine:
    """Implements `Engine`."""

    new_id: NewId = uuid4
    policy: ParentPolicy = DEFAULT_POLICY

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
        size = whole("size", size)
        options = options or CreateOptions()
        refuse_shape(files.describe(path), size, options, has_parent=False)
        if replace:
            self._refuse_replacing(files, path, options.format)
        with building(files, path, token=self._token(), replace=replace) as storage:
            create_image(
                storage, size=size, disk_id=self.new_id(), new_id=self.new_id, options=options
            ).close()

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
    ) -> None:
        """Make an empty differencing image; see `Engine.create_child`."""
        size = None if size is None else whole("size", size)
        parent = files.resolve(parent)
        path_between(path, parent, self.policy)
        # The claim on the parent keeps writers from changing it before the child is there.
        with closing(open_image(files.open(parent, Access.READ), new_id=self.new_id, format=parent_format)) as image:
            below = image.info
            if replace:
                layers = self.layers(files, parent, format=below.format)
                said = parent_format is not None
                self._refuse_replacing(files, path, below.format, files, layers, said=said)
            link = link_to(files, path, parent, below, self.policy)
            assert below.disk_id is not None
            size = below.virtual_size if size is None else size
            options = CreateOptions(
                format=below.format,
                logical_sector_size=below.logical_sector_size,
                physical_sector_size=below.physical_sector_size,
            )
            refuse_shape(files.describe(path), size, options, has_parent=True)
            if not any_size:
                refuse_unequal(files.describe(path), below.format, size, below.virtual_size)
            status = files.stat(parent)
            with building(files, path, token=self._token(), replace=replace, sources=[status]) as storage:
                create_image(
                    storage,
                    size=size,
                    # A VHD has an id of its own, which its children record; the layers of a VHDX are one disk.
                    disk_id=below.disk_id if below.format is ImageFormat.VHDX else self.new_id(),
                    new_id=self.new_id,
                    options=options,
                    parent=link,
                ).close()
        # What was forced on an image of this name says nothing of the one that took its place.
        forget(files, path)

    def _refuse_replacing(
        self,
        files: FileSystem,
        path: str,
        format: ImageFormat,
        sources: FileSystem | None = None,
        layers: Sequence[str] = (),
        *,
        said: bool = False,
    ) -> None:
        """A new image, of *format*, must take the place of nothing that it, or another image, needs.

        What was *said* to be of the same format and is sound as such is nothing else, whatever a guest wrote into it.
        """
        try:
            identity = files.stat(path).identity
        except FileNotFoundError:
            return
        if sources is not None and any(sources.stat(layer).identity == identity for layer in layers):
            raise Error(f"{files.describe(path)}: is a layer of the disk that is to be in it; give another name")
        kinds = formats_of(files, path, format, new_id=self.new_id)
        if said and format in kinds:
            kinds = [format]
        # Who needs the name finds it beside that name, also where it is a link.
        if bereaved := [child for kind in kinds for child in self._children_beside(files, path, kind)]:
            raise _bereaved(files, path, bereaved, "Give another name, or remove them first")

    def info(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> ImageInfo:
        """What the image says of itself; see `Engine.info`."""
        with closing(open_image(files.open(path, Access.INSPECT), new_id=self.new_id, format=format)) as image:
            return image.info

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The verified chain under *path*; see `Engine.layers`."""
        with self.open_chain(files, path, format=format) as chain:
            return [layer.path for layer in chain.layers]

    def children(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The images beside *path* whose parent it is; see `Engine.children`."""
        return self._children_beside(files, files.resolve(path), format)

    def _children_beside(self, files: FileSystem, path: str, format: ImageFormat | None) -> list[str]:
        return self._children_of(files, path, self.info(files, path, format=format))

    def _children_of(self, files: FileSystem, path: str, info: ImageInfo) -> list[str]:
        if info.linkage is None:
            return []
        return children(files, path, info.linkage, self.policy, new_id=self.new_id, format=info.format)

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
    ) -> None:
        """Change the disk's size; see `Engine.resize`."""
        size = whole("size", size)
        with self.open_chain(files, path, writable=1, orphan=orphan, format=format) as chain:
            if len(chain.layers) > 1 and size != chain.size and not any_size:
                refuse_unequal(files.describe(path), chain.leaf.info.format, size, _size_under(chain, 0))
            if size < chain.size and shrink is not Shrink.FORCE:
                refuse_loss(chain, size, unused=shrink is Shrink.UNUSED)
            chain.leaf.resize(size, below=_size_under(chain, 0))

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
    ) -> str:
        """Merge a run of layers into one file; see `Engine.merge`."""
        plan = self.plan_merge(files, top, target, direction=direction, format=format)
        if plan.needed > plan.free:
            raise OutOfSpace(
                f"{files.describe(plan.result)}: up to {plan.needed} bytes more are needed, {plan.free} are free"
            )
        up = plan.direction is Direction.UP
        count = len(plan.merged) + 1
        with self.open_chain(files, top, writable=1 if up else count, orphan=True, format=format) as chain:
            format = chain.leaf.info.format
            # Looked at again under the claim on the files: until here somebody else may have been at work.
            if _place_of(files, target, chain) != count - 1:
                raise Error(f"{files.describe(top)}: its layers were changed meanwhile; look at them and ask again")
            cost = Cost(plan.moved, plan.needed)
            plan = self._plan(files, chain, count, plan.direction, cost)
            if plan.orphaned and not orphan:
                raise _bereaved(files, target, plan.orphaned)
            if plan.links > 1 and not orphan:
                raise _shared(files, target, plan.links)
            if remove or not up:
                refuse_cut(files.describe(target), plan, shrink)
            for image in chain.images[: 1 if up else count]:
                image.verify()
            if up:
                under = _link_under(files, chain, count, self.policy)
                hand_over(files, chain, count, under, token=self._token())
                pull(chain.images[:count], parent=under, on_progress=on_progress)
            elif not plan.done:
                below = _size_under(chain, count - 1)
                merge(chain.images[:count], below=below, new_id=self.new_id, on_progress=on_progress)
        if remove:
            self._settle(files, plan, format)
        return plan.result

    def plan_merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        direction: Direction = Direction.DOWN,
        format: ImageFormat | None = None,
    ) -> MergePlan:
        """What a merge would do; see `Engine.plan_merge`."""
        with self.open_chain(files, top, format=format) as chain:
            count = _place_of(files, target, chain) + 1
            run = chain.images[:count]
            for fault in filter(None, (image.shared() for image in run)):
                raise fault
            for image in run:
                image.verify()
            down = None if direction is Direction.UP else cost_down(run)
            up = None if direction is Direction.DOWN else cost_up(run, alone=count == len(chain.layers))
            if down is None or (up is not None and up.moved < down.moved):
                assert up is not None
                return self._plan(files, chain, count, Direction.UP, up)
            return self._plan(files, chain, count, Direction.DOWN, down)

    def _plan(self, files: FileSystem, chain: Chain, count: int, direction: Direction, cost: Cost) -> MergePlan:
        paths = [layer.path for layer in chain.layers[:count]]
        down = direction is Direction.DOWN
        beside = [self._children(files, layer.path, layer.image.info) for layer in chain.layers[:count] if down]
        status = [layer.image.storage.status() for layer in chain.layers[:count]]
        own = {of_file.identity for of_file in status}
        others = [child for found in beside[1:] for child in found if files.stat(child).identity not in own]
        # Children of the result that was merged into already were relinked to it; they lose nothing.
        done = bool(others) and is_merged(chain, count)
        cut, lost = cut_off(chain.images[:count])
        return MergePlan(
            direction=direction,
            result=paths[-1] if down else paths[0],
            merged=tuple(paths[:-1] if down else paths[1:]),
            moved=0 if done else cost.moved,
            needed=0 if done else cost.needed,
            free=files.space().free,
            relinked=tuple(beside[0]) if down else (),
            orphaned=() if done else tuple(others),
            done=done,
            cut=cut,
            lost=lost,
            links=status[-1].links if down and not done else 1,
        )

    def _children(self, files: FileSystem, path: str, info: ImageInfo) -> list[str]:
        """Children as far as they can be looked up: where the directory cannot be listed, none are known."""
        try:
            return self._children_of(files, path, info)
        except PermissionError:
            return []

    def _settle(self, files: FileSystem, plan: MergePlan, format: ImageFormat | None) -> None:
        """Relink what names the top of a merged run, then remove the merged files that nothing else needs.

        The top goes last, relinked to the result before, so that its disk opens until then. Of the others the lowest
        goes first, since it opens and would show what never was; those above it do not open without it.
        """
        for child in plan.relinked:
            self.relink(files, child, plan.result, merged=True, format=format)
        unneeded: list[str] = []
        with suppress(PermissionError):
            for path in plan.merged:
                if not self._is_unneeded(files, path, self.info(files, path, format=format), plan):
                    break
                unneeded.append(path)
            if plan.direction is Direction.DOWN and len(unneeded) > 1:
                self.relink(files, unneeded[0], plan.result, merged=True, format=format)
                order = [*reversed(unneeded[1:]), unneeded[0]]
            else:
                order = unneeded[::-1]
            for path in order:
                self._remove(files, path, plan, format)

    def _is_unneeded(self, files: FileSystem, path: str, info: ImageInfo, plan: MergePlan) -> bool:
        named_by = namers(files, path, info.linkage, self.policy, new_id=self.new_id, format=info.format)
        return not set(map(posixpath.normpath, named_by)) - set(map(posixpath.normpath, plan.merged))

    def _remove(self, files: FileSystem, path: str, plan: MergePlan, format: ImageFormat | None) -> None:
        """Take a merged file out of the way first, so that nobody makes a child of it while it is looked at."""
        info = self.info(files, path, format=format)
        aside = temporary_name(path, self._token())
        files.rename(path, aside, replace=False)
        try:
            unneeded = self._is_unneeded(files, path, info, plan)
            if unneeded:
                files.remove(aside)
        except BaseException:
            # Who names it needs it under its name.
            with suppress(OSError, Error):
                files.rename(aside, path, replace=False)
            raise
        if not unneeded:
            files.rename(aside, path, replace=False)
            return
        forget(files, path)
        files.sync_directory(posixpath.dirname(path))

    def relink(
        self,
        files: FileSystem,
        child: str,
        parent: str,
        *,
        force: bool = False,
        merged: bool = False,
        format: ImageFormat | None = None,
    ) -> None:
        """Record *parent* as the parent of *child*; see `Engine.relink`."""
        with self.open_chain(files, parent, format=format) as chain:
            relink(
                files,
                child,
                chain,
                new_id=self.new_id,
                policy=self.policy,
                token=self._token(),
                force=force,
                merged=merged,
                format=format,
            )

    def undo_relink(self, files: FileSystem, child: str, *, format: ImageFormat | None = None) -> None:
        """Record again what was recorded before a parent was forced; see `Engine.undo_relink`."""
        undo_relink(files, child, new_id=self.new_id, token=self._token(), format=format)

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
    ) -> None:
        """Make *target* a copy of *source* in another shape; see `Engine.convert`."""
        size = None if size is None else whole("size", size)
        with self._source(source_files, source, source_format, options) as chain:
            shape = _shape(chain.images[-1].info, options, target_files.describe(target))
            if size is not None and size < chain.size:
                raise Error(f"{target_files.describe(target)}: {size} bytes cannot hold a disk of {chain.size} bytes")
            for fault in chain.shared():
                (on_warning or _LOG.warning)(str(fault))
            length = _whole(size or chain.size, shape)
            refuse_shape(target_files.describe(target), length, shape, has_parent=False)
            if replace:
                layers = [layer.path for layer in chain.layers]
                self._refuse_replacing(target_files, target, shape.format, source_files, layers)
            sources = [source_files.stat(layer.path) for layer in chain.layers]
            with self._copy(target_files, target, length, shape, sources, replace=replace) as image:
                convert(chain, image, scan_zeros=scan_zeros, on_progress=on_progress)

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
        ledger = Ledger()
        with open_salvage(
            source_files,
            source,
            ledger.notes,
            new_id=self.new_id,
            policy=self.policy,
            format=source_format,
            sector_size=options.logical_sector_size if options is not None else None,
            without_parent=without_parent,
        ) as disk:
            shape = _shape(disk.base, options, target_files.describe(target))
            length = _whole(disk.size, shape)
            refuse_shape(target_files.describe(target), length, shape, has_parent=False)
            if replace:
                self._refuse_replacing(target_files, target, shape.format, source_files, disk.paths)
            sources = [source_files.stat(path) for path in disk.paths]
            with self._copy(target_files, target, length, shape, sources, replace=replace) as image:
                fill(disk, image, ledger, on_progress=on_progress)
            return ledger.report(disk.size)

    @contextmanager
    def _copy(
        self,
        files: FileSystem,
        path: str,
        size: int,
        shape: CreateOptions,
        sources: Sequence[FileStatus],
        *,
        replace: bool,
    ) -> Iterator[Image]:
        """A new image, which reads as zeros, to be filled; it appears under its name when that is done."""
        with building(files, path, token=self._token(), replace=replace, sources=sources) as storage:
            image = create_image(storage, size=size, disk_id=self.new_id(), new_id=self.new_id, options=shape)
            yield image
            image.close()

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
        with self.open_chain(files, path, writable=1, orphan=True, format=format) as chain:
            compact(chain, scan=scan, on_progress=on_progress)

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
        """The disk of *path* through all its layers, the first *writable* of them open for writing.

        Raises HasChildren when something is open for writing and *path* has children, which a change of it would
        break, or more names than this one (hard links), beside which nobody looks for children; unless *orphan* gives
        them up. Where *path* is a symbolic link, children are those of the file that it leads to.
        """
        chain = Chain.open(
            files, path, new_id=self.new_id, writable=writable, access=access, policy=self.policy, format=format
        )
        if writable and not orphan:
            try:
                leaf = chain.layers[0]
                bereaved = self._children(files, leaf.path, leaf.image.info)
                if bereaved:
                    raise _bereaved(files, leaf.path, bereaved)
                links = leaf.image.storage.status().links
                if links > 1:
                    raise _shared(files, leaf.path, links)
            except BaseException:
                chain.close()
                raise
        return chain

    def _source(
        self, files: FileSystem, path: str, format: ImageFormat | None, options: CreateOptions | None
    ) -> Chain:
        """The disk to convert; a raw one in sectors as large as those of the copy."""
        if format is ImageFormat.RAW and options is not None and options.logical_sector_size is not None:
            image = open_raw(files.open(path, Access.READ), sector_size=options.logical_sector_size)
            return Chain([Layer(path, image)])
        return self.open_chain(files, path, format=format)

    def _token(self) -> str:
        return self.new_id().hex[:8]


def _bereaved(
    files: FileSystem,
    path: str,
    bereaved: Sequence[str],
    remedy: str = "Merge them first, or say that they are given up",
) -> HasChildren:
    names = ", ".join(files.describe(child) for child in bereaved)
    return HasChildren(
        f"{files.describe(path)}: is the parent of {names}; a change of it would make them unreadable. {remedy}"
    )


def _shared(files: FileSystem, path: str, links: int) -> HasChildren:
    return HasChildren(
        f"{files.describe(path)}: has {links} names (hard links), all of which would show the change, and an image "
        f"beside another of them may have it as its parent. Work on a copy, or say that these are given up"
    )


def _place_of(files: FileSystem, target: str, chain: Chain) -> int:
    identity = files.stat(target).identity
    for place, layer in enumerate(chain.layers[1:], 1):
        if layer.image.storage.status().identity == identity:
            return place
    top = chain.layers[0].path
    raise Error(f"{files.describe(target)} is not under {files.describe(top)}, so they cannot be merged")


def _size_under(chain: Chain, place: int) -> int:
    return chain.images[place + 1].virtual_size if place + 1 < len(chain.layers) else 0


def _shape(base: ImageInfo, options: CreateOptions | None, target: str) -> CreateOptions:
    """The shape of a copy: as asked for, else that of *base*, the lowest layer; sectors are those of the source."""
    if options is None:
        block_size = base.block_size if base.format is ImageFormat.VHDX else None
        options = CreateOptions(block_size=block_size, physical_sector_size=base.physical_sector_size)
    if base.format is ImageFormat.RAW:
        return options
    sector = options.logical_sector_size or base.logical_sector_size
    if sector != base.logical_sector_size or (sector != 512 and options.format is ImageFormat.VHD):
        raise Error(
            f"{target}: the source has sectors of {base.logical_sector_size} bytes, and what a guest wrote in those "
            f"does not make sense in others"
        )
    return replace(options, logical_sector_size=sector)


def _whole(size: int, options: CreateOptions) -> int:
    """*size* in whole sectors: a raw source may end anywhere."""
    sector = options.logical_sector_size or 512
    return -(-whole_size(size, options) // sector) * sector


def _link_under(files: FileSystem, chain: Chain, count: int, policy: ParentPolicy) -> ParentLink | None:
    """What the first *count* layers of *chain* lie on, as a record for an image in place of them."""
    if count == len(chain.layers):
        return None
    under = chain.layers[count]
    return link_to(files, chain.layers[0].path, under.path, under.image.info, policy)
