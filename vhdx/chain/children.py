"""The files beside an image that have it as their parent.

A change of a parent's content breaks its children: a VHDX parent then has another DataWriteGuid, and a VHD parent not
even that, so that nothing would tell. This look beside the image is their only protection. It sees one directory; what
was recorded in other directories it cannot know. A file under construction is no image yet, and no child.

A child is of its parent's format, so every file is looked into as an image of that: what a guest wrote into its disk
neither hides a child nor makes one.
"""

import posixpath
from collections.abc import Hashable, Iterator
from contextlib import closing, suppress
from typing import NamedTuple
from uuid import UUID

from vhdx.chain.parents import ParentPolicy, candidates, explained_candidates, why_not
from vhdx.errors import Error, FormatError, LeadsOutside
from vhdx.image.base import ImageFormat, ImageInfo, NewId
from vhdx.image.marks import carries
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import is_temporary


def children(
    files: FileSystem, path: str, linkage: UUID, policy: ParentPolicy, *, new_id: NewId, format: ImageFormat
) -> list[str]:
    """Paths of the images beside *path*, an image of *format*, whose parent it is, sorted.

    *path* is that of the file itself, as `FileSystem.resolve` gives it. An image counts when it records *linkage* and
    *path* is the first of its candidates that has it. Of files that cannot be read nothing is known. Raises OSError
    when the directory cannot be listed.
    """
    found = []
    for beside, info in _beside(files, path, policy, new_id, format):
        if isinstance(info, ImageInfo) and info.parent is not None and info.parent.accepts(linkage):
            first = _first_match(files, files.resolve(beside), info, policy, new_id)
            if first in (None, files.stat(path).identity):
                found.append(beside)
    return found


def namers(
    files: FileSystem, path: str, linkage: UUID | None, policy: ParentPolicy, *, new_id: NewId, format: ImageFormat
) -> list[str]:
    """Paths of the images beside *path* that name it in any way: by its linkage or by a path that leads to it.

    *path* is an image of *format*, and so is whatever can have it as its parent.

    More than its children: also those that were made from an earlier state of it, and images that cannot be read now
    and may name it for all that is known. Raises OSError when the directory cannot be listed.
    """
    found = []
    for beside, info in _beside(files, path, policy, new_id, format):
        if not isinstance(info, ImageInfo):
            found.append(beside)
        elif info.parent is not None:
            child = files.resolve(beside)
            named = [posixpath.normpath(candidate) for candidate in candidates(files, child, info.parent, policy)]
            if info.parent.accepts(linkage) or posixpath.normpath(path) in named:
                found.append(beside)
    return found


def _beside(
    files: FileSystem, path: str, policy: ParentPolicy, new_id: NewId, format: ImageFormat
) -> Iterator[tuple[str, ImageInfo | Exception]]:
    """The images of *format* beside *path* and what each says of itself, or why it could not be looked into."""
    directory = posixpath.dirname(path)
    for name in files.list(directory):
        beside = posixpath.join(directory, name)
        if is_temporary(name) or not policy.related(path, name):
            continue
        if posixpath.normpath(beside) != posixpath.normpath(path):
            seen = _look(files, beside, new_id, format, directory)
            if seen is not None:
                yield beside, seen if isinstance(seen, Exception) else seen.info


class _Seen(NamedTuple):
    """An image that was looked into."""

    info: ImageInfo
    identity: Hashable


def _look(
    files: FileSystem, path: str, new_id: NewId, format: ImageFormat, beneath: str
) -> _Seen | Exception | None:
    """What the file says of itself as an image of *format*, or why it could not be looked into.

    None for one that is gone, that carries no mark of the format, or only as what a guest wrote into a disk of another.
    """
    try:
        return _opened(files, path, new_id, format, beneath)
    except LeadsOutside:  # its relatives are beside the file itself, wherever that is
        return None
    except (Error, PermissionError) as error:
        other = isinstance(error, FormatError) and _is_another(files, path, new_id, format, beneath)
        return None if other else error
    except OSError as error:
        why_not(error, path)
        return None


def formats_of(files: FileSystem, path: str, format: ImageFormat, *, new_id: NewId) -> list[ImageFormat]:
    """The formats as an image of which a file opens that nothing was said of; none for rubbish.

    A guest may have planted the marks of one. Raises Error where it may be an image that cannot be read here, unless it
    is one of *format*.
    """
    found: list[ImageFormat] = []
    unreadable: Error | None = None
    for kind in ImageFormat:
        try:
            if _opened(files, path, new_id, kind) is not None:
                found.append(kind)
        except FormatError:
            continue
        except Error as error:
            unreadable = error
    if unreadable is not None and format not in found:
        raise unreadable
    return found


def _opened(
    files: FileSystem, path: str, new_id: NewId, format: ImageFormat, beneath: str | None = None
) -> _Seen | None:
    storage = files.open(path, Access.INSPECT, beneath=beneath)
    try:
        marked = carries(storage, format)
    except BaseException:
        storage.close()
        raise
    if not marked:
        storage.close()
        return None
    with closing(open_image(storage, new_id=new_id, format=format)) as image:
        return _Seen(image.info, image.storage.status().identity)


def _is_another(files: FileSystem, path: str, new_id: NewId, format: ImageFormat, beneath: str) -> bool:
    """Whether the file is an image of another format than *format*, sound as far as opening it tells."""
    for other in ImageFormat:
        with suppress(Error, OSError):
            if other is not format and _opened(files, path, new_id, other, beneath) is not None:
                return True
    return False


def _first_match(
    files: FileSystem, child: str, info: ImageInfo, policy: ParentPolicy, new_id: NewId
) -> Hashable | None:
    """The identity of the file that *child* takes for its parent; None when its records lead to none."""
    assert info.parent is not None
    for candidate in explained_candidates(files, child, info.parent, policy):
        found = _look(files, candidate.path, new_id, info.format, candidate.base)
        if isinstance(found, _Seen) and info.parent.accepts(found.info.linkage):
            return found.identity
    return None
