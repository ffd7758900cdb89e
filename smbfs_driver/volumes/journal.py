"""Intents on the share: what is being done to a volume, and how it is set right when it was stopped.

Whoever changes a volume holds its intent, a file beside it, open for writing from before the first change until
after the last. Nobody else can open it then; who can, knows that its owner is gone. The intent says what is to be
run in that case: nothing for operations that are one atomic step or only make files that nobody takes for a volume
yet, the undoing of what creates, the rest of what deletes.

What this rests on, and why the gaps in it do no harm:

* An intent is made by exclusive creation and is empty until its steps are decided, written with a checksum and
  flushed; no step is run before. An intent that is empty or torn means that nothing was begun.
* Temporaries are made after their volume's intent and are gone before it. `recover` lists them *before* it looks at
  intents: a listed temporary whose volume has no intent afterwards, or one that nobody holds, is nobody's. An
  operation that begins later uses other names.
* An intent is emptied and removed through the handle that holds it, so nobody can open it in between. Both fail where
  the hold was lost with a connection, and then the operation has not succeeded. It is emptied first: a stop between
  the two leaves one that says that nothing was begun.
* The removal is durable before the operation has succeeded: an old intent that came back after a crash would run
  against what was done since.
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
"""Bytes of an intent that are read; a volume of some ten thousand files comes nowhere near."""
ATTEMPTS = 8
"""How often a begin meets somebody else's just finished intent before it gives up."""


def dump(steps: Sequence[Step]) -> bytes:
    """An intent as it stands in the file: a line of JSON and a line with its SHA-256."""
    line = json.dumps({"version": VERSION, "steps": encode(steps)}).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def load(text: bytes, names: VolumeNames, source: str) -> list[Step]:
    """The steps of an intent; none where it is empty or torn. *source* is named in errors.

    Raises Error for an intent that is whole but not one that this version would write for this volume.
    """
    line, newline, digest = text.partition(b"\n")
    if not newline or digest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        return []
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Error(f"{source}: the intent cannot be read ({error})") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise Error(f"{source}: written by another version of this driver; finish it with that one")
    return decode(document.get("steps"), names, source)


class VolumeOperation:
    """The sole right to change one volume; got from `operation`."""

    def __init__(self, names: VolumeNames, site: Site, hold: Storage) -> None:
        self.names = names
        self.site = site
        self._hold = hold
        self._undo: Sequence[Step] | None = ()

    def run(self, plan: Plan) -> None:
        """Promise the plan's recovery, then run its steps. The last thing done in an operation."""
        try:
            if plan.recovery:
                self._promise(plan.recovery)
        except OutOfSpace:
            # A full share must not keep anyone from making room; stopped, a removal has to be asked for again.
            if not all(isinstance(step, Remove) for step in plan.steps):
                raise
        self._undo = plan.undo
        # To promise was to write through the hold, so it is there.
        _run(plan.steps, self.names, self.site, self._hold, is_held=bool(plan.recovery))

    def mark(self, step: Step) -> None:
        """Leave *step* for whoever comes next, if this operation fails from here on."""
        self._promise([step])
        self._undo = None

    def unmark(self) -> None:
        """Nothing is left to be done if this operation fails."""
        self._undo = ()

    def check(self) -> None:
        """Raises OSError where the hold was lost, so that somebody else may have the volume by now."""
        _check_held(self._hold)

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Run *steps* under the mark."""
        _run(steps, self.names, self.site, self._hold)

    def _promise(self, steps: Sequence[Step]) -> None:
        self._hold.write([(0, dump(steps))])
        self._hold.flush()

    def finish(self) -> None:
        """Give the volume free. Raises OSError where the hold was lost on the way."""
        _give_up(self._hold, self.names, self.site)

    def abandon(self) -> None:
        """Set things right at once where that is by undoing; else leave the intent for whoever comes next."""
        try:
            # What went wrong first is what the caller hears of; what goes wrong here is left to `recover`.
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
    """Hold a volume for one operation, after finishing one that was stopped; *supersede* drops that one instead.

    Raises InUse while somebody else holds the volume, and what stops the unfinished operation from finishing.
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
    """Hold a volume whose move was stopped, to settle it; None where no move is marked.

    Raises InUse while the move is running.
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
            temporaries = _temporaries(names, site)  # before the intent: see the module's text
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
    """Run *steps*; before each the hold is looked at, but for the first where *is_held* says that it was just now."""
    for step in steps:
        if not is_held:
            _check_held(hold)
        is_held = False
        step.run(names, site)


def _check_held(hold: Storage) -> None:
    """A hold that went with its connection may be somebody else's by now: asking the server through it fails then.

    Not for the size, which a client may know by itself of a file that it holds against writers.
    """
    hold.status()


def _give_up(hold: Storage, names: VolumeNames, site: Site) -> None:
    """Empty an intent and remove it, both through *hold*. Raises OSError where that was lost."""
    with closing(hold):
        hold.truncate(0)
        with contextlib.suppress(FileNotFoundError):
            site.files.remove(names.intent, held=hold)
    site.files.sync_directory("")


class Outcome(Enum):
    """What became of a volume's intent."""

    NONE = "there was none"
    RUNNING = "its operation is running"
    SETTLED = "its operation had been stopped and is now done or undone"


def settle(names: VolumeNames, site: Site, *, supersede: bool = False) -> Outcome:
    """Run what a stopped operation left, and remove its intent; *supersede* leaves its steps out, unless it is a move.

    Raises what stops a step; the intent stays then.
    """
    try:
        hold = site.files.open(names.intent, Access.OWN)
    except FileNotFoundError:
        return Outcome.NONE
    except InUse:
        return Outcome.RUNNING
    debug(__name__, "%s: settling an operation that was stopped", site.files.describe(names.base))
    with closing(hold):
        if not supersede or _is_move(hold, names):
            # What is seen now, others may change before the caller holds the volume: his desk must not keep it.
            _run(_read(hold, names), names, replace(site, desk=None), hold)
        _give_up(hold, names, site)
    return Outcome.SETTLED


def _is_move(hold: Storage, names: VolumeNames) -> bool:
    """Whether half of the volume may be on another share, where nobody would look for it again."""
    try:
        steps = _read(hold, names)
    except Error:  # not for this version to read, and to be dropped
        return False
    return any(isinstance(step, Moving) for step in steps)


def _read(hold: Storage, names: VolumeNames) -> list[Step]:
    size = hold.size()
    if size > LARGEST:
        raise Error(f"{hold.name}: {size} bytes are no intent of ours")
    text = bytearray(size)
    hold.read([(0, memoryview(text))])
    return load(bytes(text), names, hold.name)


def _temporaries(names: VolumeNames, site: Site) -> list[str]:
    listing = site.files.list("", names.volume, ".tmp")
    return [file for file in listing if names.kind(file) is FileKind.TEMPORARY]


def _sweep(temporaries: Sequence[str], site: Site) -> list[str]:
    """Remove what nobody holds; say what that was."""
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
    """What `recover` came upon, by volume."""

    settled: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    failed: dict[str, Error | OSError] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)  # temporaries, by file name


def unsettled(site: Site) -> list[str]:
    """The volumes on the share for which `recover` has something to do, or to leave alone because it runs."""
    return sorted({names.volume for names in _left(site, "")})


def recover(site: Site, volume: str | None = None) -> Recovery:
    """Settle every operation on the share that was stopped, and remove the temporaries of all that are over.

    Touches nothing of an operation that runs, here or elsewhere. What cannot be settled now stays for the next time
    and is reported; it does not keep the rest from being settled. With *volume* that one only.
    """
    report = Recovery()
    for names, temporaries in _left(site, volume or "").items():
        if volume in (None, names.volume):
            _recover_volume(names, temporaries, site, report)
    return report


def _left(site: Site, prefix: str) -> dict[VolumeNames, list[str]]:
    """The volumes with an intent or with temporaries, which are listed before anybody looks at the intents."""
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
