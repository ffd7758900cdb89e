"""The engine interface of this driver, in which the image format is a required argument.

A tenant can write the signature of another format into a volume, so formats must not be detected by content. They
follow from the file names. `vhdx.verbs.engine.NativeEngine` implements this protocol; a type checker rejects a call
without a format.
"""

from collections.abc import Sequence
from typing import Protocol

from vhdx.chain.chain import Claim
from vhdx.image.base import CreateOptions, ImageFormat, ImageInfo
from vhdx.storage.base import FileSystem
from vhdx.verbs.contract import Kinsman, OpenDisk, Warn
from vhdx.verbs.merge_plan import MergePlan
from vhdx.verbs.shrink import Shrink


class VolumeEngine(Protocol):
    """The part of `vhdx.verbs.contract.Engine` that is used here; see there."""

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        """Create an image."""

    def open_family(
        self, files: FileSystem, path: str, *, claim: Claim | None = None, format: ImageFormat
    ) -> OpenDisk:
        """Open the image at *path* with its parents and lock their files, for several verbs."""

    def create_child(
        self,
        files: FileSystem,
        path: str,
        parent: str,
        *,
        parent_format: ImageFormat,
        replace: bool = False,
        disk: OpenDisk | None = None,
    ) -> None:
        """Create an empty differencing image with the parent *parent*."""

    def info(self, files: FileSystem, path: str, *, format: ImageFormat) -> ImageInfo:
        """Properties of the image."""

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        """The verified chain under *path*, leaf first."""

    def children(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        """The images in the same directory whose parent is *path*."""

    def kinship(self, files: FileSystem, paths: Sequence[str], *, format: ImageFormat) -> list[Kinsman]:
        """The properties of each of *paths*, and which of them are its children."""

    def resize(
        self, files: FileSystem, path: str, size: int, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> None:
        """Extend the disk."""

    def merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        shrink: Shrink,
        format: ImageFormat,
        disk: OpenDisk | None = None,
        plan: MergePlan | None = None,
    ) -> object:
        """Merge *top* and the layers between into *target*."""

    def plan_merge(
        self, files: FileSystem, top: str, target: str, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> MergePlan:
        """The plan that `merge` would execute."""

    def relink(
        self,
        files: FileSystem,
        child: str,
        parent: str,
        *,
        merged: bool = False,
        format: ImageFormat,
        disk: OpenDisk | None = None,
    ) -> None:
        """Record *parent* as the parent of *child*; *merged*: the recorded parent was merged into *parent*."""

    def convert(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat,
        options: CreateOptions | None = None,
        size: int | None = None,
        replace: bool = False,
        on_warning: Warn | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Create *target* with the content of *source*."""

    def compact(self, files: FileSystem, path: str, *, format: ImageFormat) -> None:
        """Compact the image file."""
