"""The verbs by path: plan a repair, repair, undo."""

import posixpath
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from vhdx.chain.parents import DEFAULT_POLICY, ParentPolicy
from vhdx.check import Severity, check_storage
from vhdx.errors import Error, FormatError
from vhdx.image.base import ImageFormat, NewId
from vhdx.image.naming import naming
from vhdx.image.open import recognise
from vhdx.image.vhd.lost import lost_footer
from vhdx.repair.fix import Case, Fix
from vhdx.repair.recorded_paths import find_stale_path
from vhdx.repair.sketch import SketchStorage
from vhdx.repair.undo import guarded
from vhdx.repair.undo_file import Undo
from vhdx.repair.vhd_front import find_vhd
from vhdx.repair.vhdx_front import find_front
from vhdx.repair.vhdx_table import find_table
from vhdx.storage.base import Access, FileStatus, FileSystem, Storage

_MOST_FIXES = 64
"""More than the number of kinds of fixes; each kind is found once."""

OnFix = Callable[[Fix], None]


def plan_repair(
    files: FileSystem,
    path: str,
    *,
    new_id: NewId,
    policy: ParentPolicy = DEFAULT_POLICY,
    format: ImageFormat | None = None,
    reclaim: bool = False,
) -> list[Fix]:
    """The fixes that `repair` would make, in order; changes nothing.

    *format* overrides detection. *reclaim* also frees unreferenced space; it trusts the BAT: blocks of lost entries are
    freed too. Raises Error when anything cannot be repaired without guessing; nothing is repaired then.
    """
    with closing(files.open(path, Access.READ)) as storage:
        return _plan(storage, _case(files, path, storage, new_id=new_id, policy=policy, format=format, reclaim=reclaim))


def repair(
    files: FileSystem,
    path: str,
    *,
    undo: str,
    new_id: NewId,
    policy: ParentPolicy = DEFAULT_POLICY,
    format: ImageFormat | None = None,
    reclaim: bool = False,
    on_fix: OnFix | None = None,
) -> list[Fix]:
    """Repair the image as `plan_repair` describes; each fix is durable before *on_fix* is called with it.

    The previous bytes are saved in *undo*, a new file that is created only if there is something to repair, and kept.
    An interrupted repair can be repeated with another undo file; undo them newest first. Raises like `plan_repair`,
    and FileExistsError when *undo* exists; nothing is changed then.
    """
    with closing(files.open(path, Access.WRITE)) as storage:
        case = _case(files, path, storage, new_id=new_id, policy=policy, format=format, reclaim=reclaim)
        if not _plan(storage, case):
            return []
        done = []
        with _saving(storage, files, undo, files.stat(path)) as kept:
            for fix in _fixes(kept, case):
                done.append(fix)
                if on_fix is not None:
                    on_fix(fix)
        return done


def undo(files: FileSystem, path: str, undo: str) -> None:
    """Restore the image byte for byte to its state before the repair that wrote the file *undo*, which is kept.

    Idempotent; finishes an interrupted undo. Raises FormatError, without a change, when *undo* is not an undo file,
    belongs to a different file, or the image was modified since.
    """
    with closing(files.open(undo, Access.READ)) as saved:
        found = Undo.read(saved)
        if found is not None:
            with closing(files.open(path, Access.WRITE)) as storage:
                found.put_back(storage)


@contextmanager
def _saving(storage: Storage, files: FileSystem, undo: str, like: FileStatus) -> Iterator[Storage]:
    """Wrap *storage* so that changes are saved first in the new file *undo*, created with restricted permissions."""
    with closing(files.create(undo, like=like)) as saved:
        try:
            kept = guarded(storage, saved)
            files.sync_directory(posixpath.dirname(undo))
        except BaseException:
            saved.close()
            with suppress(Error, OSError):
                files.remove(undo)
            raise
        yield kept


def _case(
    files: FileSystem,
    path: str,
    storage: Storage,
    *,
    new_id: NewId,
    policy: ParentPolicy,
    format: ImageFormat | None,
    reclaim: bool,
) -> Case:
    kind = format
    if kind is None:
        try:
            kind = recognise(storage)
        except FormatError as error:
            if error.structure == "file" or lost_footer(storage) is None:
                raise
            kind = ImageFormat.VHD
    return Case(files, files.resolve(path), kind, new_id, policy, format is not None, reclaim)


def _plan(storage: Storage, case: Case) -> list[Fix]:
    sketch = SketchStorage(storage)
    fixes = list(_fixes(sketch, case))
    for finding in check_storage(sketch, format=case.format):
        if finding.severity is Severity.ERROR:
            raise Error(f"{finding}; cannot be repaired without guessing, so nothing is repaired")
    return fixes


def _fixes(storage: Storage, case: Case) -> Iterator[Fix]:
    """Find and apply fixes, one at a time."""
    for _ in range(_MOST_FIXES):
        with naming(storage.name):
            fix = _next(storage, case)
            if fix is None:
                return
            fix.apply(storage)
        storage.flush()
        yield fix
    raise Error(f"{storage.name}: the repair did not persist; another process is modifying the file")


def _next(storage: Storage, case: Case) -> Fix | None:
    match case.format:
        case ImageFormat.VHDX:
            return find_front(storage, case) or find_table(storage, case) or find_stale_path(storage, case)
        case ImageFormat.VHD:
            return find_vhd(storage, case) or find_stale_path(storage, case)
        case ImageFormat.RAW:
            raise Error(f"{storage.name}: every byte of a raw file is guest data, so nothing can be repaired")
