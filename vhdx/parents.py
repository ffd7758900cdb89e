"""Finding the file under a differencing image.

A recorded path is a claim by whoever wrote the image. It is followed only inside the child's own directory, or inside
directories that the caller names; a stale one is tried by its base name there; and only a file whose DataWriteGuid
is the recorded one is accepted, before a byte of it is used.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from vhdx.errors import Error, InUse, ParentMismatch, ParentNotFound
from vhdx.image.base import Image, ImageInfo, NewId, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem

_FORBIDDEN = frozenset('<>:"|?*')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
"""Names that are no files on Windows, whatever the directory."""


def _any(path: str, name: str) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True, slots=True)
class ParentPolicy:
    """Where parents may lie beside the child's own directory, and how many layers a chain may have.

    *related* says of an image's path and the name of a file beside it whether the two may be of one disk; by default
    any may. It saves looking into every file of a directory that holds many disks.
    """

    directories: tuple[str, ...] = ()
    most_layers: int = 256
    related: Callable[[str, str], bool] = _any


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
    if not any(_lies_in(target, root) for root in policy.directories):
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

    Raises ParentNotFound, ParentMismatch when there are images of that name and none is it, and whatever opening the
    right file raises. A file that is not the parent is never opened for writing.
    """
    link = info.parent
    assert link is not None
    tried: list[str] = []
    mismatches: list[str] = []
    for path in candidates(files, child, link, policy):
        name = files.describe(path)
        try:
            found = _open_if_parent(files, path, info, access=access, new_id=new_id)
            if not isinstance(found, str):
                return Layer(path, found)
            mismatches.append(f"{name} {found}")
        except FileNotFoundError:
            tried.append(f"{name} does not exist")
        except InUse:
            raise
        except Error as error:
            tried.append(str(error))
    if mismatches:
        raise ParentMismatch(f"{files.describe(child)}: {'; '.join(mismatches + tried)}")
    raise ParentNotFound(files.describe(child), [*tried, *unusable(child, link, policy)])


def _open_if_parent(
    files: FileSystem, path: str, child: ImageInfo, *, access: Access, new_id: NewId
) -> Image | str:
    """The image at *path* when it is the parent of *child*, else the reason why not."""
    # Looked at first without a claim on the file; again afterwards, since another may have taken its name.
    for claim in (Access.INSPECT, access):
        image = open_image(files.open(path, claim), new_id=new_id, format=child.format)
        reason = refusal(child, image.info)
        if reason or claim is access:
            break
        image.close()
    if not reason:
        return image
    image.close()
    return reason


def refusal(child: ImageInfo, parent: ImageInfo) -> str:
    """Why an image is not the parent that *child* records; empty when it is."""
    link = child.parent
    assert link is not None
    if not link.accepts(parent.linkage):
        return (
            f"is not, or is no longer, what the image was made from (its id is {parent.linkage}, "
            f"recorded is {link.linkage}); if it is known to be right, relink the image to it"
        )
    if child.logical_sector_size != parent.logical_sector_size:
        return f"has sectors of {parent.logical_sector_size} bytes, the image has {child.logical_sector_size}"
    return ""


class Candidate(NamedTuple):
    """A path to try, the key of the record that led to it, and whether only the record's base name did."""

    path: str
    key: str
    by_name: bool


def candidates(files: FileSystem, child: str, link: ParentLink, policy: ParentPolicy) -> Iterator[str]:
    """Paths to try, best first, each once: the recorded relative path, then base names where parents may lie."""
    return (candidate.path for candidate in explained_candidates(files, child, link, policy))


def explained_candidates(
    files: FileSystem, child: str, link: ParentLink, policy: ParentPolicy
) -> Iterator[Candidate]:
    """The same with what led to each."""
    seen: set[str] = {posixpath.normpath(child)}
    home = posixpath.dirname(child)
    recorded = link.paths.get("relative_path")
    direct = None if recorded is None else _inside(home, recorded, policy)
    if direct is not None and direct not in seen:
        seen.add(direct)
        yield Candidate(direct, "relative_path", by_name=False)
    names = [(key, name) for key, path in link.paths.items() if (name := _base_name(path))]
    for directory in (home, *policy.directories):
        present: list[str] = []
        with suppress(FileNotFoundError):
            present = files.list(directory)
        for key, name in names:
            for found in (entry for entry in present if entry.casefold() == name.casefold()):
                path = posixpath.normpath(posixpath.join(directory, found))
                if path not in seen:
                    seen.add(path)
                    yield Candidate(path, key, by_name=True)


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
    return path if any(_lies_in(path, root) for root in (home, *policy.directories)) else None


def _lies_in(path: str, root: str) -> bool:
    """Whether a normalised path lies under *root*, by the letters alone: no working directory comes into it."""
    root = posixpath.normpath(root or ".")
    if root == ".":
        rest = "" if posixpath.isabs(path) else path
    else:
        start = root.rstrip("/") + "/"
        rest = path.removeprefix(start) if path.startswith(start) else ""
    return rest not in ("", ".", "..") and not rest.startswith("../")


def _base_name(recorded: str) -> str | None:
    name = recorded.replace("\\", "/").rsplit("/", 1)[-1]
    return None if _parts(name) != [name] or name == ".." else name


def unusable(child: str, link: ParentLink, policy: ParentPolicy) -> list[str]:
    """Recorded paths that were not followed, and why."""
    home = posixpath.dirname(child)
    reasons = []
    for key, recorded in link.paths.items():
        if key != "relative_path" or _inside(home, recorded, policy) is None:
            reasons.append(f"{key} {recorded!r} leads out of the image's directory and was not followed")
    return reasons
