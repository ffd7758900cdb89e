"""The verbs by path: what the command line and the driver call.

Every method takes the `FileSystem` and paths in it. Each states what a stop at any point leaves.
"""

import posixpath
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from vhdx.chain import Chain
from vhdx.clone import clone
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, Image, ImageInfo, NewId, ParentLink
from vhdx.image.open import open_image
from vhdx.image.vhdx_create import create_vhdx
from vhdx.merge import Progress, merge
from vhdx.parents import DEFAULT_POLICY, ParentPolicy, relative_path, same_directory
from vhdx.storage.base import Access, FileSystem, Storage


class Engine(Protocol):
    """Verbs on images by path. All raise `vhdx.errors.Error` for bad bytes or requests, OSError for the transport."""

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        """Make a dynamic image of *size* bytes. Built under ``temporary_name(path)``, then renamed.

        Durable on return. Raises FileExistsError. A stop leaves at most the temporary.
        """

    def create_child(
        self, files: FileSystem, path: str, parent: str, *, size: int | None = None, replace: bool = False
    ) -> None:
        """Make an empty differencing image over *parent* (same directory), of the parent's size unless told.

        *replace* lets it take the place of an existing file, atomically. Durable on return. A stop leaves at most the
        temporary.
        """

    def info(self, files: FileSystem, path: str) -> ImageInfo:
        """What the image says of itself; a handful of reads, no parent is opened."""

    def layers(self, files: FileSystem, path: str) -> list[str]:
        """The verified chain under *path*, leaf first, as paths. Raises ParentNotFound, ParentMismatch."""

    def resize(self, files: FileSystem, path: str, size: int) -> None:
        """Change the disk's size; a grown part reads as zeros. A stop leaves the old or the new size."""

    def merge(self, files: FileSystem, top: str, target: str, *, on_progress: Progress | None = None) -> None:
        """Write what *top* and the layers between hold over its ancestor *target* into *target*; top's size wins.

        Nothing is relinked or removed. A stop leaves every disk that reads through *top* as it was, and the same
        call finishes. Afterwards, durably, *target* reads as *top* does.
        """

    def relink(self, files: FileSystem, child: str, parent: str) -> None:
        """Record *parent* (same directory) and its present DataWriteGuid as the parent of *child*.

        Atomic and durable on return; doing it again changes nothing. The caller vouches that the content fits.
        """

    def clone(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        size: int | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Make *target* a dynamic image with the content of *source* read through its chain, and a disk id of its own.

        *size* may be larger than the source. A stop leaves at most the temporary.
        """


def temporary_name(path: str, token: str) -> str:
    """The name under which *path* is built; *token* is eight hexadecimal digits."""
    return f"{path}.{token}.tmp"


@dataclass(frozen=True, slots=True)
class NativeEngine:
    """Implements `Engine` with this package's own code."""

    new_id: NewId = uuid4
    policy: ParentPolicy = DEFAULT_POLICY

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        """Make a dynamic image; see `Engine.create`."""
        with self._building(files, path, replace=False) as storage:
            image = create_vhdx(storage, size=size, disk_id=self.new_id(), new_id=self.new_id, options=options)
            image.close()

    def create_child(
        self, files: FileSystem, path: str, parent: str, *, size: int | None = None, replace: bool = False
    ) -> None:
        """Make an empty differencing image; see `Engine.create_child`."""
        same_directory(path, parent)
        with self._open(files, parent) as below, self._building(files, path, replace=replace) as storage:
            info = below.info
            link = ParentLink(info.data_write_guid, paths={"relative_path": relative_path(posixpath.basename(parent))})
            options = CreateOptions(
                logical_sector_size=info.logical_sector_size, physical_sector_size=info.physical_sector_size
            )
            image = create_vhdx(
                storage,
                size=info.virtual_size if size is None else size,
                disk_id=info.disk_id,
                new_id=self.new_id,
                options=options,
                parent=link,
            )
            image.close()

    def info(self, files: FileSystem, path: str) -> ImageInfo:
        """What the image says of itself; see `Engine.info`."""
        with closing(open_image(files.open(path, Access.INSPECT), new_id=self.new_id)) as image:
            return image.info

    def layers(self, files: FileSystem, path: str) -> list[str]:
        """The verified chain under *path*; see `Engine.layers`."""
        with self.open_chain(files, path) as chain:
            return [layer.path for layer in chain.layers]

    def resize(self, files: FileSystem, path: str, size: int) -> None:
        """Change the disk's size; see `Engine.resize`."""
        with self.open_chain(files, path, writable=1) as chain:
            chain.leaf.resize(size, below=_size_under(chain, 0))

    def merge(self, files: FileSystem, top: str, target: str, *, on_progress: Progress | None = None) -> None:
        """Merge *top* and what lies between into *target*; see `Engine.merge`."""
        place = self._place_of(files, target, self.layers(files, top))
        with self.open_chain(files, top, writable=place + 1) as chain:
            layers = chain.images[: place + 1]
            merge(layers, below=_size_under(chain, place), new_id=self.new_id, on_progress=on_progress)

    def relink(self, files: FileSystem, child: str, parent: str) -> None:
        """Record *parent* as the parent of *child*; see `Engine.relink`."""
        same_directory(child, parent)
        identity = files.stat(child).identity
        with self.open_chain(files, parent) as chain:
            if any(files.stat(layer.path).identity == identity for layer in chain.layers):
                raise Error(f"{files.describe(child)}: would become its own ancestor")
            below = chain.leaf.info
            link = ParentLink(below.data_write_guid, paths={"relative_path": relative_path(posixpath.basename(parent))})
            with closing(open_image(files.open(child, Access.WRITE), new_id=self.new_id)) as image:
                if image.info.logical_sector_size != below.logical_sector_size:
                    raise Error(f"{files.describe(child)}: its sectors are not those of {files.describe(parent)}")
                if image.info.parent != link:
                    image.set_parent(link)

    def clone(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        size: int | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Make *target* a flat copy of *source*; see `Engine.clone`."""
        with self.open_chain(source_files, source) as chain:
            if size is not None and size < chain.size:
                raise Error(f"{target_files.describe(target)}: {size} bytes cannot hold a disk of {chain.size} bytes")
            base = chain.images[-1].info
            options = CreateOptions(
                block_size=base.block_size,
                logical_sector_size=base.logical_sector_size,
                physical_sector_size=base.physical_sector_size,
            )
            with self._building(target_files, target, replace=False) as storage:
                image = create_vhdx(
                    storage, size=size or chain.size, disk_id=self.new_id(), new_id=self.new_id, options=options
                )
                clone(chain, image, on_progress=on_progress)
                image.close()

    def open_chain(
        self, files: FileSystem, path: str, *, writable: int = 0, access: Access = Access.READ
    ) -> Chain:
        """The disk of *path* through all its layers, the first *writable* of them open for writing."""
        return Chain.open(files, path, new_id=self.new_id, writable=writable, access=access, policy=self.policy)

    @contextmanager
    def _open(self, files: FileSystem, path: str) -> Iterator[Image]:
        with closing(open_image(files.open(path, Access.READ), new_id=self.new_id)) as image:
            yield image

    @contextmanager
    def _building(self, files: FileSystem, path: str, *, replace: bool) -> Iterator[Storage]:
        """An empty file under a temporary name, which becomes *path* when the caller has closed it, or nothing."""
        if not replace:
            with suppress(FileNotFoundError):
                files.stat(path)
                raise FileExistsError(f"{files.describe(path)} exists already")
        temporary = temporary_name(path, self.new_id().hex[:8])
        storage = files.create(temporary)
        try:
            yield storage
            files.rename(temporary, path, replace=replace)
        except BaseException:
            storage.close()
            with suppress(OSError, Error):
                files.remove(temporary)
            raise
        files.sync_directory(posixpath.dirname(path))

    def _place_of(self, files: FileSystem, target: str, paths: list[str]) -> int:
        identity = files.stat(target).identity
        for place, path in enumerate(paths[1:], 1):
            if files.stat(path).identity == identity:
                return place
        raise Error(f"{files.describe(target)} is not under {files.describe(paths[0])}, so it cannot take its content")


def _size_under(chain: Chain, place: int) -> int:
    return chain.images[place + 1].virtual_size if place + 1 < len(chain.layers) else 0
