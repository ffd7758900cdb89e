"""File names of a volume, compatible with the retired WindowsSmbfsDriver.

==========================================  ======================================================
``volume-<uuid>.vhdx``                      the base image
``volume-<uuid>.<snapshot uuid>.vhdx``      what was written after that snapshot
``volume-<uuid>.vhdx.info``                 the active file and the files of the snapshots
``volume-<uuid>.vhdx.intent``               the operation in progress (not in the retired driver)
``<one of the above>.<8 hex digits>.tmp``   a temporary file (not in the retired driver)
==========================================  ======================================================

No I/O. `parse` is the inverse of `VolumeNames`: it accepts exactly the names that `VolumeNames` generates. A file that
`parse` attributes to a volume belongs to it and is deleted with it.
"""

import posixpath
import re
from dataclasses import dataclass
from enum import Enum
from typing import Self
from uuid import UUID

from vhdx.errors import Error
from vhdx.image.base import ImageFormat


class DiskFormat(Enum):
    """The format of a volume's images; the value is the file name extension, which Hyper-V requires."""

    VHD = "vhd"
    VHDX = "vhdx"

    @property
    def image(self) -> ImageFormat:
        """As a format of the engine."""
        return ImageFormat(self.value)


class FileKind(Enum):
    """The role of a file in its volume."""

    BASE = "base"
    SNAPSHOT = "snapshot"
    INFO = "info"
    INTENT = "intent"
    TEMPORARY = "temporary"


IMAGES = (FileKind.BASE, FileKind.SNAPSHOT)
LONGEST_VOLUME = 128
"""Characters; leaves space for all suffixes within the 255 bytes of most file systems."""

# Only ASCII characters that no server folds, strips or interprets as a separator of paths or streams.
_VOLUME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_EXTENSIONS = {
    ".vhd": DiskFormat.VHD,
    ".avhd": DiskFormat.VHD,
    ".vhdx": DiskFormat.VHDX,
    ".avhdx": DiskFormat.VHDX,
}
_RESERVED = tuple(f".{suffix}" for suffix in ("vhd", "vhdx", "info", "intent", "tmp"))
# The form of `vhdx.storage.building.temporary_name`.
_TEMPORARY = re.compile(r"(?P<final>.+)\.[0-9a-f]{8}\.tmp")


def is_identifier(text: str) -> bool:
    """Whether *text* is a UUID in OpenStack's form: lower case with hyphens."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def check_snapshot(snapshot_id: str) -> str:
    """*snapshot_id* itself. Raises Error unless it is a UUID in lower case with hyphens."""
    if not is_identifier(snapshot_id):
        raise Error(f"invalid snapshot id {snapshot_id!r}: must be a UUID in lower case with hyphens")
    return snapshot_id


def fault_of(volume: str) -> str | None:
    """Why *volume* is not a valid volume name; None if it is valid."""
    if len(volume) > LONGEST_VOLUME:
        return f"longer than {LONGEST_VOLUME} characters"
    if not _VOLUME.fullmatch(volume):
        return "must contain only ASCII letters and digits, '_', '-' and '.', and must not start with '-' or '.'"
    if ".." in volume or volume.endswith("."):
        return "must not contain two consecutive dots or end with a dot"
    if volume.lower().endswith(_RESERVED):
        return f"must not end with {', '.join(_RESERVED)}"
    if is_identifier(volume.rpartition(".")[2].lower()) and "." in volume:
        return "must not end with a dot and a UUID, which is the form of a snapshot's file"
    return None


@dataclass(frozen=True, slots=True)
class VolumeNames:
    """The file names of a volume. Raises Error for an invalid volume name."""

    volume: str
    format: DiskFormat = DiskFormat.VHDX

    def __post_init__(self) -> None:
        fault = fault_of(self.volume)
        if fault:
            raise Error(f"invalid volume name {self.volume!r}: {fault}")

    @property
    def base(self) -> str:
        return f"{self.volume}.{self.format.value}"

    @property
    def info(self) -> str:
        return f"{self.base}.info"

    @property
    def intent(self) -> str:
        return f"{self.base}.intent"

    def snapshot(self, snapshot_id: str) -> str:
        """The file with what is written after this snapshot."""
        return f"{self.volume}.{check_snapshot(snapshot_id)}.{self.format.value}"

    def kind(self, file: str) -> FileKind | None:
        """The role of *file* in this volume; None if it is not one of its files."""
        parsed = parse(file)
        return parsed.kind if parsed is not None and parsed.names == self else None

    def spelled(self, file: str) -> str | None:
        """The name of this volume's image that equals *file* ignoring case; None if there is none."""
        if file.lower() == self.base.lower():
            return self.base
        ident = file.lower().removeprefix(f"{self.volume.lower()}.").removesuffix(f".{self.format.value}")
        own = f"{self.volume}.{ident}.{self.format.value}"
        return own if own.lower() == file.lower() and self.is_image(own) else None

    def is_image(self, file: str) -> bool:
        """Whether *file* is the name of this volume's base or of one of its snapshot files."""
        return self.kind(file) in IMAGES


@dataclass(frozen=True, slots=True)
class FileName:
    """A parsed file name: the volume it belongs to, and its role."""

    names: VolumeNames
    kind: FileKind

    @classmethod
    def of(cls, volume: str, extension: str, kind: FileKind) -> Self | None:
        if extension not in (known.value for known in DiskFormat) or fault_of(volume):
            return None
        return cls(VolumeNames(volume, DiskFormat(extension)), kind)


def parse(file: str) -> FileName | None:
    """Parse a file name; None for a name that `VolumeNames` does not generate."""
    built = _TEMPORARY.fullmatch(file)
    if built:
        final = parse(built["final"])
        if final is None or final.kind is FileKind.INTENT:
            return None
        return FileName(final.names, FileKind.TEMPORARY)
    stem, _, extension = file.rpartition(".")
    if extension in (FileKind.INFO.value, FileKind.INTENT.value):
        base = parse(stem)
        return FileName(base.names, FileKind(extension)) if base is not None and base.kind is FileKind.BASE else None
    volume, dot, last = stem.rpartition(".")
    if dot and is_identifier(last):
        return FileName.of(volume, extension, FileKind.SNAPSHOT)
    return FileName.of(stem, extension, FileKind.BASE)


def may_be_related(path: str, file: str) -> bool:
    """Whether *file*, in the same directory, may be a child of the image at *path*, judged by the names.

    False if the two belong to different volumes, if their formats differ, or if *file* is no image.

    Opening the files of all volumes on a share would take long, and would prevent their operations from replacing open
    files. Only the names of volumes with an id are conclusive; other files are opened.
    """
    formats = {_EXTENSIONS.get(posixpath.splitext(name)[1].lower()) for name in (path, file)}
    if len(formats) > 1 and None not in formats:
        return False
    parsed = parse(file)
    if parsed is not None and parsed.kind not in IMAGES:
        return False
    image, other = _owner(path), _owner(file)
    return image is None or other is None or image == other


def beginning(path: str) -> str:
    """The common prefix of the names of all files that may be children of the image at *path*; empty if any may.

    For a volume, this limits the search to its own files.
    """
    return _owner(path) or ""


def _owner(file: str) -> str | None:
    """The volume that *file* belongs to, if its name ends with an id; else None."""
    parsed = parse(file)
    return parsed.names.volume if parsed is not None and is_identifier(parsed.names.volume[-36:]) else None
