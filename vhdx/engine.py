"""The verbs by path: what the command line and the driver call.

Every method takes the `FileSystem` and paths in it. Each states what a stop at any point leaves.
"""

from collections.abc import Callable
from typing import Protocol

from vhdx.image.base import CreateOptions, ImageInfo
from vhdx.storage.base import FileSystem

Progress = Callable[[int, int], None]
"""Bytes done and bytes in all, called when the target is consistent; may raise Cancelled."""


class Engine(Protocol):
    """Verbs on images by path. All raise `vhdx.errors.Error` for bad bytes or requests, OSError for the transport."""

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        """Make a dynamic image of *size* bytes. Built under ``temporary_name(path)``, then renamed.

        Raises FileExistsError. A stop leaves at most the temporary.
        """

    def create_child(
        self, files: FileSystem, path: str, parent: str, *, size: int | None = None, replace: bool = False
    ) -> None:
        """Make an empty differencing image over *parent* (same directory), of the parent's size unless told.

        *replace* lets it take the place of an existing file, atomically. A stop leaves at most the temporary.
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
        call finishes. Afterwards *target* reads as *top* does.
        """

    def relink(self, files: FileSystem, child: str, parent: str) -> None:
        """Record *parent* (same directory) and its present DataWriteGuid as the parent of *child*.

        Atomic; doing it again changes nothing. The caller vouches that the content fits.
        """

    def clone(  # noqa: PLR0913
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
