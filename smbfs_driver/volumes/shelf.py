"""Finds, recovers and locks the volumes of a share, as every operation must first."""

import contextlib
from collections.abc import Iterator, Sequence

from smbfs_driver.volumes import info as info_file
from smbfs_driver.volumes import journal, plans
from smbfs_driver.volumes.journal import Outcome, VolumeOperation
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames
from smbfs_driver.volumes.plans import VolumeState
from smbfs_driver.volumes.steps import Site
from vhdx.chain.chain import Claim
from vhdx.errors import Error, InUse
from vhdx.storage.base import Access


class Shelf:
    """The volumes of a share by name. Stateless. Methods raise Error as documented, OSError if the transport fails."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @contextlib.contextmanager
    def working(self) -> Iterator["Shelf"]:
        """The same volumes with a `Desk` for one operation; see `Site.working`."""
        if self.site.desk is not None:
            yield self
            return
        with self.site.working() as site:
            yield Shelf(site)

    def files_of(self, names: VolumeNames) -> list[str]:
        """All files of a volume."""
        return [file for file in self.site.files.list("", names.volume) if names.kind(file) is not None]

    def find(self, name: str) -> VolumeNames:
        """The names of an existing volume. Raises Error if there is none, or one in each format."""
        found = self._present(name)
        if len(found) > 1:
            # A conversion to another format may have been interrupted.
            outcomes = {journal.settle(names, self.site) for names in found}
            if Outcome.RUNNING in outcomes:
                raise InUse(f"{self.site.files.describe(name)}: an operation on this volume is running")
            found = self._present(name)
        if len(found) > 1:
            raise Error(f"{self.site.files.describe(name)}: this volume has both a VHD and a VHDX base")
        if not found:
            raise Error(f"{self.site.files.describe(name)}: no such volume")
        return found[0]

    def exists(self, name: str) -> bool:
        """Whether there is a volume with this name."""
        return bool(self._present(name))

    def _present(self, name: str) -> list[VolumeNames]:
        """The volumes with this name, at most one per format. Queries two names, whatever else is on the share."""
        kinds = [VolumeNames(name, form) for form in DiskFormat]
        return [names for names in kinds if self.site.files.exists(names.base)]

    def state(self, names: VolumeNames, claim: Claim | None = None) -> VolumeState:
        """The state of a volume; *claim* locks its files until the operation ends.

        Raises Error for a chain that is broken or contains files of others.
        """
        with self.working() as shelf:
            site = shelf.site
            info = info_file.or_none(site.document(names), names)
            try:
                chain = site.open(names, info.active, claim)
            except FileNotFoundError as error:
                where = site.files.describe(info.active)
                raise Error(
                    f"{where}: the active file of {names.volume} is missing; restore it from a backup"
                ) from error
            return VolumeState(names, info, chain)

    def settled(self, name: str) -> VolumeNames:
        """The names of a volume, after recovering an interrupted operation. Raises InUse if one is running."""
        names = self.find(name)
        if self.site.files.exists(names.intent) and journal.settle(names, self.site) is Outcome.RUNNING:
            raise InUse(f"{self.site.files.describe(names.base)}: an operation on this volume is running")
        return names

    def check_idle(self, paths: Sequence[str], access: Access) -> None:
        """Raise InUse, before anything is changed, if one of the files is open."""
        for path in paths:
            # A missing file is reported by the operation, or is a temporary that `recover` has just removed elsewhere.
            with contextlib.suppress(FileNotFoundError):
                self.site.files.open(path, access).close()

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[VolumeOperation]:
        """Hold an existing volume for a change. Raises as `find` and `journal.operation` do."""
        with self.working() as shelf:
            names = shelf.find(name)
            with journal.operation(names, shelf.site) as held:
                yield held

    @contextlib.contextmanager
    def creation(self, name: str, format: DiskFormat) -> Iterator[VolumeOperation]:
        """Hold the name of a new volume. Raises Error if files of a volume with this name exist."""
        names = VolumeNames(name, format)
        with self.site.working() as site, journal.operation(names, site) as held:
            kinds = [VolumeNames(name, form) for form in DiskFormat]
            listing = site.files.list("", name)
            there = [file for file in listing if any(kind.kind(file) for kind in kinds) and file != names.intent]
            if there:
                where = site.files.describe(there[0])
                raise Error(f"{where}: belongs to an existing volume with this name; delete that volume first")
            yield held

    def delete(self, name: str) -> None:
        """Delete all files of a volume, and no others. Does nothing for a volume that does not exist."""
        with self.working() as shelf:
            # A base that is there is found by its name. Only where there is none, all names are looked through for
            # what it left behind, before anything is made on the share.
            kinds = [VolumeNames(name, form) for form in (DiskFormat.VHDX, DiskFormat.VHD)]
            first = next((names for names in kinds if shelf.site.files.exists(names.base)), None)
            if first is None:
                listing = shelf.site.files.list("", name)
                first = next((names for names in kinds if any(map(names.kind, listing))), None)
            if first is not None:
                shelf._delete(first, [names for names in kinds if names != first])

    def _delete(self, names: VolumeNames, others: Sequence[VolumeNames] = ()) -> None:
        """Remove every file of *names*; before it those of *others*, the same volume in other formats.

        All that have files are held before the first file goes.
        """
        with journal.operation(names, self.site, supersede=True) as held:
            listing = self.site.files.list("", names.volume)
            for other in others:
                if any(map(other.kind, listing)):
                    self._delete(other)
            chain: list[str] = []
            # The chain only determines the order; a volume with a broken chain can be deleted, too.
            with contextlib.suppress(Error):
                chain.extend(self.state(names, lambda above: Access.WRITE).chain)  # noqa: ARG005
            kept = (None, FileKind.INFO, FileKind.INTENT)
            strays = [file for file in listing if names.kind(file) not in kept and file not in chain]
            self.check_idle(strays, Access.WRITE)
            held.run(plans.delete_volume(names, listing, chain))
