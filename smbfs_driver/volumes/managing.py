"""Images on a share that can be managed as volumes."""

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from smbfs_driver.shares.unc import UncName
from smbfs_driver.volumes.engine import VolumeEngine
from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import DiskFormat, parse
from vhdx.errors import Error
from vhdx.image.base import ImageInfo
from vhdx.storage.base import FileSystem
from vhdx.verbs.contract import Kinsman

GIB = 1 << 30
_FORMATS = {".vhd": DiskFormat.VHD, ".vhdx": DiskFormat.VHDX}


@dataclass(frozen=True, slots=True)
class Reference:
    """An image, by the address of its share and its path there."""

    address: str
    path: str

    @property
    def name(self) -> str:
        """``//server/share/path``."""
        return f"{self.address}/{self.path}"

    @property
    def format(self) -> DiskFormat:
        """The format by file name extension, as in Hyper-V. Raises Error."""
        extension = posixpath.splitext(self.path)[1].lower()
        if extension not in _FORMATS:
            raise Error(f"{self.name}: file name must end with .vhd or .vhdx")
        return _FORMATS[extension]


def parse_reference(name: object, home: str) -> Reference:
    """Parse ``//server/share/path`` or a path on the share *home*, with slashes or backslashes. Raises Error."""
    text = name.replace("\\", "/") if isinstance(name, str) else ""
    if not text.startswith("//"):
        text = f"{home}/{text}"
    parts = text.split("/", 4)
    address = "/".join(parts[:4])
    path = parts[4] if len(parts) == 5 else ""
    names = path.split("/")
    if UncName.parse(address) is None or any(part in ("", ".", "..") for part in names):
        raise Error(f"invalid reference {name!r}; syntax: //server/share/path/file.vhdx, the extension is optional")
    return Reference(address, path)


def existing(files: FileSystem, reference: Reference) -> Reference:
    """*reference* with its extension, which is optional if only one image has that name. Raises Error."""
    if posixpath.splitext(reference.path)[1].lower() in _FORMATS:
        return reference
    paths = [reference.path + extension for extension in _FORMATS]
    there = [path for path in paths if files.exists(path)]
    if len(there) > 1:
        raise Error(f"{reference.name}: {' and '.join(there)} exist; give the extension")
    if not there:
        raise Error(f"{reference.name}: neither {' nor '.join(paths)} exists")
    return Reference(reference.address, there[0])


def snapshot_named(reference: object, volume: str, info: Info) -> str:
    """The id of the snapshot of *volume* named by ``snapshot-ID``, ``ID``, or the name of the snapshot's file.

    The extension is optional. Raises Error if there is no such snapshot.
    """
    stem = _stem(reference.lower()) if isinstance(reference, str) else ""
    ident = stem.removeprefix("snapshot-")
    if ident in info.snapshots:
        return ident
    for snapshot_id, file in info.snapshots.items():
        if _stem(file.lower()) == stem:
            return snapshot_id
    known = ", ".join(info.snapshots) or "none"
    raise Error(f"{reference!r}: {volume} has no such snapshot; its snapshots: {known}")


def _stem(path: str) -> str:
    stem, extension = posixpath.splitext(path)
    return stem if extension in _FORMATS else path


@dataclass(frozen=True, slots=True)
class Manageable:
    """An image in the root directory of a share: its size in GiB, rounded up, and why it cannot be managed, if so."""

    reference: Reference
    size: int
    volume: str | None  # the name of the managed volume that it belongs to
    reason: str = ""


def candidates(files: FileSystem, address: str, engine: VolumeEngine, managed: Collection[str]) -> Iterator[Manageable]:
    """The images in the root directory of a share; *managed*: the names of Cinder's volumes."""
    free: dict[DiskFormat, list[str]] = {}
    for name in files.list(""):
        reference = Reference(address, name)
        parsed = parse(name)
        try:
            format = reference.format
        except Error:
            continue
        if parsed is not None and parsed.names.volume in managed:
            yield Manageable(reference, 0, parsed.names.volume, "already managed")
        else:
            free.setdefault(format, []).append(name)
    for format, names in free.items():
        for found in engine.kinship(files, names, format=format.image):
            yield _judged(Reference(address, found.path), found)


def _judged(reference: Reference, found: Kinsman) -> Manageable:
    if not isinstance(found.info, ImageInfo):
        fault = found.info or f"not a {reference.format.value} image"
        return Manageable(reference, 0, None, f"cannot be opened: {fault}")
    size = -(-found.info.virtual_size // GIB)
    reason = f"is the parent of {', '.join(found.children)}" if found.children else ""
    return Manageable(reference, size, None, "has a parent" if found.info.parent is not None else reason)
