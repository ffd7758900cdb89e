"""Files that a command writes that only looks: pictures, pages. This is the only place where it writes any.

Such a file is built under a temporary name and never takes the place of an image, whatever the user says: of none of
the layers that are looked at, under any of their names, and of nothing that is an image by its content.
"""

from collections.abc import Hashable
from contextlib import closing, suppress
from dataclasses import dataclass
from uuid import uuid4

from vhdx.chain.lineage import see
from vhdx.chain.parents import ParentPolicy, candidates
from vhdx.errors import Error
from vhdx.image.base import ImageFormat
from vhdx.image.foreign import foreign, is_disk
from vhdx.image.marks import is_vhd, is_vhdx
from vhdx.location import Place
from vhdx.repair.undo import MARK
from vhdx.storage.base import Access, FileStatus, Storage
from vhdx.storage.building import building
from vhdx.storage.transfer import pread


@dataclass(frozen=True, slots=True)
class Output:
    """A file about the image at *subject*; with *force* it may take the place of a file that is no image."""

    target: Place
    subject: Place
    policy: ParentPolicy
    format: ImageFormat | None = None
    force: bool = False

    @property
    def name(self) -> str:
        """Where it goes, for messages."""
        return self.target.files.describe(self.target.path)

    def refuse(self) -> None:
        """Find out before the work whether the file may have its name. Raises FileExistsError, Error, OSError."""
        files, path = self.target.files, self.target.path
        try:
            status = files.stat(path)
        except FileNotFoundError:
            return
        if not self.force:
            raise FileExistsError(f"{self.name} exists already")
        if status.identity in self._layers():
            raise Error(f"{self.name}: is a layer of the image; give another name")
        with closing(files.open(path, Access.INSPECT)) as storage:
            kind = _precious(storage)
        if kind:
            raise Error(f"{self.name}: {kind}, which no picture or page replaces; give another name")

    def save(self, content: bytes) -> None:
        """Write the file, durably; what fails leaves nothing. Raises like `refuse`, OutOfSpace naming the file."""
        self.refuse()
        source: FileStatus = self.subject.files.stat(self.subject.path)
        files, path = self.target.files, self.target.path
        token = uuid4().hex[:8]
        with building(files, path, token=token, replace=self.force, sources=[source]) as storage:
            storage.write([(0, content)])
            storage.flush()

    def _layers(self) -> set[Hashable]:
        """The identity of the image and of every file that may be a parent of it, sound or not."""
        files = self.subject.files
        found: set[Hashable] = set()
        image = files.resolve(self.subject.path)
        paths = [image]
        while paths and len(found) <= self.policy.most_layers:
            path = paths.pop()
            with suppress(Error, FileNotFoundError, PermissionError):
                identity = files.stat(path).identity
                if identity in found:
                    continue
                found.add(identity)
                format = self.format if path == image else None
                recorded = see(files, path, uuid4, format).info.parent
                if recorded is not None:
                    paths += candidates(files, path, recorded, self.policy)
        return found


def _precious(storage: Storage) -> str:
    """What a file is that holds a disk, or what was one; empty for any other."""
    if is_vhdx(storage):
        return "a VHDX"
    if is_vhd(storage):
        return "a VHD"
    if pread(storage, 0, min(storage.size(), len(MARK))) == MARK:
        return "an undo file of vhdx-img repair"
    if is_disk(storage):
        return "a raw disk"
    kind = foreign(storage)
    return kind.name if kind is not None and storage.size() else ""
