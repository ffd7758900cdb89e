"""Images on a share that are no volume yet, and might become one."""

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from smbfs_driver.shares.shares import split_address
from smbfs_driver.volumes.engine import Engine
from smbfs_driver.volumes.names import DiskFormat, parse
from vhdx.errors import Error
from vhdx.storage.base import FileSystem

GIB = 1 << 30
_FORMATS = {".vhd": DiskFormat.VHD, ".vhdx": DiskFormat.VHDX}


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by the share that it is on and its path there."""

    address: str
    path: str

    @property
    def name(self) -> str:
        """The reference as it is given: ``//server/share/path``."""
        return f"{self.address}/{self.path}"

    @property
    def format(self) -> DiskFormat:
        """By the extension, as Hyper-V goes by it. Raises Error."""
        extension = posixpath.splitext(self.path)[1].lower()
        if extension not in _FORMATS:
            raise Error(f"{self.name}: neither a .vhd nor a .vhdx file")
        return _FORMATS[extension]


def parse_reference(name: object, home: str) -> Reference:
    """The reference in ``//server/share/path``, or in a path on the share *home*; backslashes or not. Raises Error."""
    text = name.replace("\\", "/") if isinstance(name, str) else ""
    if not text.startswith("//"):
        text = f"{home}/{text}"
    parts = text.split("/", 4)
    address = "/".join(parts[:4])
    path = parts[4] if len(parts) == 5 else ""
    names = path.split("/")
    if split_address(address) is None or any(part in ("", ".", "..") for part in names):
        raise Error(f"{name!r}: not of the form //server/share/path/file.vhdx")
    return Reference(address, path)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image in the root of a share: its size in GiB, rounded up, and why it cannot be managed, if it cannot."""

    reference: Reference
    size: int
    volume: str | None  # the volume whose file it is, by name
    reason: str = ""


def candidates(files: FileSystem, address: str, engine: Engine, managed: Collection[str]) -> Iterator[Candidate]:
    """The images in the root of a share; *managed* are the names of the volumes that Cinder has."""
    lone: list[Candidate] = []
    has_children = False
    for name in files.list(""):
        reference = Reference(address, name)
        parsed = parse(name)
        try:
            format = reference.format
        except Error:
            continue
        owner = parsed.names.volume if parsed is not None and parsed.names.volume in managed else None
        if owner is not None:
            yield Candidate(reference, 0, owner, "already managed")
            continue
        try:
            info = engine.info(files, name, format=format.image)
        except (Error, OSError) as error:
            yield Candidate(reference, 0, None, f"cannot be opened: {error}")
            continue
        size = -(-info.virtual_size // GIB)
        if info.parent is not None:
            has_children = True
            yield Candidate(reference, size, None, "has a parent")
        else:
            lone.append(Candidate(reference, size, None))
    for candidate in lone:
        # Whose children there are takes a look at every file, which most shares can do without.
        found = candidate.reference
        children = engine.children(files, found.path, format=found.format.image) if has_children else []
        yield replace(candidate, reason=f"is the parent of {', '.join(children)}" if children else "")
