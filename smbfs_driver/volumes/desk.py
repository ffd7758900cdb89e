"""The open layers and cached documents of one operation on a volume."""

from collections.abc import Callable

from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import VolumeNames
from vhdx.verbs.contract import OpenDisk
from vhdx.verbs.merge_plan import MergePlan


class Desk:
    """The volume's open layers, its .info document and the plan of a merge; valid until `clear`."""

    def __init__(self) -> None:
        self.disk: OpenDisk | None = None
        self.plan: MergePlan | None = None
        self.holds = False
        """Whether the intent is held, so that nobody else can replace the document."""
        self._documents: dict[VolumeNames, Info | None] = {}

    def document(self, names: VolumeNames, read: Callable[[], Info | None]) -> Info | None:
        """The volume's document; calls *read* unless it is cached."""
        if names not in self._documents:
            self._documents[names] = read()
        return self._documents[names]

    def forget(self, names: VolumeNames) -> None:
        """Drop the document from the cache, before it is changed."""
        self._documents.pop(names, None)

    def know(self, names: VolumeNames, document: Info) -> None:
        """Cache *document*, which is durable."""
        self._documents[names] = document

    def release(self, path: str) -> None:
        """Close a layer before its file is removed; ignores case, because a server may have found it so."""
        if self.disk is not None:
            for layer in [layer for layer in self.disk.paths if layer.lower() == path.lower()]:
                self.disk.release(layer)

    def clear(self) -> None:
        """Close the layers and clear the cache."""
        disk, self.disk, self.plan = self.disk, None, None
        self._documents.clear()
        if disk is not None:
            disk.close()
