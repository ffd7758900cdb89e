"""Output files of read-only commands: images and HTML pages. These commands write files only here.

An output file is created under a temporary name. It never replaces a disk image, even with --force: neither a layer
of the examined disk, under any name, nor any file that is an image by its content.
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
    """An output file about the image at *subject*; with *force* it may replace a file that is not an image."""

    target: Place
    subject: Place
    policy: ParentPolicy
    format: ImageFormat | None = None
    force: bool = False

    @property
    def name(self) -> str:
        """Its full path or URL, for messages."""
        return self.target.files.describe(self.target.path)

    def refuse(self) -> None:
        """Check in advance whether the file may be written. Raises FileExistsError, Error, OSError."""
        files, path = self.target.files, self.target.path
        try:
            status = files.stat(path)
        except FileNotFoundError:
            return
        if not self.force:
            raise FileExistsError(f"{self.name} already exists")
        if status.identity in self._layers():
            raise Error(f"{self.name}: is a layer of the image; choose another name")
        with closing(files.open(path, Access.INSPECT)) as storage:
            kind = _precious(storage)
        if kind:
            raise Error(f"{self.name}: is {kind} and must not be replaced; choose another name")

    def save(self, content: bytes) -> None:
        """Write the file durably; a failure leaves no file. Raises like `refuse`, and OutOfSpace with the file name."""
        self.refuse()
        source: FileStatus = self.subject.files.stat(self.subject.path)
        files, path = self.target.files, self.target.path
        token = uuid4().hex[:8]
        with building(files, path, token=token, replace=self.force, sources=[source]) as storage:
            storage.write([(0, content)])
            storage.flush()

    def _layers(self) -> set[Hashable]:
        """The identities of the image and of every file that may be its parent, valid or not."""
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
    """What kind of disk image or undo file this is, or ""."""
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
