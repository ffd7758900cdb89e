"""Volumes on one share: each operation from the state of the files to files that are settled.

Every operation holds its volume's intent (`smbfs_driver.journal`) and finishes first what was stopped before it. It
looks at everything it needs before it changes anything, and refuses with one clear error:

* `vhdx.errors.Error`: there is no such volume or snapshot, a file is in use, the size cannot be, the chain is broken
  or leaves the volume's own files;
* OSError: the transport failed. The operation has not succeeded; `recover`, or the next operation on the volume, sets
  it right.

Stopped at any point, what a volume's disk holds is what it held before or what was asked for: what creates is
undone, what deletes is finished. Sizes are in bytes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from uuid import uuid4

from smbfs_driver import info as info_file
from smbfs_driver import journal, plans
from smbfs_driver.journal import Operation, Outcome, Recovery
from smbfs_driver.names import DiskFormat, FileKind, VolumeNames, check_snapshot
from smbfs_driver.plans import State
from smbfs_driver.steps import Site
from vhdx.engine import Engine
from vhdx.errors import Error, InUse
from vhdx.image.base import NewId
from vhdx.storage.base import Access, FileSystem


class Volumes:
    """The volumes of one share. Keeps no state: any number of these may work on a share, here and elsewhere."""

    def __init__(self, files: FileSystem, engine: Engine, ids: NewId = uuid4) -> None:
        self._site = Site(files, engine, ids)

    def create(self, name: str, size: int) -> None:
        """Make an empty volume. Raises Error where files of one with this name are there."""
        plans.check_size(size)
        with self._creation(name) as names:
            self._site.engine.create(self._site.files, names.base, size)

    def delete(self, name: str) -> None:
        """Remove every file of a volume, and no other; one that is not there is fine."""
        for disk_format in DiskFormat:
            names = VolumeNames(name, disk_format)
            if self._files_of(names):
                self._delete(names)

    def create_snapshot(self, name: str, snapshot_id: str) -> None:
        """Keep what the volume holds now as a snapshot. Raises InUse while somebody writes to the volume."""
        check_snapshot(snapshot_id)
        with self._operation(name) as (held, state):
            plan = plans.create_snapshot(state, snapshot_id)
            self._check_idle([state.info.active], Access.READ)
            held.run(plan)

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Forget a snapshot, merging what was written after it down; one that is not there is fine."""
        check_snapshot(snapshot_id)
        with self._operation(name) as (held, state):
            plan = plans.delete_snapshot(state, snapshot_id)
            if plan.steps:
                file = state.info.snapshots[snapshot_id]
                place = state.chain.index(file)
                self._check_idle(state.chain[max(place - 1, 0) : place + 2], Access.WRITE)
            held.run(plan)

    def create_from_snapshot(
        self, name: str, source: str, snapshot_id: str, size: int, target: "Volumes | None" = None
    ) -> None:
        """Make volume *name*, here or on *target*, with what *source* held at a snapshot, *size* bytes large."""
        check_snapshot(snapshot_id)
        self._copy(name, source, snapshot_id, size, target or self)

    def clone(self, name: str, source: str, size: int, target: "Volumes | None" = None) -> None:
        """Make volume *name*, here or on *target*, with what *source* holds now, *size* bytes large.

        Raises InUse while somebody writes to the source.
        """
        self._copy(name, source, None, size, target or self)

    def extend(self, name: str, size: int) -> None:
        """Make a volume larger; the new part reads as zeros. Raises Error where it would become smaller."""
        with self._operation(name) as (held, state):
            present = self._site.engine.info(self._site.files, state.info.active).virtual_size
            held.run(plans.extend(state, present, size))

    def revert(self, name: str, snapshot_id: str) -> None:
        """Give a volume the content, and the size, that it had at its latest snapshot, which stays."""
        check_snapshot(snapshot_id)
        with self._operation(name) as (held, state):
            held.run(plans.revert_to_latest(state, snapshot_id))

    def active(self, name: str) -> str:
        """The path of the file that takes the volume's writes; opens no image, so it works while one is in use."""
        return info_file.load(self._site.files, self._settled(name)).active

    def chain(self, name: str) -> list[str]:
        """The paths of the verified chain under the active file, that one first."""
        return list(self._state(self._settled(name)).chain)

    def recover(self) -> Recovery:
        """Set right what was stopped on this share, on whichever machine; leaves alone what is running."""
        return journal.recover(self._site)

    # What the operations share.

    def _files_of(self, names: VolumeNames) -> list[str]:
        return [file for file in self._site.files.list("") if names.kind(file) is not None]

    def _find(self, name: str) -> VolumeNames:
        """The names of a volume that is there. Raises Error where there is none, or one in each format."""
        found = [names for form in DiskFormat if self._exists((names := VolumeNames(name, form)).base)]
        if len(found) > 1:
            raise Error(f"{self._site.files.describe(name)}: there are a VHD and a VHDX file of this volume")
        if not found:
            raise Error(f"{self._site.files.describe(name)}: there is no such volume")
        return found[0]

    def _exists(self, path: str) -> bool:
        try:
            self._site.files.stat(path)
        except FileNotFoundError:
            return False
        return True

    def _state(self, names: VolumeNames) -> State:
        info = info_file.load(self._site.files, names)
        try:
            chain = self._site.engine.layers(self._site.files, info.active)
        except FileNotFoundError as error:
            where = self._site.files.describe(info.active)
            raise Error(f"{where}: the active file of {names.volume} is gone; restore it from a backup") from error
        return State(names, info, chain)

    def _settled(self, name: str) -> VolumeNames:
        """The names of a volume on which nothing is under way. Raises InUse."""
        names = self._find(name)
        if journal.settle(names, self._site) is Outcome.RUNNING:
            raise InUse(f"{self._site.files.describe(names.base)}: an operation on this volume is running")
        return names

    def _check_idle(self, paths: Sequence[str], access: Access) -> None:
        """Raise InUse now, while nothing has begun, where somebody has a file open that is about to change."""
        for path in paths:
            # What is missing is for the operation to say, or a temporary that `recover` has just removed elsewhere.
            with contextlib.suppress(FileNotFoundError):
                self._site.files.open(path, access).close()

    @contextlib.contextmanager
    def _operation(self, name: str) -> Iterator[tuple[Operation, State]]:
        names = self._find(name)
        with journal.operation(names, self._site) as held:
            yield held, self._state(names)

    @contextlib.contextmanager
    def _creation(self, name: str) -> Iterator[VolumeNames]:
        names = VolumeNames(name)
        with journal.operation(names, self._site):
            there = [file for form in DiskFormat for file in self._files_of(VolumeNames(name, form))]
            there.remove(names.intent)
            if there:
                where = self._site.files.describe(there[0])
                raise Error(f"{where}: a file of a volume of this name is there; delete that volume first")
            yield names

    def _delete(self, names: VolumeNames) -> None:
        with journal.operation(names, self._site, supersede=True) as held:
            listing = self._files_of(names)
            chain: list[str] = []
            # The chain only gives the order; a volume whose chain is broken is deleted all the same.
            with contextlib.suppress(Error):
                chain.extend(self._state(names).chain)
            kept = (FileKind.INFO, FileKind.INTENT)
            self._check_idle([file for file in listing if names.kind(file) not in kept], Access.WRITE)
            held.run(plans.delete_volume(names, listing, chain))

    def _content(self, names: VolumeNames, snapshot_id: str | None) -> str:
        state = self._state(names)
        return state.info.active if snapshot_id is None else state.content_of(snapshot_id)

    def _copy(self, name: str, source: str, snapshot_id: str | None, size: int, target: "Volumes") -> None:
        files, engine = self._site.files, self._site.engine
        content = self._content(self._settled(source), snapshot_id)
        plans.check_growth(source, engine.info(files, content).virtual_size, size)
        with target._creation(name) as names:
            engine.convert(files, content, target._site.files, names.base, size=size)
            if snapshot_id is not None:
                try:
                    self._check_still_shown(source, snapshot_id, content)
                except BaseException:
                    target._site.files.remove(names.base)
                    raise

    def _check_still_shown(self, source: str, snapshot_id: str, content: str) -> None:
        """Raise where the file that was copied may not have shown the snapshot any more.

        Copies of one source may run side by side, so they do not hold it. Nothing is merged into a layer while it is
        read, but the deletion of the snapshot may have come first. (The active file shows the volume at some moment
        of the copy's, whatever else is done to the volume.)
        """
        if self._content(self._settled(source), snapshot_id) != content:
            where = self._site.files.describe(content)
            raise InUse(f"{where}: {source} was changed while it was copied; try again")
