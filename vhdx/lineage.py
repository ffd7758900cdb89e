"""The ancestors of an image as they are found, broken links and all: for people who ask why a chain does not open.

`Chain.open` refuses a chain with one clear error; here every layer that can be reached is told, the records of the
last one included. Nothing is claimed and nothing is written.
"""

import posixpath
from collections.abc import Hashable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from vhdx.errors import Error
from vhdx.image.base import ImageFormat, ImageInfo, NewId, ParentLink
from vhdx.image.open import open_image
from vhdx.parents import ParentPolicy, explained_candidates, refusal, unusable
from vhdx.relatives import children
from vhdx.storage.base import Access, FileStatus, FileSystem


class Verdict(StrEnum):
    """What became of looking for a recorded parent."""

    FOUND = "found"
    MISMATCH = "mismatch"  # a file is in its place, and is not, or no longer, the recorded one
    MISSING = "missing"
    LOOP = "loop"  # the parent is the image itself, or one of those above
    TOO_DEEP = "too deep"


@dataclass(frozen=True, slots=True)
class Link:
    """What an image records of its parent, and which file that is.

    *key* is the record that led to *path*; *by_name* says that only the base name in it did. *problems* says of each
    candidate, and of each record that was not followed, why it is not the parent; *renamed* are files with the recorded
    id under names that no record leads to.
    """

    recorded: ParentLink
    verdict: Verdict
    path: str | None = None
    key: str | None = None
    by_name: bool = False
    problems: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()

    @property
    def linkage_ok(self) -> bool | None:
        """Whether the file that was found is the recorded one; None where no file was found."""
        return None if self.path is None else self.verdict is Verdict.FOUND


@dataclass(frozen=True, slots=True)
class Member:
    """One layer as it is found: *siblings* are the other images that have its parent, None where nobody can tell."""

    path: str
    info: ImageInfo
    status: FileStatus
    link: Link | None
    siblings: tuple[str, ...] | None = None


def ancestry(
    files: FileSystem,
    path: str,
    *,
    policy: ParentPolicy,
    new_id: NewId,
    format: ImageFormat | None = None,
) -> Iterator[Member]:
    """*path* and what lies under it, leaf first, as far as links lead.

    Raises Error for the first image when it cannot be opened, OSError when the transport fails; a parent that cannot
    be opened is a problem of the link to it.
    """
    seen: set[Hashable] = set()
    info = look(files, path, new_id, format)
    while True:
        status = files.stat(path)
        seen.add(status.identity)
        link = find_link(files, path, info, policy=policy, new_id=new_id)
        if link is not None and link.verdict in (Verdict.MISSING, Verdict.MISMATCH):
            link = replace(link, renamed=tuple(_renamed(files, path, info, policy, new_id)))
        if link is not None and link.path is not None and link.verdict is Verdict.FOUND:
            if files.stat(link.path).identity in seen:
                link = Link(link.recorded, Verdict.LOOP, link.path, link.key, link.by_name)
            elif len(seen) >= policy.most_layers:
                link = Link(link.recorded, Verdict.TOO_DEEP, link.path, link.key, link.by_name)
        siblings = _siblings(files, path, link, policy=policy, new_id=new_id, format=info.format)
        yield Member(path, info, status, link, siblings)
        if link is None or link.verdict is not Verdict.FOUND or link.path is None:
            return
        path, info = link.path, look(files, link.path, new_id, info.format)


def find_link(
    files: FileSystem, path: str, info: ImageInfo, *, policy: ParentPolicy, new_id: NewId
) -> Link | None:
    """Where the parent of an image is; None for an image that has none. Raises OSError."""
    recorded = info.parent
    if recorded is None:
        return None
    problems: list[str] = []
    other = None
    for candidate in explained_candidates(files, path, recorded, policy):
        name = files.describe(candidate.path)
        try:
            found = look(files, candidate.path, new_id, info.format)
        except FileNotFoundError:
            problems.append(f"{name} does not exist")
            continue
        except (Error, PermissionError) as error:
            problems.append(str(error))
            continue
        reason = refusal(info, found)
        if not reason:
            return Link(recorded, Verdict.FOUND, candidate.path, candidate.key, candidate.by_name, tuple(problems))
        problems.append(f"{name} {reason}")
        other = other or candidate
    problems += unusable(path, recorded, policy)
    if other is not None:
        return Link(recorded, Verdict.MISMATCH, other.path, other.key, other.by_name, tuple(problems))
    return Link(recorded, Verdict.MISSING, problems=tuple(problems))


def _renamed(
    files: FileSystem, child: str, info: ImageInfo, policy: ParentPolicy, new_id: NewId
) -> Iterator[str]:
    """Files where parents may lie that could be the parent by all but their names."""
    for directory in dict.fromkeys((posixpath.dirname(child), *policy.directories)):
        names: list[str] = []
        with suppress(FileNotFoundError, PermissionError):
            names = files.list(directory)
        for path in (posixpath.join(directory, name) for name in names):
            with suppress(Error, FileNotFoundError, PermissionError):
                if posixpath.normpath(path) != posixpath.normpath(child) and not refusal(
                    info, look(files, path, new_id, info.format)
                ):
                    yield path


def look(files: FileSystem, path: str, new_id: NewId, format: ImageFormat | None = None) -> ImageInfo:
    """What an image says of itself, whoever has it open."""
    with closing(open_image(files.open(path, Access.INSPECT), new_id=new_id, format=format)) as image:
        return image.info


def _siblings(
    files: FileSystem, path: str, link: Link | None, *, policy: ParentPolicy, new_id: NewId, format: ImageFormat
) -> tuple[str, ...] | None:
    if link is None:
        return ()
    if link.path is None:
        return None
    parent = look(files, link.path, new_id, format)
    if parent.linkage is None:
        return ()
    own = files.stat(path).identity
    try:
        found = children(files, link.path, parent.linkage, policy, new_id=new_id, format=format)
    except PermissionError:
        return None
    return tuple(other for other in found if files.stat(other).identity != own)
