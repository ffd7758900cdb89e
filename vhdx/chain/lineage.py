"""The ancestors of an image as they are found, broken links and all: for people who ask why a chain does not open.

`Chain.open` refuses a chain with one clear error; here every layer that can be reached is told, the records of the
last one included. Nothing is claimed and nothing is written.
"""

import posixpath
from collections.abc import Hashable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from vhdx.chain.children import Looked, Relatives
from vhdx.chain.forced import standing
from vhdx.chain.parents import ParentPolicy, explained_candidates, refusal, unusable, why_not
from vhdx.errors import Error
from vhdx.image.base import ImageFormat, ImageInfo, NewId, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileStatus, FileSystem


class LinkVerdict(StrEnum):
    """What became of looking for a recorded parent."""

    FOUND = "found"
    MISMATCH = "mismatch"  # a file is in its place, and is not, or no longer, the recorded one
    MISSING = "missing"
    LOOP = "loop"  # the parent is the image itself, or one of those above
    TOO_DEEP = "too deep"
    DENIED = "denied"  # a file that may be it may not be opened


class Seen(NamedTuple):
    """An image that was looked into, and what the file system says of that very file."""

    info: ImageInfo
    status: FileStatus


@dataclass(frozen=True, slots=True)
class Link:
    """What an image records of its parent, and which file that is.

    *key* is the record that led to *path*; *by_name* says that only the base name in it did. *problems* says of each
    candidate, and of each record that was not followed, why it is not the parent; *renamed* are files with the recorded
    id under names that no record leads to. *seen* is what is at *path*, as far as it could be looked into. *forced*
    says what did not fit when this parent was forced on the image; empty for one that was not.
    """

    recorded: ParentLink
    verdict: LinkVerdict
    path: str | None = None
    key: str | None = None
    by_name: bool = False
    problems: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    seen: Seen | None = None
    forced: tuple[str, ...] = ()

    @property
    def linkage_ok(self) -> bool | None:
        """Whether the file that was found is the recorded one; None where no file was found and looked into."""
        return None if self.seen is None else self.verdict is LinkVerdict.FOUND


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
    """The file that *path* leads to and what lies under it, leaf first, as far as its records lead.

    Raises Error for the first image when it cannot be opened, OSError when the transport fails; a parent that cannot
    be opened is a problem of the link to it.
    """
    met: set[Hashable] = set()
    relatives = Relatives(files, policy=policy, new_id=new_id)
    path = files.resolve(path)
    info, status = see(files, path, new_id, format)
    while True:
        met.add(status.identity)
        link = find_link(files, path, info, policy=policy, new_id=new_id)
        if link is not None and link.verdict in (LinkVerdict.MISSING, LinkVerdict.MISMATCH):
            link = replace(link, renamed=tuple(_renamed(files, path, info, policy, new_id)))
        if link is not None and link.seen is not None and link.verdict is LinkVerdict.FOUND:
            if link.seen.status.identity in met:
                link = replace(link, verdict=LinkVerdict.LOOP)
            elif len(met) >= policy.most_layers:
                link = replace(link, verdict=LinkVerdict.TOO_DEEP)
        siblings = _siblings(relatives, status, link)
        yield Member(path, info, status, link, siblings)
        if link is None or link.verdict is not LinkVerdict.FOUND or link.path is None or link.seen is None:
            return
        path, (info, status) = link.path, link.seen


def find_link(
    files: FileSystem, path: str, info: ImageInfo, *, policy: ParentPolicy, new_id: NewId
) -> Link | None:
    """Where the parent of the image at *path*, the file itself, is; None for an image that has none. Raises OSError."""
    recorded = info.parent
    if recorded is None:
        return None
    problems: list[str] = []
    other = denied = None
    for candidate in explained_candidates(files, path, recorded, policy):
        name = files.describe(candidate.path)
        at = Link(recorded, LinkVerdict.MISSING, candidate.path, candidate.key, candidate.by_name)
        try:
            found = see(files, candidate.path, new_id, info.format, beneath=candidate.base)
        except PermissionError as error:
            problems.append(f"{name} may not be opened ({error.strerror})")
            denied = denied or replace(at, verdict=LinkVerdict.DENIED)
            continue
        except (Error, OSError) as error:
            problems.append(why_not(error, name))
            continue
        reason = refusal(info, found.info)
        if not reason:
            forced = _forced(files, path, recorded)
            return replace(at, verdict=LinkVerdict.FOUND, problems=tuple(problems), seen=found, forced=forced)
        problems.append(f"{name} {reason}")
        other = other or replace(at, verdict=LinkVerdict.MISMATCH, seen=found)
    problems += unusable(files, path, recorded, policy)
    return replace(denied or other or Link(recorded, LinkVerdict.MISSING), problems=tuple(problems))


def _renamed(
    files: FileSystem, child: str, info: ImageInfo, policy: ParentPolicy, new_id: NewId
) -> Iterator[str]:
    """Files where parents may lie that could be the parent by all but their names."""
    for directory in dict.fromkeys((posixpath.dirname(child), *policy.directories)):
        names: list[str] = []
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            names = files.list(directory)
        for path in (posixpath.join(directory, name) for name in names):
            with suppress(Error, FileNotFoundError, PermissionError):
                if posixpath.normpath(path) != posixpath.normpath(child) and not refusal(
                    info, see(files, path, new_id, info.format, beneath=directory).info
                ):
                    yield path


def _forced(files: FileSystem, path: str, recorded: ParentLink) -> tuple[str, ...]:
    try:
        forced = standing(files, path, recorded)
    except (Error, PermissionError) as error:
        return (str(error),)
    return () if forced is None else forced.differs


def see(
    files: FileSystem, path: str, new_id: NewId, format: ImageFormat | None = None, *, beneath: str | None = None
) -> Seen:
    """What an image says of itself, whoever has it open, and what the file system says of the file."""
    storage = files.open(path, Access.INSPECT, beneath=beneath)
    with closing(open_image(storage, new_id=new_id, format=format)) as image:
        return Seen(image.info, image.storage.status())


def _siblings(relatives: Relatives, status: FileStatus, link: Link | None) -> tuple[str, ...] | None:
    if link is None:
        return ()
    if link.path is None or link.seen is None:
        return None
    kin = relatives.of(link.path, link.seen.info.format)
    try:
        found = kin.children(link.path, Looked(link.seen.info, link.seen.status.identity))
    except PermissionError:
        return None
    return tuple(other for other in found if kin.identity(other) != status.identity)
