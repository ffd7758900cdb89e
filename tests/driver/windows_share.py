r"""A share as a WindowsSmbfsDriver left it: its names, its ``.info`` documents, parents recorded as Windows does it.

The driver linked ``C:\OpenStack\_mnt\<md5 of the share>`` to each share and gave Windows paths under it, so that is
what differencing files record, or the share's own UNC path. Neither leads anywhere from elsewhere.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from smbfs_driver.volumes.names import DiskFormat, VolumeNames
from tests.interop import golden
from tests.support.disks import MIB
from vhdx.format import vhd_header, vhd_locator
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.image.vhd.create import create_vhd
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.engine import NativeEngine

SECTOR = 512
SIZE = 8 * MIB
_PIECE = 64 * SECTOR
SHARE = "//server/share"
LAYERED = f"volume-{UUID(int=0x4F711859 << 96 | 1)}"
"""A volume with the snapshots A, B and C."""
PLAIN = f"volume-{UUID(int=0x4F711859 << 96 | 2)}"
"""One that never had a snapshot."""
CLONE = f"volume-{UUID(int=0x4F711859 << 96 | 3)}"
"""Its clone, made by copying the file: all of its ids are those of the other."""
EMPTIED = f"volume-{UUID(int=0x4F711859 << 96 | 4)}"
"""One whose snapshots are gone: the document stays."""
A, B, C = (str(UUID(int=0x50811859 << 96 | number)) for number in (10, 11, 12))
DELETED = f"volume-{UUID(int=0x4F711859 << 96 | 5)}"
"""One that was deleted by force with its snapshots: only the active file and the document went."""
D, E = (str(UUID(int=0x50811859 << 96 | number)) for number in (13, 14))
WINDOWS_CHILD = "dfvfs-fat-differential.vhd.gz"
"""A differencing VHD that Windows 10 wrote, without its parent."""
IMAGE = str(UUID(int=0x60811859 << 96))

Recorded = Callable[[str], Mapping[str, str]]
"""Under which paths Windows recorded a parent of that name."""
Content = dict[int, int]
"""What a guest sees: the byte that fills a sector, for sectors that are not zero. At -1 is the size of the disk."""


def written(layer: int) -> Content:
    """What the guest of a volume with snapshots wrote before the first one, after it, and so on.

    Of some blocks a layer holds nothing, of some a part, and some of it crosses into the next.
    """
    edge = 4096 * layer
    return {0: 1, 9: 1} if not layer else {layer: layer + 1, 9: layer + 1, edge - 1: 30 + layer, edge: 40 + layer}


def shown(layers: int) -> Content:
    """What a volume shows of the base and so many layers over it."""
    seen: Content = {-1: SIZE}
    for layer in range(layers + 1):
        seen |= written(layer)
    return seen


def mounted(name: str) -> Mapping[str, str]:
    """By the driver's link to the share."""
    home = f"OpenStack\\_mnt\\{hashlib.md5(SHARE.encode(), usedforsecurity=False).hexdigest()}"
    return {
        "relative_path": f".\\{name}",
        "volume_path": f"\\\\?\\Volume{{{UUID(int=1)}}}\\{home}\\{name}",
        "absolute_win32_path": f"\\\\?\\C:\\{home}\\{name}",
    }


def remote(name: str) -> Mapping[str, str]:
    """By the share itself."""
    return {"relative_path": f".\\{name}", "absolute_win32_path": f"\\\\?\\UNC\\server\\share\\{name}"}


def reconnected(name: str) -> Mapping[str, str]:
    """By an absolute path only, as when a snapshot under it was merged."""
    return {"absolute_win32_path": mounted(name)["absolute_win32_path"].replace("\\\\?\\", "")}


def shouted(name: str) -> Mapping[str, str]:
    """In other letters: Windows does not tell them apart."""
    return {key: path.replace(name, name.upper()) for key, path in mounted(name).items()}


RECORDS: Mapping[str, Recorded] = {
    "mounted": mounted,
    "remote": remote,
    "reconnected": reconnected,
    "in other letters": shouted,
}


@dataclass(frozen=True)
class WindowsShare:
    """What is to lie on *files*, all of it in one shape."""

    files: FileSystem
    format: DiskFormat = DiskFormat.VHDX
    fixed: bool = False
    recorded: Recorded = mounted
    block: int = 2 * MIB
    size: int = SIZE
    engine: NativeEngine = field(default_factory=NativeEngine)

    def lay_out(self) -> None:
        """Everything that is described above."""
        self.layered(LAYERED, (A, B, C))
        self.base(PLAIN)
        self.write(self.names(PLAIN).base, {1: 11, 4096: 12})
        self.copy(self.names(PLAIN).base, self.names(CLONE).base)
        self.base(EMPTIED)
        self.write(self.names(EMPTIED).base, {2: 21})
        self.inform(EMPTIED, self.names(EMPTIED).base, {})
        self.leftover(DELETED, (D, E))
        self.copy(self.names(PLAIN).base, self.uploading)

    @property
    def uploading(self) -> str:
        """A flat copy for an image, of an upload that was stopped."""
        return f"{LAYERED.removeprefix('volume-')}.temp_image.{IMAGE}.{self.format.value}"

    def names(self, volume: str) -> VolumeNames:
        """The names of a volume's files."""
        return VolumeNames(volume, self.format)

    def layered(self, volume: str, snapshots: Sequence[str]) -> None:
        """A volume with snapshots, which holds what `written` says."""
        names = self.names(volume)
        below = self.base(volume)
        self.write(below, written(0))
        for number, snapshot in enumerate(snapshots, start=1):
            self.child(names.snapshot(snapshot), below)
            below = names.snapshot(snapshot)
            self.write(below, written(number))
        self.inform(volume, below, {snapshot: names.snapshot(snapshot) for snapshot in snapshots})

    def leftover(self, volume: str, snapshots: Sequence[str]) -> None:
        """What stayed of a volume with these snapshots that was deleted by force."""
        self.layered(volume, snapshots)
        self.files.remove(self.names(volume).snapshot(snapshots[-1]))
        self.files.remove(self.names(volume).info)

    def base(self, volume: str) -> str:
        """The file of a volume without snapshots, empty."""
        options = CreateOptions(
            format=ImageFormat(self.format.value),
            fixed=self.fixed,
            block_size=self.block,
            creator="Microsoft Windows 10.0.14393.0",
        )
        name = self.names(volume).base
        self.engine.create(self.files, name, self.size, options)
        return name

    def child(self, name: str, parent: str) -> None:
        """A differencing file that records its parent as Windows does."""
        self.engine.create_child(self.files, name, parent)
        self.record(name, parent)

    def record(self, name: str, parent: str) -> None:
        """Have a differencing file record a parent as Windows does."""
        linkage = self.engine.info(self.files, parent).linkage
        assert linkage is not None
        paths = dict(self.recorded(parent))
        if self.format is DiskFormat.VHD:
            paths = {key: path.removeprefix("\\\\?\\") for key, path in paths.items() if key != "volume_path"}
            paths["parent_name"] = paths["absolute_win32_path"]
            link = ParentLink(linkage, None, paths)
        else:
            # Windows writes a second one, of nothing, although one is enough.
            link = ParentLink(linkage, UUID(int=0), paths)
        with closing(open_image(self.files.open(name, Access.WRITE), new_id=self.engine.new_id)) as image:
            image.set_parent(link)

    def over_golden(self, volume: str, snapshot: str, directory: Path) -> None:
        """A volume whose snapshot's file is WINDOWS_CHILD, over a base that is to be its parent; lies in *directory*.

        Of the child's bytes only the paths to the parent are others.
        """
        names = self.names(volume)
        child = directory / golden.unpack(WINDOWS_CHILD, directory)
        link = self.engine.info(self.files, child.name).parent
        assert link is not None
        file = bytearray(child.read_bytes())
        paths = {b"W2ku": mounted(names.base)["absolute_win32_path"][4:], b"W2ru": f".\\{names.base}"}
        header = vhd_header.parse(bytes(file[SECTOR : 3 * SECTOR]), SECTOR).header
        entries = []
        for entry in header.entries:
            path = vhd_locator.encode_path(paths[entry.code])
            file[entry.data_offset : entry.data_offset + len(path)] = path
            entries.append(replace(entry, data_length=len(path)))
        locators, name = vhd_locator.build_entries(entries), vhd_locator.encode_name(paths[b"W2ku"])
        file[SECTOR : 3 * SECTOR] = vhd_header.build(replace(header, parent_name=name, locators=locators))
        child.unlink()
        (directory / names.snapshot(snapshot)).write_bytes(file)
        storage = self.files.create(names.base)
        create_vhd(storage, size=4 * MIB, disk_id=link.linkage, new_id=self.engine.new_id).close()
        with closing(self.engine.open_chain(self.files, names.base, writable=1, orphan=True)) as chain:
            chain.write(0, b"".join(bytes([sector % 251 + 1]) * SECTOR for sector in range(chain.size // SECTOR)))
        self.inform(volume, names.snapshot(snapshot), {snapshot: names.snapshot(snapshot)})

    def write(self, name: str, content: Content) -> None:
        """As a guest whose active file this is."""
        with closing(self.engine.open_chain(self.files, name, writable=1, orphan=True)) as chain:
            for sector, byte in content.items():
                if sector >= 0:
                    chain.write(sector * SECTOR, bytes([byte]) * SECTOR)

    def copy(self, source: str, target: str) -> None:
        """The same bytes under another name."""
        self.put(target, self.bytes_of(source))

    def inform(self, volume: str, active: str, snapshots: Mapping[str, str]) -> None:
        """The document as the driver wrote it."""
        text = json.dumps({"active": active, **snapshots}, indent=1, sort_keys=True)
        self.put(self.names(volume).info, text.encode())

    def put(self, name: str, data: bytes) -> None:
        """A file."""
        pieces = [(at, data[at : at + MIB]) for at in range(0, len(data), MIB)]
        with closing(self.files.create(name)) as storage:
            storage.truncate(len(data))
            storage.write([(at, piece) for at, piece in pieces if piece.count(0) < len(piece)])

    def bytes_of(self, name: str) -> bytes:
        """All of a file."""
        with closing(self.files.open(name, Access.INSPECT)) as storage:
            data = bytearray(storage.size())
            storage.read([(0, memoryview(data))])
            return bytes(data)


def content(files: FileSystem, path: str) -> Content:
    """What a guest would see of a file and the layers under it."""
    with closing(NativeEngine().open_chain(files, path)) as chain:
        data, size = chain.read(0, chain.size), chain.size
    pieces = ((at, data[at : at + _PIECE]) for at in range(0, size, _PIECE))
    parts = (range(at, at + len(piece), SECTOR) for at, piece in pieces if piece.count(0) < len(piece))
    sectors = {at // SECTOR: data[at : at + SECTOR] for part in parts for at in part}
    return {-1: size} | {number: _told(sector) for number, sector in sectors.items() if any(sector)}


def _told(sector: bytes) -> int:
    """The byte that a sector is filled with, or a larger number that stands for what is in it."""
    return sector[0] if sector.count(sector[0]) == SECTOR else 256 + zlib.crc32(sector)
