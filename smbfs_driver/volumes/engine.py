"""The verbs of an engine as this driver calls them: what a file is has to be said.

A tenant writes what it likes into its volume, also the marks of another format, so nothing here may be recognised by
content. The names of files say their format. `vhdx.verbs.engine.NativeEngine` is such an engine; a type checker refuses
a call that leaves the format out.
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
    """The part of `vhdx.verbs.contract.Engine` that is used here; what is promised stands there."""

    def create(self, files: FileSystem, path: str, size: int, options: CreateOptions | None = None) -> None:
        """Make an image."""

    def open_family(
        self, files: FileSystem, path: str, *, claim: Claim | None = None, format: ImageFormat
    ) -> OpenDisk:
        """Open the disk of *path* with its parents and claim their files, for several verbs."""

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
        """Make an empty differencing image over *parent*."""

    def info(self, files: FileSystem, path: str, *, format: ImageFormat) -> ImageInfo:
        """What the image says of itself."""

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        """The verified chain under *path*, leaf first."""

    def children(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        """The images beside *path* whose parent it is."""

    def kinship(self, files: FileSystem, paths: Sequence[str], *, format: ImageFormat) -> list[Kinsman]:
        """What each of *paths* is, and which of them are its children."""

    def resize(
        self, files: FileSystem, path: str, size: int, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> None:
        """Make the disk larger."""

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
        """Merge *top* and what is between into *target*."""

    def plan_merge(
        self, files: FileSystem, top: str, target: str, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> MergePlan:
        """What `merge` would do."""

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
        """Record *parent* as the parent of *child*; *merged*: what the child records was merged into it."""

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
        """Make *target* an image with the content of *source*."""

    def compact(self, files: FileSystem, path: str, *, format: ImageFormat) -> None:
        """Make the file small."""
