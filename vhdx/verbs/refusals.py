"""What a verb must not do to others: to images that need the one that it works on, or that it would replace."""

import posixpath
from collections.abc import Hashable, Sequence
from contextlib import closing

from vhdx.chain.children import Looked, Relatives, formats_of
from vhdx.chain.family import Family, Means
from vhdx.errors import Error, HasChildren
from vhdx.image.base import ImageFormat
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem


def bereaved(
    files: FileSystem,
    path: str,
    children: Sequence[str],
    remedy: str = "Merge them first, or allow orphans",
    *,
    what: str = "is",
) -> HasChildren:
    """The error for a change of *path*, which *what* their parent, that *children* would not survive."""
    names = ", ".join(files.describe(child) for child in children)
    return HasChildren(
        f"{files.describe(path)}: {what} the parent of {names}; a change of it would make them unreadable. {remedy}"
    )


def many_names(files: FileSystem, path: str, links: int) -> HasChildren:
    """The error for a change of a file that has more names than *path*."""
    return HasChildren(
        f"{files.describe(path)}: has {links} names (hard links), all of which would show the change, and an image "
        f"beside another of them may have it as its parent. Work on a copy, or allow orphans"
    )


def refuse_bereaving(family: Family) -> None:
    """Raises HasChildren when the leaf has children, or more names than one, beside which nobody looks."""
    leaf = family.layers[0]
    if children := family.children(0):
        raise bereaved(family.files, leaf.path, children)
    links = leaf.image.storage.status().links
    if links > 1:
        raise many_names(family.files, leaf.path, links)


def children_beside(files: FileSystem, path: str, format: ImageFormat | None, means: Means) -> list[str]:
    """The images beside *path* whose parent it is. Raises OSError when the directory cannot be listed."""
    with closing(open_image(files.open(path, Access.INSPECT), new_id=means.new_id, format=format)) as image:
        looked = Looked(image.info, image.storage.identity())
    relatives = Relatives(files, policy=means.policy, new_id=means.new_id)
    kin = relatives.of(path, looked.info.format)
    kin.know(path, looked, None)
    return kin.children(path, looked)


def refuse_replacing(
    files: FileSystem,
    path: str,
    format: ImageFormat,
    means: Means,
    *,
    layers: Sequence[Hashable] = (),
    said: bool = False,
) -> None:
    """A new image, of *format*, must take the place of nothing that it, or another image, needs.

    *layers* are the identities of the files that its content comes from. What was *said* to be of the same format and
    is sound as such is nothing else, whatever a guest wrote into it. Raises Error, HasChildren.
    """
    try:
        identity = files.stat(path).identity
    except FileNotFoundError:
        return
    if identity in layers:
        raise Error(f"{files.describe(path)}: is a layer of the disk that is to be in it; give another name")
    kinds = formats_of(files, path, format, new_id=means.new_id)
    if said and format in kinds:
        kinds = [format]
    # Who needs the name finds it beside that name, also where it is a link.
    if children := [child for kind in kinds for child in children_beside(files, path, kind, means)]:
        raise replacing(files, path, children)


def replacing(files: FileSystem, path: str, children: Sequence[str]) -> HasChildren:
    """The error for a file that would take the place of the parent of *children*."""
    return bereaved(files, path, children, "Give another name, or remove them first")


def is_beside(one: str, other: str) -> bool:
    """Whether two paths are of one directory."""
    return posixpath.dirname(posixpath.normpath(one)) == posixpath.dirname(posixpath.normpath(other))
