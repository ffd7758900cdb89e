"""The files beside an image that have it as their parent.

A change of a parent's content breaks its children: a VHDX parent then has another DataWriteGuid, and a VHD parent not
even that, so that nothing would tell. This look beside the image is their only protection. It sees one directory; what
was recorded in other directories it cannot know. A file under construction is no image yet, and no child.

A child is of its parent's format, so every file is looked into as an image of that: what a guest wrote into its disk
neither hides a child nor makes one.
"""

import posixpath
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing, suppress
from typing import NamedTuple
from uuid import UUID

from vhdx.chain.parents import Candidate, ParentPolicy, explained_candidates, namesakes, why_not
from vhdx.errors import Error, FormatError, LeadsOutside
from vhdx.image.base import ImageFormat, ImageInfo, NewId
from vhdx.image.marks import carries
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import is_temporary


class Looked(NamedTuple):
    """An image that was looked into, and which file it is."""

    info: ImageInfo
    identity: Hashable


class Kin:
    """Who has whom as its parent among the images of *format* in one directory: looked at once, when first asked.

    *about* is the path of an image there: files that cannot be of one disk with it are not looked into. Every file is
    opened at most once, and those that are known already not at all. Paths are those of the files themselves, as
    `FileSystem.resolve` gives them. Of files that cannot be read nothing is known. It is for one thread, and tells of
    the moment when it looked. *among* are the paths of the files that count; without it the directory is listed.
    """

    def __init__(
        self,
        files: FileSystem,
        about: str,
        format: ImageFormat,
        *,
        policy: ParentPolicy,
        new_id: NewId,
        among: Sequence[str] | None = None,
    ) -> None:
        self._files = files
        self._directory = posixpath.dirname(about)
        self._about = about
        self._format = format
        self._policy = policy
        self._new_id = new_id
        self._listed: list[str] | None = None
        self._among = among
        self._spelled: dict[str, list[str]] = defaultdict(list)
        self._looked: dict[tuple[str, str], Looked | Exception | None] = {}
        self._parents: dict[str, Hashable | None] = {}
        self._gathered: set[str] = set()
        self._children: list[tuple[str, ImageInfo]] = []
        self._by_linkage: dict[UUID, list[str]] = defaultdict(list)
        self._by_path: dict[str, list[str]] | None = None
        self._unreadable: list[str] = []

    def know(self, path: str, looked: Looked, parent: Hashable | None) -> None:
        """Take it as known what the image at *path* is, and the identity of the file that is its parent."""
        place = posixpath.normpath(path)
        self._looked[place, self._directory] = looked
        if parent is not None:
            self._parents[place] = parent

    def names(self) -> list[str]:
        """The names of the files in the directory, as far as they can be of one disk. Raises OSError."""
        if self._listed is None:
            if self._among is None:
                self._listed = self._files.list(self._directory, self._policy.prefix(self._about))
            else:
                self._listed = [posixpath.basename(path) for path in self._among]
            for name in self._listed:
                self._spelled[name.casefold()].append(name)
        return self._listed

    def spelled(self, path: str) -> str:
        """*path* by the name that is listed, where a server finds it in other capitals. Raises OSError."""
        directory, name = posixpath.split(posixpath.normpath(path))
        self.names()
        alike = self._spelled.get(name.casefold(), [])
        return posixpath.join(directory, name if name in alike or len(alike) != 1 else alike[0])

    def children(self, path: str, looked: Looked) -> list[str]:
        """Paths of the images whose parent the one at *path* is, sorted.

        An image counts when it records the linkage, and *path* is the first of its candidates that has it. Raises
        OSError when the directory cannot be listed.
        """
        if looked.info.linkage is None:
            return []
        self._gather(path)
        found = self._by_linkage.get(looked.info.linkage, [])
        return [
            child for child in self._related(path, found) if self._parent_of(child) in (None, looked.identity)
        ]

    def namers(self, path: str, looked: Looked) -> list[str]:
        """Paths of the images that name the one at *path* in any way: by its linkage or by a path that leads to it.

        More than its children: also those that were made from an earlier state of it, and images that cannot be read
        now and may name it for all that is known. Raises OSError when the directory cannot be listed.
        """
        self._gather(path)
        found = {*self._unreadable, *self._naming().get(posixpath.normpath(path), [])}
        if looked.info.linkage is not None:
            found.update(self._by_linkage.get(looked.info.linkage, []))
        return self._related(path, sorted(found))

    def look(self, path: str) -> Looked | Exception | None:
        """What one of the files is, why it cannot be opened, or None for one that is no image of the format."""
        return self._look(posixpath.normpath(path), self._directory)

    def identity(self, path: str) -> Hashable | None:
        """Which file an image is that was looked into; None for one that was not."""
        looked = self._looked.get((posixpath.normpath(path), self._directory))
        return looked.identity if isinstance(looked, Looked) else None

    def _related(self, path: str, found: list[str]) -> list[str]:
        own = posixpath.normpath(path)
        return [
            beside
            for beside in found
            if posixpath.normpath(beside) != own and self._policy.related(path, posixpath.basename(beside))
        ]

    def _gather(self, path: str) -> None:
        """Look into every file that may be of one disk with *path*, unless it was looked into before."""
        for name in self.names():
            if name in self._gathered or is_temporary(name) or not self._policy.related(path, name):
                continue
            self._gathered.add(name)
            beside = posixpath.join(self._directory, name)
            looked = self._look(posixpath.normpath(beside), self._directory)
            if isinstance(looked, Looked):
                self._enter(beside, looked.info)
            elif looked is not None:
                self._unreadable.append(beside)

    def _enter(self, beside: str, info: ImageInfo) -> None:
        if info.parent is None:
            return
        self._children.append((beside, info))
        self._by_path = None
        for linkage in dict.fromkeys((info.parent.linkage, info.parent.linkage2)):
            if linkage is not None:
                self._by_linkage[linkage].append(beside)

    def _naming(self) -> dict[str, list[str]]:
        """The images that were looked into by each path that their records lead to."""
        if self._by_path is None:
            self._by_path = defaultdict(list)
            for beside, info in self._children:
                for candidate in self._candidates(beside, info):
                    self._by_path[posixpath.normpath(candidate.path)].append(beside)
        return self._by_path

    def _candidates(self, beside: str, info: ImageInfo) -> Iterator[Candidate]:
        assert info.parent is not None
        child = self._files.resolve(beside)
        return explained_candidates(self._files, child, info.parent, self._policy, self._namesakes)

    def _namesakes(self, directory: str, name: str) -> list[str]:
        """As `vhdx.chain.parents.namesakes`; what was listed is not listed again."""
        prefix = self._policy.prefix(self._about).casefold()
        if directory != self._directory or not name.casefold().startswith(prefix):
            return namesakes(self._files, directory, name)
        self.names()
        return self._spelled.get(name.casefold(), [])

    def _parent_of(self, beside: str) -> Hashable | None:
        """The identity of the file that *beside* takes for its parent; None when its records lead to none."""
        place = posixpath.normpath(beside)
        if place not in self._parents:
            self._parents[place] = self._first_match(beside)
        return self._parents[place]

    def _first_match(self, beside: str) -> Hashable | None:
        child = self._look(posixpath.normpath(beside), self._directory)
        assert isinstance(child, Looked)
        assert child.info.parent is not None
        for candidate in self._candidates(beside, child.info):
            found = self._look(candidate.path, candidate.base)
            if isinstance(found, Looked) and child.info.parent.accepts(found.info.linkage):
                return found.identity
        return None

    def _look(self, path: str, beneath: str) -> Looked | Exception | None:
        if (path, beneath) not in self._looked:
            self._looked[path, beneath] = _look(self._files, path, self._new_id, self._format, beneath)
        return self._looked[path, beneath]


class Relatives:
    """The `Kin` of every directory that is asked for, each made once."""

    def __init__(self, files: FileSystem, *, policy: ParentPolicy, new_id: NewId) -> None:
        self._files = files
        self._policy = policy
        self._new_id = new_id
        self._kin: dict[tuple[str, str, ImageFormat], Kin] = {}

    def of(self, path: str, format: ImageFormat) -> Kin:
        """Those beside *path*, an image of *format*."""
        key = posixpath.dirname(posixpath.normpath(path)), self._policy.prefix(path), format
        if key not in self._kin:
            self._kin[key] = Kin(self._files, path, format, policy=self._policy, new_id=self._new_id)
        return self._kin[key]

    def forget(self) -> None:
        """Something was changed: whoever asks again is told what is there then."""
        self._kin.clear()


def _look(
    files: FileSystem, path: str, new_id: NewId, format: ImageFormat, beneath: str
) -> Looked | Exception | None:
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
) -> Looked | None:
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
        return Looked(image.info, image.storage.identity())


def _is_another(files: FileSystem, path: str, new_id: NewId, format: ImageFormat, beneath: str) -> bool:
    """Whether the file is an image of another format than *format*, sound as far as opening it tells."""
    for other in ImageFormat:
        with suppress(Error, OSError):
            if other is not format and _opened(files, path, new_id, other, beneath) is not None:
                return True
    return False
