"""What every operation on the volumes of one share begins with: a volume is found, settled, looked at and held."""

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
    """The volumes on one share, by name. Keeps no state. Raises Error as told, OSError where the transport fails."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @contextlib.contextmanager
    def working(self) -> Iterator["Shelf"]:
        """The same for one operation: what it opens and learns is kept until the end; see `Site.working`."""
        if self.site.desk is not None:
            yield self
            return
        with self.site.working() as site:
            yield Shelf(site)

    def files_of(self, names: VolumeNames) -> list[str]:
        """Every file of a volume."""
        return [file for file in self.site.files.list("", names.volume) if names.kind(file) is not None]

    def find(self, name: str) -> VolumeNames:
        """The names of a volume that is there. Raises Error where there is none, or one in each format."""
        found = self._present(name)
        if len(found) > 1:
            # What was stopped while it gave the volume another format.
            outcomes = {journal.settle(names, self.site) for names in found}
            if Outcome.RUNNING in outcomes:
                raise InUse(f"{self.site.files.describe(name)}: an operation on this volume is running")
            found = self._present(name)
        if len(found) > 1:
            raise Error(f"{self.site.files.describe(name)}: there are a VHD and a VHDX file of this volume")
        if not found:
            raise Error(f"{self.site.files.describe(name)}: there is no such volume")
        return found[0]

    def exists(self, name: str) -> bool:
        """Whether there is a volume of this name."""
        return bool(self._present(name))

    def _present(self, name: str) -> list[VolumeNames]:
        """The volumes of this name by format. A server is asked for two names, whatever else it holds."""
        kinds = [VolumeNames(name, form) for form in DiskFormat]
        return [names for names in kinds if self.site.files.exists(names.base)]

    def state(self, names: VolumeNames, claim: Claim | None = None) -> VolumeState:
        """A volume as it is, with *claim* on its files for as long as this works on it.

        Raises Error for a chain that is broken or leaves the volume's files.
        """
        with self.working() as shelf:
            site = shelf.site
            info = info_file.or_none(site.document(names), names)
            try:
                chain = site.open(names, info.active, claim)
            except FileNotFoundError as error:
                where = site.files.describe(info.active)
                raise Error(f"{where}: the active file of {names.volume} is gone; restore it from a backup") from error
            return VolumeState(names, info, chain)

    def settled(self, name: str) -> VolumeNames:
        """The names of a volume on which nothing is under way. Raises InUse."""
        names = self.find(name)
        if self.site.files.exists(names.intent) and journal.settle(names, self.site) is Outcome.RUNNING:
            raise InUse(f"{self.site.files.describe(names.base)}: an operation on this volume is running")
        return names

    def check_idle(self, paths: Sequence[str], access: Access) -> None:
        """Raise InUse now, while nothing has begun, where somebody has a file open that is about to change."""
        for path in paths:
            # What is missing is for the operation to say, or a temporary that `recover` has just removed elsewhere.
            with contextlib.suppress(FileNotFoundError):
                self.site.files.open(path, access).close()

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[VolumeOperation]:
        """Hold a volume that is there, for a change. Raises as `find` and `journal.operation` do."""
        with self.working() as shelf:
            names = shelf.find(name)
            with journal.operation(names, shelf.site) as held:
                yield held

    @contextlib.contextmanager
    def creation(self, name: str, format: DiskFormat) -> Iterator[VolumeOperation]:
        """Hold the name of a volume that is to be made. Raises Error where files of one are there."""
        names = VolumeNames(name, format)
        with self.site.working() as site, journal.operation(names, site) as held:
            kinds = [VolumeNames(name, form) for form in DiskFormat]
            listing = site.files.list("", name)
            there = [file for file in listing if any(kind.kind(file) for kind in kinds) and file != names.intent]
            if there:
                where = site.files.describe(there[0])
                raise Error(f"{where}: a file of a volume of this name is there; delete that volume first")
            yield held

    def delete(self, name: str) -> None:
        """Remove every file of a volume, and no other; a missing one is ignored."""
        with self.working() as shelf:
            listing = shelf.site.files.list("", name)
            for names in (VolumeNames(name, disk_format) for disk_format in DiskFormat):
                if any(names.kind(file) is not None for file in listing):
                    shelf._delete(names)

    def _delete(self, names: VolumeNames) -> None:
        with journal.operation(names, self.site, supersede=True) as held:
            listing = self.files_of(names)
            chain: list[str] = []
            # The chain only gives the order; a volume whose chain is broken is deleted all the same.
            with contextlib.suppress(Error):
                chain.extend(self.state(names, lambda above: Access.WRITE).chain)  # noqa: ARG005
            kept = (FileKind.INFO, FileKind.INTENT)
            others = [file for file in listing if names.kind(file) not in kept and file not in chain]
            self.check_idle(others, Access.WRITE)
            held.run(plans.delete_volume(names, listing, chain))
