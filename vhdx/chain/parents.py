"""Finding the file under a differencing image.

A recorded path is a claim by whoever wrote the image. It is followed only inside the child's own directory, or inside
directories that the caller names, by what is really opened and not by its letters; a stale one is tried by its base
name there; and only a file whose DataWriteGuid is the recorded one is accepted, before a byte of it is used. What is
said of a file that is not the parent holds nothing that the author of the child could not know.

*child* is everywhere the path of the file itself, as `FileSystem.resolve` gives it: what it is reached by does not
count.
"""

import errno
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import NamedTuple

from vhdx.errors import Error, InUse, ParentMismatch, ParentNotFound
from vhdx.image.base import Image, ImageFormat, ImageInfo, NewId, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.beneath import names_below

_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_FORBIDDEN = frozenset('<>:"|?*')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
"""Names that are no files on Windows, whatever the directory."""


def _any(path: str, name: str) -> bool:  # noqa: ARG001
    return True


def _anything(path: str) -> str:  # noqa: ARG001
    return ""


@dataclass(frozen=True, slots=True)
class ParentPolicy:
    """Where parents may lie beside the child's own directory, and how many layers a chain may have.

    *related* says of an image's path and the name of a file beside it whether the two may be of one disk; by default
    any may. It saves looking into every file of a directory that holds many disks. *prefix* says how the names of all
    files begin that may be of one disk with an image; a server then tells of no others.
    """

    directories: tuple[str, ...] = ()
    most_layers: int = 256
    related: Callable[[str, str], bool] = _any
    prefix: Callable[[str], str] = _anything


DEFAULT_POLICY = ParentPolicy()


@dataclass(frozen=True, slots=True)
class Layer:
    """One open image of a chain and its path."""

    path: str
    image: Image


def relative_path(name: str) -> str:
    """How a child in the same directory records a parent called *name*.

    Raises Error for a name that Windows does not have: the record could not be followed.
    """
    if _parts(name) != [name] or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise Error(f"{name}: not a name that can be recorded as a parent's; rename the file")
    return f".\\{name}"


def path_between(child: str, parent: str, policy: ParentPolicy) -> str:
    """How *child* records the path of *parent*, so that it is found by the same policy.

    Raises Error for a parent in another directory that the policy does not name, and for a name that Windows does not
    have. A parent below the child's directory would be found, but nothing beside it would tell of the child.
    """
    home, target = posixpath.dirname(posixpath.normpath(child)), posixpath.normpath(parent)
    if posixpath.dirname(target) == home:
        return relative_path(posixpath.basename(target))
    if not any(names_below(target, root) for root in policy.directories):
        raise Error(f"{child} and {parent} are not in one directory, and the policy allows no other for parents")
    names = posixpath.relpath(target, home or ".").split("/")
    for name in names:
        if name != "..":
            relative_path(name)
    return "\\".join(names if names[0] == ".." else [".", *names])


def find_parent(
    files: FileSystem, child: str, info: ImageInfo, policy: ParentPolicy, *, access: Access, new_id: NewId
) -> Layer:
    """The open parent of *child*.

    Raises ParentNotFound, ParentMismatch when there are images of that name and none is it, PermissionError when none
    is it of those that may be read, and whatever opening the right file raises. A file that is not the parent is never
    written to.
    """
    link = info.parent
    assert link is not None
    tried: list[str] = []
    mismatches: list[str] = []
    denied: list[str] = []
    for candidate in explained_candidates(files, child, link, policy):
        name = files.describe(candidate.path)
        try:
            found = _open_if_parent(files, candidate, info, access=access, new_id=new_id)
            if not isinstance(found, str):
                return Layer(candidate.path, found)
            mismatches.append(f"{name} {found}")
        except PermissionError:
            denied.append(candidate.path)
        except InUse:
            raise
        except (Error, OSError) as error:
            tried.append(why_not(error, name))
    if denied:
        raise may_not_be_read(files, child, denied[0])
    if mismatches:
        raise ParentMismatch(f"{files.describe(child)}: {'; '.join(mismatches + tried)}")
    raise ParentNotFound(files.describe(child), [*tried, *unusable(files, child, link, policy)])


def why_not(error: Error | OSError, name: str) -> str:
    """Why a candidate, *name* in messages, is not the parent. Raises *error* where that says nothing of the file."""
    if isinstance(error, Error):
        return str(error)
    if error.errno in _NOWHERE or isinstance(error, FileNotFoundError):
        return f"{name} does not exist"
    raise error


def may_not_be_read(files: FileSystem, child: str, path: str) -> PermissionError:
    """The error for a file that may be the parent of *child*, and that this user may not open."""
    reason = f"may not be opened, and may be the parent of {files.describe(child)}"
    return PermissionError(errno.EACCES, reason, files.describe(path))


class _Refused(Exception):
    """The file is not the parent; the message says why not."""


def _open_if_parent(
    files: FileSystem, candidate: "Candidate", child: ImageInfo, *, access: Access, new_id: NewId
) -> Image | str:
    """The image when it is the parent of *child*, else the reason why not.

    A file that is not the parent is not changed by a byte, though a log in it would be replayed by a writer.
    """

    def admit(found: ImageInfo) -> None:
        reason = refusal(child, found)
        if reason:
            raise _Refused(reason)

    try:
        storage = files.open(candidate.path, access, beneath=candidate.base)
    except (InUse, PermissionError) as error:
        # A file that is not the parent may be in use, and may be one that this user can only read.
        if isinstance(error, PermissionError) and not access.writes:
            raise
        reason = _inspected(files, candidate, child, new_id=new_id)
        if reason:
            return reason
        raise
    try:
        return open_image(storage, new_id=new_id, format=child.format, admit=admit)
    except _Refused as refused:
        return str(refused)


def _inspected(files: FileSystem, candidate: "Candidate", child: ImageInfo, *, new_id: NewId) -> str:
    """Why a file that cannot be opened as is wanted is not the parent of *child*; empty when it is."""
    storage = files.open(candidate.path, Access.INSPECT, beneath=candidate.base)
    with closing(open_image(storage, new_id=new_id, format=child.format)) as image:
        return refusal(child, image.info)


def refusal(child: ImageInfo, parent: ImageInfo) -> str:
    """Why an image is not the parent that *child* records; empty when it is."""
    link = child.parent
    assert link is not None
    if not link.accepts(parent.linkage):
        return (
            f"is not, or is no longer, what the image was made from (its id is not the recorded one, "
            f"{link.linkage}); if it is known to be right, relink the image to it"
        )
    if child.logical_sector_size != parent.logical_sector_size:
        return f"has sectors of {parent.logical_sector_size} bytes, the image has {child.logical_sector_size}"
    return ""


def differences(child: ImageInfo, parent: ImageInfo) -> list[str]:
    """What of *parent* is not as *child* records it or has it; empty when the child may have been made over it.

    A VHDX parent with the recorded id is the very state that the child was made over, so its size may be another: the
    child was resized since. The id of a VHD says nothing of that, and a VHD has the size of its parent.
    """
    link = child.parent
    recorded = link is not None and link.accepts(parent.linkage)
    found = []
    if not recorded:
        found.append(f"its id is {parent.linkage}, recorded is {'none' if link is None else link.linkage}")
    if child.format is ImageFormat.VHDX and child.disk_id != parent.disk_id:
        found.append(f"its disk id is {parent.disk_id}, that of the image {child.disk_id}")
    sure = recorded and child.format is ImageFormat.VHDX
    if child.virtual_size != parent.virtual_size and not sure:
        found.append(f"its disk has {parent.virtual_size} bytes, that of the image {child.virtual_size}")
    if child.logical_sector_size != parent.logical_sector_size:
        sizes = parent.logical_sector_size, child.logical_sector_size
        found.append(f"its sectors have {sizes[0]} bytes, those of the image {sizes[1]}")
    return found


class Candidate(NamedTuple):
    """A file to try, the key of the record that led to it, and whether only the record's base name did.

    *path* has no link in it below *base*, the directory that it is to be opened beneath.
    """

    path: str
    key: str
    by_name: bool
    base: str


def candidates(files: FileSystem, child: str, link: ParentLink, policy: ParentPolicy) -> Iterator[str]:
    """Paths to try, best first, each once: the recorded relative path, then base names where parents may lie."""
    return (candidate.path for candidate in explained_candidates(files, child, link, policy))


def namesakes(files: FileSystem, directory: str, name: str) -> list[str]:
    """The files in *directory* that are called *name*, in whatever capitals; none where it cannot be listed."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        return [found for found in files.list(directory, name) if found.casefold() == name.casefold()]
    return []


def explained_candidates(
    files: FileSystem,
    child: str,
    link: ParentLink,
    policy: ParentPolicy,
    called: Callable[[str, str], list[str]] | None = None,
) -> Iterator[Candidate]:
    """The same with what led to each, and with what each is to be opened beneath.

    *called* gives the files in a directory that have a name, in whatever capitals, in place of asking *files*.
    """
    seen: set[str] = {posixpath.normpath(child)}
    direct = followed(files, child, link, policy)
    if direct is not None and direct.path not in seen:
        seen.add(direct.path)
        yield direct
    home = posixpath.dirname(child)
    names = [(key, name) for key, path in link.paths.items() if (name := _base_name(path))]
    for directory in (home, *policy.directories):
        for key, name in names:
            for found in namesakes(files, directory, name) if called is None else called(directory, name):
                path = posixpath.normpath(posixpath.join(directory, found))
                candidate = _confined(files, path, key, home, policy, by_name=True)
                if candidate is not None and candidate.path not in seen:
                    seen.add(candidate.path)
                    yield candidate


def followed(files: FileSystem, child: str, link: ParentLink, policy: ParentPolicy) -> Candidate | None:
    """Where the recorded relative path leads; None where there is none, or it is not followed."""
    recorded = link.paths.get("relative_path")
    home = posixpath.dirname(child)
    direct = None if recorded is None else _inside(home, recorded, policy)
    return None if direct is None else _confined(files, direct, "relative_path", home, policy, by_name=False)


def _confined(
    files: FileSystem, path: str, key: str, home: str, policy: ParentPolicy, *, by_name: bool
) -> Candidate | None:
    """*path* as a candidate, wherever its links lead where parents may lie; None where they lead elsewhere."""
    for base in (home, *policy.directories):
        with suppress(Error):
            return Candidate(posixpath.normpath(files.resolve(path, beneath=base)), key, by_name, base)
    return None


def _parts(recorded: str) -> list[str] | None:
    """The names in a relative Windows path, or None for one that is anything else."""
    text = recorded.replace("\\", "/")
    if text.startswith("/") or any(letter in _FORBIDDEN or ord(letter) < 32 for letter in text):
        return None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return None if any(_is_no_file(part) for part in parts) else parts


def _is_no_file(name: str) -> bool:
    """Whether Windows takes a name for a device, or for another name: it drops dots and spaces at the end."""
    return bool(_DEVICE.fullmatch(name)) or (name != ".." and name != name.rstrip(". "))


def _inside(home: str, recorded: str, policy: ParentPolicy) -> str | None:
    parts = _parts(recorded)
    if not parts:
        return None
    path = posixpath.normpath(posixpath.join(home, *parts))
    return path if any(names_below(path, root) for root in (home, *policy.directories)) else None


def _base_name(recorded: str) -> str | None:
    name = recorded.replace("\\", "/").rsplit("/", 1)[-1]
    return None if _parts(name) != [name] or name == ".." else name


def unusable(files: FileSystem, child: str, link: ParentLink, policy: ParentPolicy) -> list[str]:
    """Recorded paths that were not followed, and why."""
    reasons = []
    home = posixpath.dirname(child)
    for key, recorded in link.paths.items():
        direct = _inside(home, recorded, policy) if key == "relative_path" or _base_name(recorded) == recorded else None
        if direct is not None and _confined(files, direct, key, home, policy, by_name=False) is None:
            reasons.append(f"{key} {recorded!r} leads out of the image's directory by a link and was not followed")
        elif key == "relative_path" and direct is not None:
            continue
        elif _base_name(recorded) == recorded:
            reasons.append(f"{key} {recorded!r}: no other file of that name lies where parents may lie")
        elif _base_name(recorded) is None:
            reasons.append(f"{key} {recorded!r} names no file that may be a parent")
        else:
            reasons.append(f"{key} {recorded!r} leads out of the image's directory and was not followed")
    return reasons
