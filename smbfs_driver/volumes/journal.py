"""Intent files on the share, which lock a volume and record how to recover an interrupted operation.

An operation keeps the volume's intent open for writing from before its first change until after its last. Nobody else
can open it meanwhile; if another process can, its owner has died. The intent contains the steps for recovery: none for
an operation that is atomic or only creates files that are not part of a volume yet, the undo steps of a creation, the
remaining steps of a deletion.

Why this is safe:

* An intent is created exclusively and stays empty until the steps are known; they are written with a checksum and
  flushed before the first step runs. An empty or torn intent means that nothing was changed.
* Temporaries are created after the intent of their volume and removed before it. `recover` lists them *before* it
  checks intents: a listed temporary is abandoned if its volume then has no intent, or one that nobody holds. Later
  operations use other temporary names.
* An intent is truncated and removed through the handle that holds it, so nobody can open it in between. Both fail if
  the handle was lost with its connection; the operation has not succeeded then. It is truncated first, so that an
  interruption between the two leaves an intent without steps.
* The operation succeeds only after the removal is durable: an intent that reappeared after a crash would be run against
  later changes.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import Enum

from smbfs_driver.volumes.names import FileKind, VolumeNames, parse
from smbfs_driver.volumes.plans import Plan
from smbfs_driver.volumes.steps import Moving, Remove, Site, Step, decode, encode
from vhdx.errors import Error, InUse, OutOfSpace
from vhdx.logs import debug
from vhdx.storage.base import Access, Storage

VERSION = 1
LARGEST = 1 << 22
"""Largest intent that is read, in bytes; sufficient for a volume with tens of thousands of files."""
ATTEMPTS = 8
"""Attempts to create an intent while other operations come and go."""


def dump(steps: Sequence[Step]) -> bytes:
    """The content of an intent: a line of JSON and a line with its SHA-256."""
    line = json.dumps({"version": VERSION, "steps": encode(steps)}).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def load(text: bytes, names: VolumeNames, source: str) -> list[Step]:
    """The steps of an intent; empty if it is empty or torn. *source* is the file name for errors.

    Raises Error for a complete intent that is invalid for this version or volume.
    """
    line, newline, digest = text.partition(b"\n")
    if not newline or digest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        return []
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Error(f"{source}: the intent cannot be read ({error})") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise Error(f"{source}: written by another version of this driver; recover with that version")
    return decode(document.get("steps"), names, source)


class VolumeOperation:
    """Exclusive access to a volume; created by `operation`."""

    def __init__(self, names: VolumeNames, site: Site, hold: Storage) -> None:
        self.names = names
        self.site = site
        self._hold = hold
        self._undo: Sequence[Step] | None = ()

    def run(self, plan: Plan) -> None:
        """Write the plan's recovery to the intent, then run its steps. Must be the last call in an operation."""
        try:
            if plan.recovery:
                self._promise(plan.recovery)
        except OutOfSpace:
            # Removing files must work on a full share; without an intent, an interrupted removal must be repeated.
            if not all(isinstance(step, Remove) for step in plan.steps):
                raise
        self._undo = plan.undo
        # Writing the intent has shown that the hold is valid.
        _run(plan.steps, self.names, self.site, self._hold, is_held=bool(plan.recovery))

    def mark(self, step: Step) -> None:
        """Write *step* to the intent, to be left there if this operation fails from now on."""
        self._promise([step])
        self._undo = None

    def unmark(self) -> None:
        """Revoke `mark`: nothing needs recovery if this operation fails."""
        self._undo = ()

    def check(self) -> None:
        """Raise OSError if the hold was lost, so that another process may hold the volume now."""
        _check_held(self._hold)

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Run *steps* without changing the intent."""
        _run(steps, self.names, self.site, self._hold)

    def _promise(self, steps: Sequence[Step]) -> None:
        self._hold.write([(0, dump(steps))])
        self._hold.flush()

    def finish(self) -> None:
        """Release the volume. Raises OSError if the hold was lost."""
        _give_up(self._hold, self.names, self.site)

    def abandon(self) -> None:
        """Undo the operation now if its recovery is an undo; otherwise leave the intent for the next operation."""
        try:
            # The caller gets the original error; errors here are left to `recover`.
            with contextlib.suppress(Error, OSError):
                self.site.clear()
            with contextlib.suppress(Error, OSError):
                if self._undo is not None:
                    _run(self._undo, self.names, self.site, self._hold)
                    self.check()
                    _sweep(_temporaries(self.names, self.site), self.site)
                    self.finish()
        finally:
            self._hold.close()


@contextlib.contextmanager
def operation(names: VolumeNames, site: Site, *, supersede: bool = False) -> Iterator[VolumeOperation]:
    """Hold a volume for one operation, after recovering an interrupted one; *supersede* discards that one instead.

    Raises InUse if another process holds the volume, and what prevents the recovery.
    """
    held = VolumeOperation(names, site, _begin(names, site, supersede=supersede))
    debug(__name__, "%s: held", site.files.describe(names.base))
    if site.desk is not None:
        site.desk.holds = True
    try:
        yield held
        site.clear()
    except BaseException:
        held.abandon()
        raise
    held.finish()


@contextlib.contextmanager
def marked(names: VolumeNames, site: Site) -> Iterator[tuple[VolumeOperation, Moving] | None]:
    """Hold a volume whose move was interrupted, to recover it; yields None if no move is marked.

    Raises InUse if the move is running.
    """
    try:
        hold = site.files.open(names.intent, Access.OWN)
    except FileNotFoundError:
        yield None
        return
    held = VolumeOperation(names, site, hold)
    try:
        steps = _read(hold, names)
        if not steps or not isinstance(steps[0], Moving):
            yield None
            return
        yield held, steps[0]
        held.finish()
    finally:
        hold.close()


def _begin(names: VolumeNames, site: Site, *, supersede: bool) -> Storage:
    for _ in range(ATTEMPTS):
        try:
            hold = site.files.create(names.intent)
        except FileExistsError:
            temporaries = _temporaries(names, site)  # before the intent: see the module docstring
            if settle(names, site, supersede=supersede) is Outcome.RUNNING:
                break
            _sweep(temporaries, site)
            continue
        try:
            site.files.sync_directory("")
        except BaseException:
            hold.close()
            raise
        return hold
    raise InUse(f"{site.files.describe(names.intent)}: another operation on this volume is running; try again later")


def _run(
    steps: Sequence[Step], names: VolumeNames, site: Site, hold: Storage, *, is_held: bool = False
) -> None:
    """Run *steps*; checks the hold before each, except before the first with *is_held*."""
    for step in steps:
        if not is_held:
            _check_held(hold)
        is_held = False
        step.run(names, site)


def _check_held(hold: Storage) -> None:
    """Raise OSError if the handle was lost with its connection, because another process may hold the volume now.

    Queries the status, not the size, which the client may have cached.
    """
    hold.status()


def _give_up(hold: Storage, names: VolumeNames, site: Site) -> None:
    """Truncate and remove an intent, both through *hold*. Raises OSError if that was lost."""
    with closing(hold):
        hold.truncate(0)
        with contextlib.suppress(FileNotFoundError):
            site.files.remove(names.intent, held=hold)
    site.files.sync_directory("")


class Outcome(Enum):
    """The result of `settle`."""

    NONE = "no intent"
    RUNNING = "the operation is running"
    SETTLED = "an interrupted operation was recovered"


def settle(names: VolumeNames, site: Site, *, supersede: bool = False) -> Outcome:
    """Recover an interrupted operation and remove its intent; *supersede* skips its steps unless it is a move.

    Raises what prevents a step; the intent is kept then.
    """
    try:
        hold = site.files.open(names.intent, Access.OWN)
    except FileNotFoundError:
        return Outcome.NONE
    except InUse:
        return Outcome.RUNNING
    debug(__name__, "%s: recovering an interrupted operation", site.files.describe(names.base))
    with closing(hold):
        if not supersede or _is_move(hold, names):
            # What is seen now, others may change before the caller holds the volume: his desk must not keep it.
            _run(_read(hold, names), names, replace(site, desk=None), hold)
        _give_up(hold, names, site)
    return Outcome.SETTLED


def _is_move(hold: Storage, names: VolumeNames) -> bool:
    """Whether the intent marks a move, after which a copy on another share would be left behind."""
    try:
        steps = _read(hold, names)
    except Error:  # cannot be read by this version, and is to be discarded
        return False
    return any(isinstance(step, Moving) for step in steps)


def _read(hold: Storage, names: VolumeNames) -> list[Step]:
    size = hold.size()
    if size > LARGEST:
        raise Error(f"{hold.name}: {size} bytes exceed the limit of {LARGEST}")
    text = bytearray(size)
    hold.read([(0, memoryview(text))])
    return load(bytes(text), names, hold.name)


def _temporaries(names: VolumeNames, site: Site) -> list[str]:
    listing = site.files.list("", names.volume, ".tmp")
    return [file for file in listing if names.kind(file) is FileKind.TEMPORARY]


def _sweep(temporaries: Sequence[str], site: Site) -> list[str]:
    """Remove the temporaries that nobody holds; returns their names."""
    removed = []
    for file in temporaries:
        with contextlib.suppress(FileNotFoundError, InUse):
            site.files.remove(file)
            removed.append(file)
    if removed:
        site.files.sync_directory("")
    return removed


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of `recover`, by volume."""

    settled: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    failed: dict[str, Error | OSError] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)  # temporaries, by file name


def unsettled(site: Site) -> list[str]:
    """The volumes with an intent or temporaries, of interrupted or running operations."""
    return sorted({names.volume for names in _left(site, "")})


def recover(site: Site, volume: str | None = None) -> Recovery:
    """Recover every interrupted operation on the share and remove abandoned temporaries.

    Does not affect running operations, here or on other machines. A recovery that fails is reported, does not prevent
    the others, and can be repeated. With *volume*, only that one.
    """
    report = Recovery()
    for names, temporaries in _left(site, volume or "").items():
        if volume in (None, names.volume):
            _recover_volume(names, temporaries, site, report)
    return report


def _left(site: Site, prefix: str) -> dict[VolumeNames, list[str]]:
    """The volumes with an intent or temporaries; lists the temporaries before the intents."""
    found: dict[VolumeNames, list[str]] = {}
    for suffix in (".tmp", ".intent"):
        for file in site.files.list("", prefix, suffix):
            parsed = parse(file)
            if parsed is not None and parsed.kind in (FileKind.INTENT, FileKind.TEMPORARY):
                temporaries = found.setdefault(parsed.names, [])
                if parsed.kind is FileKind.TEMPORARY:
                    temporaries.append(file)
    return found


def _recover_volume(names: VolumeNames, temporaries: list[str], site: Site, report: Recovery) -> None:
    try:
        outcome = settle(names, site)
        if outcome is Outcome.RUNNING:
            report.running.append(names.volume)
            return
        if outcome is Outcome.SETTLED:
            report.settled.append(names.volume)
        report.removed.extend(_sweep(temporaries, site))
    except (Error, OSError) as error:
        report.failed[names.volume] = error
