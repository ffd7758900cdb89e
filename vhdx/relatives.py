"""The files beside an image that have it as their parent.

A change of a parent's content breaks its children: a VHDX parent then has another DataWriteGuid, and a VHD parent not
even that, so that nothing would tell. This look beside the image is their only protection. It sees one directory; what
was recorded in other directories it cannot know. A file under construction is no image yet, and no child.
"""

import posixpath
from collections.abc import Hashable, Iterator
from contextlib import closing
from uuid import UUID

from vhdx.building import is_temporary
from vhdx.errors import Error, FormatError
from vhdx.image.base import ImageInfo, NewId
from vhdx.image.open import open_image, recognise
from vhdx.parents import ParentPolicy, candidates
from vhdx.storage.base import Access, FileSystem


def children(files: FileSystem, path: str, linkage: UUID, policy: ParentPolicy, *, new_id: NewId) -> list[str]:
    """Paths of the images beside *path* whose parent it is, sorted.

    An image counts when it records *linkage* and *path* is the first of its candidates that has it. Of files that
    cannot be read nothing is known. Raises OSError when the directory cannot be listed.
    """
    found = []
    for beside, info in _beside(files, path, policy, new_id):
        if isinstance(info, ImageInfo) and info.parent is not None and info.parent.accepts(linkage):
            first = _first_match(files, beside, info, policy, new_id)
            if first in (None, files.stat(path).identity):
                found.append(beside)
    return found


def namers(files: FileSystem, path: str, linkage: UUID | None, policy: ParentPolicy, *, new_id: NewId) -> list[str]:
    """Paths of the images beside *path* that name it in any way: by its linkage or by a path that leads to it.

    More than its children: also those that were made from an earlier state of it, and images that cannot be read now
    and may name it for all that is known. Raises OSError when the directory cannot be listed.
    """
    found = []
    for beside, info in _beside(files, path, policy, new_id):
        if not isinstance(info, ImageInfo):
            found.append(beside)
        elif info.parent is not None:
            named = [posixpath.normpath(candidate) for candidate in candidates(files, beside, info.parent, policy)]
            if info.parent.accepts(linkage) or posixpath.normpath(path) in named:
                found.append(beside)
    return found


def _beside(
    files: FileSystem, path: str, policy: ParentPolicy, new_id: NewId
) -> Iterator[tuple[str, ImageInfo | Exception]]:
    """The images beside *path* and what each says of itself, or why it could not be looked into."""
    directory = posixpath.dirname(path)
    for name in files.list(directory):
        beside = posixpath.join(directory, name)
        if is_temporary(name) or not policy.related(path, name):
            continue
        if posixpath.normpath(beside) != posixpath.normpath(path):
            info = _look(files, beside, new_id)
            if info is not None:
                yield beside, info


def _look(files: FileSystem, path: str, new_id: NewId) -> ImageInfo | Exception | None:
    """What the file says of itself; None for one that is no image, or is gone; why it could not be looked into."""
    try:
        storage = files.open(path, Access.INSPECT)
        try:
            format = recognise(storage)
        except FormatError as error:
            storage.close()
            return None if error.offset is not None else error
        with closing(open_image(storage, new_id=new_id, format=format)) as image:
            return image.info
    except FileNotFoundError:
        return None
    except (Error, PermissionError) as error:
        return error


def _first_match(
    files: FileSystem, child: str, info: ImageInfo, policy: ParentPolicy, new_id: NewId
) -> Hashable | None:
    """The identity of the file that *child* takes for its parent; None when its records lead to none."""
    assert info.parent is not None
    for candidate in candidates(files, child, info.parent, policy):
        found = _look(files, candidate, new_id)
        if isinstance(found, ImageInfo) and info.parent.accepts(found.linkage):
            return files.stat(candidate).identity
    return None
