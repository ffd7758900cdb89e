"""What every operation on the volumes of one share begins with: a volume is found, settled, looked at and held."""

import contextlib
from collections.abc import Iterator, Sequence

from smbfs_driver.volumes import info as info_file
from smbfs_driver.volumes import journal, plans
from smbfs_driver.volumes.journal import Operation, Outcome
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames
from smbfs_driver.volumes.plans import State
from smbfs_driver.volumes.steps import Site
from vhdx.errors import Error, InUse
from vhdx.storage.base import Access


class Shelf:
    """The volumes on one share, by name. Keeps no state. Raises Error as told, OSError where the transport fails."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def files_of(self, names: VolumeNames) -> list[str]:
        """Every file of a volume."""
        return [file for file in self.site.files.list("") if names.kind(file) is not None]

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
        return [names for form in DiskFormat if self._exists((names := VolumeNames(name, form)).base)]

    def _exists(self, path: str) -> bool:
        try:
            self.site.files.stat(path)
        except FileNotFoundError:
            return False
        return True

    def state(self, names: VolumeNames) -> State:
        """A volume as it is. Raises Error for a chain that is broken or leaves the volume's files."""
        info = info_file.load(self.site.files, names)
        try:
            chain = self.site.chain(names, info.active)
        except FileNotFoundError as error:
            where = self.site.files.describe(info.active)
            raise Error(f"{where}: the active file of {names.volume} is gone; restore it from a backup") from error
        return State(names, info, chain)

    def settled(self, name: str) -> VolumeNames:
        """The names of a volume on which nothing is under way. Raises InUse."""
        names = self.find(name)
        if journal.settle(names, self.site) is Outcome.RUNNING:
            raise InUse(f"{self.site.files.describe(names.base)}: an operation on this volume is running")
        return names

    def check_idle(self, paths: Sequence[str], access: Access) -> None:
        """Raise InUse now, while nothing has begun, where somebody has a file open that is about to change."""
        for path in paths:
            # What is missing is for the operation to say, or a temporary that `recover` has just removed elsewhere.
            with contextlib.suppress(FileNotFoundError):
                self.site.files.open(path, access).close()

    def check_single(self, path: str) -> None:
        """Raise Error now, while nothing has begun, for a file that has more names (hard links) than this one.

        All of them would show what is merged into it, and the merge would be refused half-way through a plan.
        """
        links = self.site.files.stat(path).links
        if links > 1:
            where = self.site.files.describe(path)
            raise Error(f"{where}: has {links} names (hard links), which would all show the change; remove the others")

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[tuple[Operation, State]]:
        """Hold a volume that is there, for a change. Raises as `find`, `journal.operation` and `state` do."""
        names = self.find(name)
        with journal.operation(names, self.site) as held:
            yield held, self.state(names)

    @contextlib.contextmanager
    def creation(self, name: str, format: DiskFormat) -> Iterator[VolumeNames]:
        """Hold the name of a volume that is to be made. Raises Error where files of one are there."""
        names = VolumeNames(name, format)
        with journal.operation(names, self.site):
            there = [file for form in DiskFormat for file in self.files_of(VolumeNames(name, form))]
            there.remove(names.intent)
            if there:
                where = self.site.files.describe(there[0])
                raise Error(f"{where}: a file of a volume of this name is there; delete that volume first")
            yield names

    def delete(self, name: str) -> None:
        """Remove every file of a volume, and no other; one that is not there is fine."""
        for disk_format in DiskFormat:
            names = VolumeNames(name, disk_format)
            if self.files_of(names):
                self._delete(names)

    def _delete(self, names: VolumeNames) -> None:
        with journal.operation(names, self.site, supersede=True) as held:
            listing = self.files_of(names)
            chain: list[str] = []
            # The chain only gives the order; a volume whose chain is broken is deleted all the same.
            with contextlib.suppress(Error):
                chain.extend(self.state(names).chain)
            kept = (FileKind.INFO, FileKind.INTENT)
            self.check_idle([file for file in listing if names.kind(file) not in kept], Access.WRITE)
            held.run(plans.delete_volume(names, listing, chain))
