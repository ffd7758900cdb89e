"""Recording another parent: only one that the child was made over, unless it is forced."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from vhdx.chain.chain import Chain
from vhdx.chain.family import Family, Means
from vhdx.chain.forced import Forced, carry, forget, read, standing, write
from vhdx.chain.parents import ParentPolicy, differences, path_between
from vhdx.errors import Error, FormatError, WrongParent
from vhdx.image.base import Image, ImageFormat, ImageInfo, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem


def relink(
    below: Family, child: str, *, force: bool, merged: bool, format: ImageFormat | None, image: Image | None = None
) -> None:
    """Record the leaf of *below* as the parent of *child*, which is *image* where it is open; see `Engine.relink`."""
    files, parent = below.files, below.layers[0]
    child = files.resolve(child)
    identity = files.stat(child).identity if image is None else image.storage.identity()
    if any(below.identity(place) == identity for place in range(len(below.layers))):
        raise Error(f"{files.describe(child)}: would become its own ancestor")
    with _opened(files, child, image, below.means, format) as opened:
        link = link_to(files, child, parent.path, parent.image.info, below.means.policy)
        was = _recorded(files, child, opened, parent.image.info)
        differs = [] if merged else differences(opened.info, parent.image.info)
        if differs and (before := standing(files, child, was)) and link.linkage in before.became:
            differs = []  # it was forced before, under whatever name
        same_sectors = opened.logical_sector_size == parent.image.logical_sector_size
        if differs and not (force and same_sectors):
            raise _wrong_parent(files, child, parent.path, differs, same_sectors=same_sectors)
        # The note first: it counts from when the image records what it says.
        token = below.means.token()
        if differs:
            write(files, child, [*read(files, child), Forced(was, (link.linkage,), tuple(differs))], token=token)
        elif link.linkage != was.linkage:
            # What was merged cannot be had back, so a note that nobody can read must not keep it from being linked.
            with suppress(*[FormatError] * merged):
                carry(files, child, was, link, token=token)
        if not _records(was, link):
            opened.set_parent(link)


@contextmanager
def _opened(
    files: FileSystem, path: str, image: Image | None, means: Means, format: ImageFormat | None
) -> Iterator[Image]:
    """*image*, which stays open, or else the one at *path*, which does not."""
    if image is not None:
        yield image
        return
    with closing(open_image(files.open(path, Access.WRITE), new_id=means.new_id, format=format)) as opened:
        yield opened


def undo_relink(files: FileSystem, child: str, means: Means, *, format: ImageFormat | None) -> None:
    """Record again what was recorded before a parent was forced; see `Engine.undo_relink`."""
    child = files.resolve(child)
    with _opened(files, child, None, means, format) as image:
        forced = standing(files, child, image.info.parent)
        if forced is None:
            raise Error(f"{files.describe(child)}: no parent was forced on it that it still records")
        image.set_parent(forced.was)
        notes = [other for other in read(files, child) if other != forced]
        if notes:
            write(files, child, notes, token=means.token())
        else:
            forget(files, child)


def hand_over(files: FileSystem, chain: Chain, count: int, under: ParentLink | None, *, token: str) -> None:
    """Before the top of *chain* takes the parent of layer *count* - 1: what was forced on that stands for the top."""
    lowest, top = chain.layers[count - 1], chain.layers[0]
    forced = standing(files, lowest.path, lowest.image.info.parent)
    if forced is not None and under is not None:
        notes = [*read(files, top.path), replace(forced, became=(under.linkage,))]
        write(files, top.path, notes, token=token)


def link_to(files: FileSystem, child: str, parent: str, info: ImageInfo, policy: ParentPolicy) -> ParentLink:
    """How *child* records *parent*, of which *info* is. Raises Error where it cannot."""
    if info.linkage is None:
        raise Error(f"{files.describe(parent)}: a raw file has no id that a child could record, so it has no children")
    return ParentLink(info.linkage, paths={"relative_path": path_between(child, parent, policy)})


def _recorded(files: FileSystem, child: str, image: Image, below: ImageInfo) -> ParentLink:
    """What *image* records of its parent. Raises Error where it can have no parent like *below*."""
    was = image.info.parent
    if image.info.format is not below.format:
        formats = f"a {image.info.format} cannot have a {below.format} as its parent"
        raise Error(f"{files.describe(child)}: {formats}")
    if was is None:
        raise Error(f"{files.describe(child)}: not a differencing image, so it has no parent to record")
    return was


def _wrong_parent(
    files: FileSystem, child: str, parent: str, differs: Sequence[str], *, same_sectors: bool
) -> Error:
    text = f"{files.describe(child)}: was not made over {files.describe(parent)} as it is now: {'; '.join(differs)}"
    if not same_sectors:
        return Error(f"{text}; over other sectors it could not be opened, so this cannot be forced either")
    return WrongParent(f"{text}; over it the disk may be a mixture of two. Nothing was changed")


def _records(recorded: ParentLink | None, link: ParentLink) -> bool:
    """Whether an image records just *link*; the name in the header of a VHD says no more than the paths do."""
    if recorded is None:
        return False
    paths = {key: path for key, path in recorded.paths.items() if key != "parent_name"}
    return replace(recorded, paths=paths) == link
