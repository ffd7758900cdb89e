"""What one operation on a volume has open, and what it knows while nobody else may change the volume."""

from collections.abc import Callable

from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import VolumeNames
from vhdx.verbs.contract import OpenDisk
from vhdx.verbs.merge_plan import MergePlan


class Desk:
    """The volume's open layers, its document, and the plan of a merge, from the first look to `clear`."""

    def __init__(self) -> None:
        self.disk: OpenDisk | None = None
        self.plan: MergePlan | None = None
        self.holds = False
        """Whether the volume is held, so that nobody else puts another document in place."""
        self._documents: dict[VolumeNames, Info | None] = {}

    def document(self, names: VolumeNames, read: Callable[[], Info | None]) -> Info | None:
        """The volume's document, which *read* reads when it is not known."""
        if names not in self._documents:
            self._documents[names] = read()
        return self._documents[names]

    def forget(self, names: VolumeNames) -> None:
        """The document is about to change: what it says is to be read again."""
        self._documents.pop(names, None)

    def know(self, names: VolumeNames, document: Info) -> None:
        """What the document says from here on, durably."""
        self._documents[names] = document

    def release(self, path: str) -> None:
        """Close a layer whose file is to be removed; a server may have found it by other capitals."""
        if self.disk is not None:
            for layer in [layer for layer in self.disk.paths if layer.lower() == path.lower()]:
                self.disk.release(layer)

    def clear(self) -> None:
        """Close what is open, and know nothing any more."""
        disk, self.disk, self.plan = self.disk, None, None
        self._documents.clear()
        if disk is not None:
            disk.close()
