"""The recorded path of a parent that is in the image's directory under another name."""

import posixpath
from contextlib import closing
from enum import Enum
from functools import partial

from vhdx.chain.parents import Candidate, explained_candidates, followed, relative_path, why_not
from vhdx.errors import Error
from vhdx.image.base import ImageInfo, ParentLink
from vhdx.image.open import open_image
from vhdx.repair.fix import Case, Fix
from vhdx.storage.base import Access, Storage
from vhdx.storage.overlay import OverlayStorage


def find_stale_path(storage: Storage, case: Case) -> Fix | None:
    """Correct a recorded path that does not lead to the parent, if exactly one file in the directory is the parent.

    A path that leads outside the directory is neither followed nor changed. Raises Error when more than one file may be
    the parent.
    """
    with closing(open_image(OverlayStorage(storage, []), new_id=case.new_id, format=case.format)) as image:
        child = image.info
    link = child.parent
    recorded = None if link is None else link.paths.get("relative_path")
    if link is None or recorded is None:
        return None
    home = posixpath.dirname(posixpath.normpath(case.path))
    leads = followed(case.files, case.path, link, case.policy)
    if leads is None:
        return None
    direct = leads.path
    found = explained_candidates(case.files, case.path, link, case.policy)
    tried = {candidate.path: _is_parent(case, candidate, child) for candidate in found}
    if tried.get(direct, _Parent.UNKNOWN) in (_Parent.YES, _Parent.UNKNOWN):
        return None
    beside = [path for path, verdict in tried.items() if verdict is _Parent.YES and posixpath.dirname(path) == home]
    if len(beside) > 1:
        names = ", ".join(map(case.files.describe, beside))
        raise Error(f"{storage.name}: {names} all match as its parent; relink it to the right one")
    if not beside:
        return None
    path = relative_path(posixpath.basename(beside[0]))
    message = f"{recorded!r} does not lead to the parent in the image's directory; {path!r} is recorded instead"
    right = ParentLink(link.linkage, link.linkage2, {"relative_path": path})
    return Fix("chain-stale-path", "parent locator", None, message, partial(_record, case, right))


class _Parent(Enum):
    """Whether a file is the parent."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it exists but cannot be read as an image


def _is_parent(case: Case, candidate: Candidate, child: ImageInfo) -> _Parent:
    try:
        storage = case.files.open(candidate.path, Access.INSPECT, beneath=candidate.base)
    except (Error, PermissionError):
        return _Parent.UNKNOWN
    except OSError as error:
        why_not(error, candidate.path)
        return _Parent.NO
    try:
        with closing(open_image(storage, new_id=case.new_id, format=case.format)) as image:
            parent = image.info
    except Error:
        return _Parent.UNKNOWN
    assert child.parent is not None
    same = child.parent.accepts(parent.linkage) and parent.logical_sector_size == child.logical_sector_size
    return _Parent.YES if same else _Parent.NO


def _record(case: Case, link: ParentLink, storage: Storage) -> None:
    with closing(open_image(storage, new_id=case.new_id, format=case.format)) as image:
        image.set_parent(link)
