"""Names of a volume's files, exactly as the retired WindowsSmbfsDriver wrote them, so that its shares keep working.

==========================================  ======================================================
``volume-<uuid>.vhdx``                      the base image
``volume-<uuid>.<snapshot uuid>.vhdx``      what was written after that snapshot
``volume-<uuid>.vhdx.info``                 which file is active, and the snapshots' files
``volume-<uuid>.vhdx.intent``               what is being done to the volume (new in this driver)
``<one of the above>.<8 hex digits>.tmp``   a file under construction (new in this driver)
==========================================  ======================================================

Pure. Every name that `VolumeNames` makes is read back by `parse` as what it is, and no other name is: a file that
`parse` attributes to a volume is that volume's, to be removed with it.
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
    """The format of a volume's images; the value is the file name extension, by which Hyper-V goes."""

    VHD = "vhd"
    VHDX = "vhdx"

    @property
    def image(self) -> ImageFormat:
        """The same as the engine is told it."""
        return ImageFormat(self.value)


class FileKind(Enum):
    """What a file is to its volume."""

    BASE = "base"
    SNAPSHOT = "snapshot"
    INFO = "info"
    INTENT = "intent"
    TEMPORARY = "temporary"


IMAGES = (FileKind.BASE, FileKind.SNAPSHOT)
LONGEST_VOLUME = 128
"""Characters; leaves room for every suffix within the 255 that file systems allow."""

# Letters of one byte and one spelling only: nothing a server could fold, strip or take for a path or a stream.
_VOLUME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_EXTENSIONS = {
    ".vhd": DiskFormat.VHD,
    ".avhd": DiskFormat.VHD,
    ".vhdx": DiskFormat.VHDX,
    ".avhdx": DiskFormat.VHDX,
}
_RESERVED = tuple(f".{suffix}" for suffix in ("vhd", "vhdx", "info", "intent", "tmp"))
# What `vhdx.storage.building.temporary_name` makes.
_TEMPORARY = re.compile(r"(?P<final>.+)\.[0-9a-f]{8}\.tmp")


def is_identifier(text: str) -> bool:
    """Whether *text* is a UUID as OpenStack writes it: lower case with hyphens."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def check_snapshot(snapshot_id: str) -> str:
    """*snapshot_id* itself. Raises Error where it is no UUID in lower case with hyphens."""
    if not is_identifier(snapshot_id):
        raise Error(f"{snapshot_id!r} is no snapshot id: a UUID in lower case with hyphens is needed")
    return snapshot_id


def fault_of(volume: str) -> str | None:
    """Why *volume* cannot be the name of a volume; None where it can."""
    if len(volume) > LONGEST_VOLUME:
        return f"it is longer than {LONGEST_VOLUME} characters"
    if not _VOLUME.fullmatch(volume):
        return "it may hold only letters and digits of ASCII, '_', '-' and '.', and starts with none of '-' and '.'"
    if ".." in volume or volume.endswith("."):
        return "dots stand alone and not at the end"
    if volume.lower().endswith(_RESERVED):
        return f"it ends in one of the suffixes {', '.join(_RESERVED)}"
    if is_identifier(volume.rpartition(".")[2].lower()) and "." in volume:
        return "it ends in a dot and a UUID, as the name of a snapshot's file does"
    return None


@dataclass(frozen=True, slots=True)
class VolumeNames:
    """The names of one volume's files. Raises Error for a volume name that is not safe as a file name."""

    volume: str
    format: DiskFormat = DiskFormat.VHDX

    def __post_init__(self) -> None:
        fault = fault_of(self.volume)
        if fault:
            raise Error(f"{self.volume!r} cannot be the name of a volume: {fault}")

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
        """The file that takes the writes after this snapshot."""
        return f"{self.volume}.{check_snapshot(snapshot_id)}.{self.format.value}"

    def kind(self, file: str) -> FileKind | None:
        """What *file* is to this volume; None where it is not one of its files."""
        parsed = parse(file)
        return parsed.kind if parsed is not None and parsed.names == self else None

    def spelled(self, file: str) -> str | None:
        """The image of this volume whose name differs from *file* in capitals at most; None where there is none."""
        if file.lower() == self.base.lower():
            return self.base
        ident = file.lower().removeprefix(f"{self.volume.lower()}.").removesuffix(f".{self.format.value}")
        own = f"{self.volume}.{ident}.{self.format.value}"
        return own if own.lower() == file.lower() and self.is_image(own) else None

    def is_image(self, file: str) -> bool:
        """Whether *file* is this volume's base or one of its snapshot files, by name."""
        return self.kind(file) in IMAGES


@dataclass(frozen=True, slots=True)
class FileName:
    """A file name taken apart: whose it is, and what."""

    names: VolumeNames
    kind: FileKind

    @classmethod
    def of(cls, volume: str, extension: str, kind: FileKind) -> Self | None:
        if extension not in (known.value for known in DiskFormat) or fault_of(volume):
            return None
        return cls(VolumeNames(volume, DiskFormat(extension)), kind)


def parse(file: str) -> FileName | None:
    """Which volume *file* belongs to, and as what; None for every name that is not exactly one of ours."""
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
    """Whether *file* may depend on the image at *path* beside it: not where both are volumes', and not of one.

    Nor where their names say two formats, since parents and children are of one, or that the file is no image.

    A share holds many volumes. To look into the files of others would take long, and would keep their operations from
    replacing what is open for the moment. What is a volume's ends in the volume's id; anything else is looked into.
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
    """How the names of all files begin that may depend on the image at *path*; nothing where any may.

    Beside a volume only its own are looked for, whatever else the share holds.
    """
    return _owner(path) or ""


def _owner(file: str) -> str | None:
    """The volume with an id in its name that *file* belongs to."""
    parsed = parse(file)
    return parsed.names.volume if parsed is not None and is_identifier(parsed.names.volume[-36:]) else None
