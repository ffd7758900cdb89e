"""VHDs made, opened and modelled: every layer a byte string, newest first. Layer 0 is the leaf."""

from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

from tests.support.disks import MIB, counting_ids, holds, pattern
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.image.base import CreateOptions, DiskType, Image, ImageFormat, ImageInfo, ParentLink
from vhdx.image.vhd.create import create_vhd
from vhdx.image.vhd.file import VhdCommitOrder
from vhdx.image.vhd.open import open_vhd
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.transfer import pread
from vhdx.verbs.compact import compact
from vhdx.verbs.merge import merge, pull

SECTOR = 512
KINDS = ("dynamic", "differencing", "fixed")


def vhd_id(number: int) -> UUID:
    """The unique id of the image made as the *number*th."""
    return UUID(int=0x1000 + number)


def link_to(number: int) -> ParentLink:
    """How a child records that image."""
    name = f"{number}.vhd"
    paths = {"relative_path": f".\\{name}", "absolute_win32_path": f"C:\\disks\\{name}", "parent_name": name}
    return ParentLink(vhd_id(number), None, paths)


def make(
    files: FileSystem,
    number: int,
    size: int,
    *,
    options: CreateOptions | None = None,
    parent: ParentLink | None = None,
) -> Image:
    """The *number*th image, open and being built."""
    return create_vhd(
        files.create(f"{number}.vhd"),
        size=size,
        disk_id=vhd_id(number),
        new_id=counting_ids(),
        options=options,
        parent=parent,
    )


def opened(
    files: FileSystem, path: str, *, writable: bool = False, order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE
) -> Image:
    """One image by itself."""
    access = Access.WRITE if writable else Access.READ
    return open_vhd(files.open(path, access), new_id=counting_ids(), order=order)


def info_of(files: FileSystem, path: str) -> ImageInfo:
    """What an image says of itself."""
    image = opened(files, path)
    info = image.info
    image.close()
    return info


def chain_of(
    files: FileSystem, paths: list[str], *, writable: int = 0, order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE
) -> Chain:
    """The layers of a disk, leaf first; each is checked to be the parent of the one above."""
    images = [opened(files, path, writable=number < writable, order=order) for number, path in enumerate(paths)]
    for child, parent in pairwise(images):
        link = child.info.parent
        assert link is not None
        assert link.accepts(parent.info.linkage)
    assert images[-1].info.parent is None
    return Chain([Layer(path, image) for path, image in zip(paths, images, strict=True)])


def file_bytes(files: FileSystem, path: str) -> bytes:
    """Everything in a file."""
    storage = files.open(path, Access.INSPECT)
    data = pread(storage, 0, storage.size())
    storage.close()
    return data


def patch(files: FileSystem, path: str, offset: int, data: bytes) -> None:
    """Put bytes into a file; a negative offset counts from its end."""
    storage = files.open(path, Access.WRITE)
    storage.write([(offset if offset >= 0 else storage.size() + offset, data)])
    storage.close()


@dataclass
class VhdDisk:
    """A chain of VHDs and its model, changed together."""

    files: FileSystem
    paths: list[str] = field(default_factory=list)
    contents: list[bytearray] = field(default_factory=list)
    block_size: int = MIB
    made: int = 0
    chain: Chain | None = None
    order: VhdCommitOrder = VhdCommitOrder.PAYLOAD_TABLE

    @classmethod
    def create(cls, files: FileSystem, size: int, *, kind: str = "dynamic", block_size: int = MIB) -> "VhdDisk":
        disk = cls(files, block_size=block_size)
        options = CreateOptions(format=ImageFormat.VHD, fixed=kind == "fixed", block_size=block_size)
        make(files, 0, size, options=options).close()
        disk.paths, disk.contents, disk.made = ["0.vhd"], [bytearray(size)], 1
        if kind == "differencing":
            disk.write(0, pattern(1000, size - size // 4 // SECTOR * SECTOR))
            disk.snapshot()
        return disk

    @property
    def open(self) -> Chain:
        if self.chain is None:
            self.chain = chain_of(self.files, self.paths, writable=1, order=self.order)
        return self.chain

    @property
    def size(self) -> int:
        return len(self.contents[0])

    def close(self) -> None:
        if self.chain is not None:
            self.chain.close()
            self.chain = None

    def write(self, offset: int, data: bytes) -> None:
        self.open.write(offset, data)
        self.contents[0][offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        self.open.zero(offset, length)
        self.contents[0][offset : offset + length] = bytes(length)

    def discard(self, offset: int, length: int) -> None:
        self.open.discard(offset, length)
        if self.open.leaf.info.type is not DiskType.DYNAMIC:
            return
        for start in range(-(-offset // self.block_size) * self.block_size, self.size, self.block_size):
            end = min(start + self.block_size, self.size)
            if end <= offset + length:
                self.contents[0][start:end] = bytes(end - start)

    def snapshot(self, size: int | None = None) -> None:
        self.close()
        number, below = self.made, self.contents[0]
        wanted = len(below) if size is None else size
        options = CreateOptions(format=ImageFormat.VHD, block_size=self.block_size)
        parent = link_to(int(self.paths[0].removesuffix(".vhd")))
        make(self.files, number, wanted, options=options, parent=parent).close()
        self.made += 1
        self.paths.insert(0, f"{number}.vhd")
        self.contents.insert(0, bytearray(below[:wanted].ljust(wanted, b"\0")))

    def resize(self, size: int) -> None:
        below = len(self.contents[1]) if len(self.contents) > 1 else 0
        self.open.leaf.resize(size, below=below)
        self.contents[0] = bytearray(self.contents[0][:size].ljust(size, b"\0"))

    def merge_down(self) -> None:
        """The leaf into its parent."""
        self.close()
        self.chain = chain_of(self.files, self.paths, writable=2)
        below = len(self.contents[2]) if len(self.contents) > 2 else 0
        merge(self.chain.images[:2], below=below, new_id=counting_ids())
        self.close()
        del self.paths[0], self.contents[1]

    def detach(self) -> None:
        """Everything into the leaf, which then stands alone."""
        pull(self.open.images, parent=None)
        self.close()
        del self.paths[1:], self.contents[1:]

    def relink(self) -> None:
        """The record of the leaf's parent, written once more and longer."""
        link = self.open.leaf.info.parent
        assert link is not None
        longer = ParentLink(link.linkage, None, {**link.paths, "absolute_win32_path": "C:\\" + "x" * 3000 + ".vhd"})
        self.open.leaf.set_parent(longer if len(link.paths["absolute_win32_path"]) < 100 else link_to_same(link))

    def compact(self) -> None:
        if self.open.leaf.info.block_size is not None:
            compact(self.open)

    def check(self) -> None:
        """Every layer, read as a disk of its own, holds what the model says."""
        self.close()
        for number, content in enumerate(self.contents):
            with chain_of(self.files, self.paths[number:]) as chain:
                assert chain.size == len(content)
                assert holds(chain, content), f"{self.paths[number]} differs"


def link_to_same(link: ParentLink) -> ParentLink:
    """A link with its absolute path short again."""
    return ParentLink(link.linkage, None, {**link.paths, "absolute_win32_path": "C:\\p.vhd"})
