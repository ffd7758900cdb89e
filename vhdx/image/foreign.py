"""Files of other kinds that people take for images, each known by its first bytes, and what makes an image of it."""

from typing import NamedTuple

from vhdx.storage.base import Storage
from vhdx.storage.transfer import pread

_QEMU = "qemu-img convert -O vhdx FILE NEW.vhdx makes a VHDX of it"


class Foreign(NamedTuple):
    """A kind of file: what it is, and what to do with it."""

    name: str
    remedy: str


class _Mark(NamedTuple):
    offset: int
    magic: bytes
    kind: Foreign


def _unpacked(name: str, program: str) -> Foreign:
    return Foreign(f"compressed with {name}", f"{program} FILE > IMAGE unpacks it")


_MARKS = [
    _Mark(0, b"QFI\xfb", Foreign("a qcow2 image", _QEMU)),
    _Mark(0, b"QED\0", Foreign("a QED image", _QEMU)),
    _Mark(0, b"KDMV", Foreign("a VMDK image", _QEMU)),
    _Mark(0, b"COWD", Foreign("a VMDK image", _QEMU)),
    _Mark(
        0,
        b"# Disk DescriptorFile",
        Foreign("the descriptor of a VMDK image, whose data is in other files beside it", _QEMU),
    ),
    _Mark(64, b"\x7f\x10\xda\xbe", Foreign("a VDI image", _QEMU)),
    _Mark(0, b"WithoutFreeSpace", Foreign("an image of Parallels", _QEMU)),
    _Mark(0, b"WithouFreSpacExt", Foreign("an image of Parallels", _QEMU)),
    _Mark(0, b"\x1f\x8b", _unpacked("gzip", "gzip -dc")),
    _Mark(0, b"\xfd7zXZ\0", _unpacked("xz", "xz -dc")),
    _Mark(0, b"\x28\xb5\x2f\xfd", _unpacked("zstd", "zstd -dc")),
    _Mark(0, b"BZh", _unpacked("bzip2", "bzip2 -dc")),
    _Mark(0, b"\x04\x22\x4d\x18", _unpacked("lz4", "lz4 -dc")),
    _Mark(0, b"PK\x03\x04", Foreign("a zip archive", "unzip FILE unpacks it")),
    _Mark(0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", "7z x FILE unpacks it")),
    _Mark(257, b"ustar", Foreign("a tar archive (an .ova is one)", "tar -xf FILE unpacks it")),
    _Mark(
        32769,
        b"CD001",
        Foreign("an ISO 9660 image", "attach it as a DVD as it is; to take it for a disk, say that it is raw"),
    ),
]
_DISK_MARKS = [
    (510, b"\x55\xaa"),  # a boot sector: MBR, FAT, NTFS
    (512, b"EFI PART"),
    (4096, b"EFI PART"),
    (1080, b"\x53\xef"),  # ext2 and its successors
    (0, b"XFSB"),
    (65600, b"_BHRfS_M"),
    (512, b"LABELONE"),
    (0, b"LUKS\xba\xbe"),
]
_EMPTY = Foreign("empty", "get the file again, or make an image with vhdx-img create")


def foreign(storage: Storage) -> Foreign | None:
    """What the file is, by its content; None where it has none of these marks. A guest can write each of them."""
    size = storage.size()
    if not size:
        return _EMPTY
    for offset, magic, kind in _MARKS:
        if offset + len(magic) <= size and pread(storage, offset, len(magic)) == magic:
            return kind
    return None


def is_disk(storage: Storage) -> bool:
    """Whether the bytes begin as a disk's do: with a boot sector, a partition table, a file system or a volume."""
    size = storage.size()
    return any(
        offset + len(magic) <= size and pread(storage, offset, len(magic)) == magic for offset, magic in _DISK_MARKS
    )
