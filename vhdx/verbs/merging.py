"""Merging a run of files: what it would do, doing it, and what becomes of the files that were merged."""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from vhdx.chain.children import Kin, Looked, Relatives
from vhdx.chain.family import Family, Means
from vhdx.chain.forced import forget
from vhdx.errors import Error, FormatError, InUse, OutOfSpace
from vhdx.image.base import Image, ImageFormat, ParentLink, Progress
from vhdx.image.open import open_image
from vhdx.logs import debug
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.merge import is_merged, merge, pull
from vhdx.verbs.merge_plan import Cost, Direction, MergePlan, cost_down, cost_up, cut_off
from vhdx.verbs.refusals import bereaved, many_names
from vhdx.verbs.relink import hand_over, link_to, relink
from vhdx.verbs.shrink import Shrink, refuse_cut


def place_of(family: Family, target: str) -> int:
    """The number of the layer that *target* is. Raises Error where it is none under the leaf."""
    place = family.place(target)
    if not place:
        top = family.files.describe(family.layers[0].path)
        raise Error(f"{family.files.describe(target)} is not under {top}, so they cannot be merged")
    return place


def plan_merge(family: Family, target: str, direction: Direction) -> MergePlan:
    """What merging the leaf and the layers between into *target*, or the other way, would do."""
    count = place_of(family, target) + 1
    run = family.chain.images[:count]
    for image in run:
        _refuse_unfit(image)
    down = None if direction is Direction.UP else cost_down(run)
    up = None if direction is Direction.DOWN else cost_up(run, alone=count == len(family.layers))
    if down is None or (up is not None and up.moved < down.moved):
        assert up is not None
        return _plan(family, count, Direction.UP, up)
    return _plan(family, count, Direction.DOWN, down)


def _refuse_unfit(image: Image) -> None:
    """Raises FormatError for an image that cannot be read as a whole or changed; one look at a sound table."""
    try:
        image.verify()
    except FormatError:
        # Two blocks on one place have an error of their own, which says which.
        fault = image.shared()
        if fault is not None:
            raise fault from None
        raise


def _plan(family: Family, count: int, direction: Direction, cost: Cost) -> MergePlan:
    files, run = family.files, family.chain.images[:count]
    paths = family.paths[:count]
    down = direction is Direction.DOWN
    beside = [family.children(place) for place in range(count) if down]
    own = {family.identity(place) for place in range(count)}
    others = [
        child
        for place in range(1, len(beside))
        for child in beside[place]
        if family.kin(place).identity(child) not in own
    ]
    # Children of the result that was merged into already were relinked to it; they lose nothing.
    done = bool(others) and is_merged(family.chain, count)
    cut, lost = cut_off(run)
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
        links=run[-1].storage.status().links if down and not done else 1,
    )


def carry_out(
    family: Family, plan: MergePlan, *, shrink: Shrink, orphan: bool, remove: bool, on_progress: Progress | None
) -> None:
    """Do what *plan*, made with the same *family*, says; with *remove* no file is left that nothing names any more.

    The layers to be changed are open for writing, those to be removed with Access.OWN; see `Engine.merge`.
    """
    files, chain = family.files, family.chain
    up = plan.direction is Direction.UP
    count = len(plan.merged) + 1
    target = family.layers[count - 1].path
    if plan.needed > plan.free:
        where = files.describe(plan.result)
        raise OutOfSpace(f"{where}: up to {plan.needed} bytes more are needed, {plan.free} are free")
    if plan.orphaned and not orphan:
        what = "is" if count == 2 else "or a layer that would be merged into it is"
        raise bereaved(files, target, plan.orphaned, what=what)
    if plan.links > 1 and not orphan:
        raise many_names(files, target, plan.links)
    if remove or not up:
        refuse_cut(files.describe(target), plan, shrink)
    where = files.describe(plan.result)
    debug(__name__, "%s: merging %d files into it (%s), %d bytes to move", where, count - 1, plan.direction, plan.moved)
    if up:
        under = _link_under(family, count)
        hand_over(files, chain, count, under, token=family.means.token())
        pull(chain.images[:count], parent=under, on_progress=on_progress)
    elif not plan.done:
        below, new_id = family.size_under(count - 1), family.means.new_id
        merge(chain.images[:count], below=below, new_id=new_id, on_progress=on_progress)
    debug(__name__, "%s: merged", where)
    if remove:
        (_remove_below if up else _remove_above)(family, plan)


def _link_under(family: Family, count: int) -> ParentLink | None:
    """What the first *count* layers lie on, as a record for an image in place of them."""
    if count == len(family.layers):
        return None
    under = family.layers[count]
    return link_to(family.files, family.layers[0].path, under.path, under.image.info, family.means.policy)


def _remove_above(family: Family, plan: MergePlan) -> None:
    """Relink what names the top of a run that was merged down, then remove the merged files that nothing else needs.

    The top goes last, relinked to the result before, so that its disk opens until then. Of the others the lowest
    goes first, since it opens and would show what never was; those above it do not open without it. The claims on all
    of them keep others from making children of them meanwhile.
    """
    result = family.under(len(plan.merged))
    for child in plan.relinked:
        relink(result, child, force=False, merged=True, format=family.format)
    gone = {_spelled(family.kin(place), path) for place, path in enumerate(plan.merged)}
    gone.update(map(posixpath.normpath, plan.relinked))
    unneeded = []
    for place, path in enumerate(plan.merged):
        if set(map(posixpath.normpath, _namers(family.kin(place), path, _looked(family, place)))) - gone:
            break
        unneeded.append(place)
    if len(unneeded) > 1:
        top = family.layers[0]
        relink(result, top.path, force=False, merged=True, format=family.format, image=top.image)
    order = [*reversed(unneeded[1:]), *unneeded[:1]]
    with suppress(PermissionError):
        for place in order:
            _remove(family.files, family.layers[place].path, family.layers[place].image)


def _looked(family: Family, place: int) -> Looked:
    return Looked(family.layers[place].image.info, family.identity(place))


def _namers(kin: Kin, path: str, looked: Looked) -> list[str]:
    """What names an image; itself, as if nobody knew, where its directory may not be looked through."""
    try:
        return kin.namers(path, looked)
    except PermissionError:
        return ["/"]


def _spelled(kin: Kin, path: str) -> str:
    """A path by the name that namers have, where the directory may be looked through."""
    try:
        return kin.spelled(path)
    except PermissionError:
        return posixpath.normpath(path)


def _remove_below(family: Family, plan: MergePlan) -> None:
    """Remove the files that a run merged up does not need any more, nor anybody else, the lowest first.

    Others may have been reading them, so they are claimed only now, and looked at again under the claim: nobody can
    make a child of them any more.
    """
    files, means, format = family.files, family.means, family.format
    family.close()
    with _claimed(files, plan.merged, means, format) as images:
        relatives = Relatives(files, policy=means.policy, new_id=means.new_id)
        looked = [Looked(image.info, image.storage.identity()) for image in images]
        for path, seen in zip(plan.merged, looked, strict=False):
            relatives.of(path, format).know(path, seen, None)
        gone = {_spelled(relatives.of(path, format), path) for path in (plan.result, *plan.merged)}
        unneeded = []
        for path, image, seen in zip(plan.merged, images, looked, strict=False):
            if set(map(posixpath.normpath, _namers(relatives.of(path, format), path, seen))) - gone:
                break
            unneeded.append((path, image))
        with suppress(PermissionError):
            for path, image in reversed(unneeded):
                _remove(files, path, image)


@contextmanager
def _claimed(
    files: FileSystem, paths: Sequence[str], means: Means, format: ImageFormat
) -> Iterator[list[Image]]:
    """The images at *paths*, open so that they may be removed, as far as nobody else has them open."""
    with ExitStack() as stack:
        images = []
        with suppress(InUse, PermissionError, FileNotFoundError):
            for path in paths:
                storage = files.open(path, Access.OWN, beneath=posixpath.dirname(path))
                image = open_image(storage, new_id=means.new_id, format=format)
                stack.callback(image.close)
                images.append(image)
        yield images


def _remove(files: FileSystem, path: str, image: Image) -> None:
    with closing(image.storage) as storage:
        image.settle()
        files.remove(path, held=storage)
    forget(files, path)
    files.sync_directory(posixpath.dirname(path))
