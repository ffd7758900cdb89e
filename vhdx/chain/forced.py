"""The note beside an image that was linked by force to a file that it was not made over.

Afterwards the recorded id is that of the file, so nothing in the image tells of it. The note does, for as long as the
image records what was forced, and it keeps what was recorded before. It is ``NAME.forced``, JSON, beside the image: the
formats have no place for it that all their readers are known to pass over. An image that is moved or renamed without
its note is told of no more.
"""

import json
import posixpath
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from vhdx.chain.parents import why_not
from vhdx.errors import Error, FormatError, InUse, LeadsOutside
from vhdx.image.base import ParentLink
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import building, suffixed
from vhdx.storage.transfer import pread, pwrite

_VERSION = 1
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Forced:
    """One time that a parent was forced: the record before, the ids recorded since, and what did not fit."""

    was: ParentLink
    became: tuple[UUID, ...]
    differs: tuple[str, ...]


def note_of(path: str) -> str:
    """The path of the note of the image at *path*."""
    return suffixed(path, ".forced")


def has_note(files: FileSystem, path: str) -> bool:
    """Whether the image at *path* has a note; what it says may be past."""
    try:
        files.stat(note_of(path))
    except Error:  # no file can have the name, or a directory has it
        return False
    except OSError as error:
        why_not(error, path)
        return False
    return True


def standing(files: FileSystem, path: str, link: ParentLink | None) -> Forced | None:
    """What was forced on the image at *path*, which records *link*; None where that is not a forced one.

    Raises FormatError for a note that cannot be read.
    """
    if link is None:
        return None
    return next((forced for forced in reversed(read(files, path)) if link.linkage in forced.became), None)


def read(files: FileSystem, path: str) -> list[Forced]:
    """What the note of the image at *path* says, the oldest first; nothing without one. Raises FormatError."""
    try:
        storage = files.open(note_of(path), Access.INSPECT, beneath=posixpath.dirname(path))
    except (InUse, LeadsOutside):
        raise
    except Error:  # no file can have the name, or a directory has it
        return []
    except OSError as error:
        why_not(error, path)
        return []
    with closing(storage):
        size = storage.size()
        try:
            if size > _LONGEST:
                raise ValueError(f"{size} bytes are more than a note has")
            document = json.loads(pread(storage, 0, size))
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']} is not known")
            return [_parse(entry) for entry in document["forced"]]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            reason = f"the note of a forced link cannot be read ({type(error).__name__}); look into it, or remove it"
            raise FormatError("file", None, reason, file=storage.name) from error


def write(files: FileSystem, path: str, notes: Sequence[Forced], *, token: str) -> None:
    """Make the note of the image at *path* say this, durably and in one step."""
    document = {"version": _VERSION, "forced": [asdict(forced) for forced in notes]}
    data = json.dumps(document, indent=1, default=str).encode() + b"\n"
    sources = [files.stat(path)]
    with building(files, note_of(path), token=token, replace=True, sources=sources) as storage:
        pwrite(storage, 0, data)
        storage.flush()


def carry(files: FileSystem, path: str, old: ParentLink | None, new: ParentLink, *, token: str) -> None:
    """Let what was forced on the image at *path* stand when it records *new* in place of *old*, which it does not yet.

    For a link that is renewed because the parent was merged or renamed.
    """
    forced = standing(files, path, old)
    if forced is not None and new.linkage not in forced.became:
        kept = [other for other in read(files, path) if other != forced]
        write(files, path, [*kept, replace(forced, became=(*forced.became, new.linkage))], token=token)


def forget(files: FileSystem, path: str) -> None:
    """Remove the note of an image that is not there any more; a missing one is ignored.

    What has the name and is no note is somebody else's and stays.
    """
    with suppress(FileNotFoundError, Error):
        if read(files, path):
            files.remove(note_of(path))


def _parse(entry: Any) -> Forced:
    was = entry["was"]
    second = was["linkage2"]
    paths = {str(key): str(value) for key, value in was["paths"].items()}
    link = ParentLink(UUID(was["linkage"]), None if second is None else UUID(second), paths)
    return Forced(link, tuple(map(UUID, entry["became"])), tuple(map(str, entry["differs"])))
