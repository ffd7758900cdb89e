"""A format of three methods is read through a chain, merged under a layer and converted, and refuses every change."""

from collections.abc import Iterator

import pytest

from tests.support.disks import counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.chain import Chain
from vhdx.chain.parents import Layer
from vhdx.errors import ReadOnly
from vhdx.extents import Extent, Presence, Range
from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ImageInfo, LogState
from vhdx.image.create import create_image
from vhdx.image.read_only import ReadOnlyImage
from vhdx.storage.base import Access, Storage
from vhdx.verbs.convert import convert
from vhdx.verbs.engine import NativeEngine

MIB = 1 << 20


class Backwards:
    """A disk whose blocks of 1 MiB lie in the file in reverse order; every third one is not there."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._blocks = storage.size() // MIB

    @property
    def info(self) -> ImageInfo:
        return ImageInfo(
            format=ImageFormat.RAW,
            type=DiskType.DYNAMIC,
            virtual_size=self._blocks * MIB,
            block_size=MIB,
            logical_sector_size=512,
            physical_sector_size=512,
            disk_id=None,
            linkage=None,
            creator="",
            log=LogState.CLEAN,
            log_entries=0,
            parent=None,
        )

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        at = offset
        while at < offset + length:
            block, within = divmod(at, MIB)
            part = min(MIB - within, offset + length - at)
            if block % 3 == 2:
                yield Extent(at, part, Presence.NOT_PRESENT)
            else:
                yield Extent(at, part, Presence.DATA, (self._blocks - 1 - block) * MIB + within)
            at += part


@pytest.fixture
def files() -> MemoryFileSystem:
    files = MemoryFileSystem()
    storage = files.create("disk")
    for block in range(6):
        storage.write([((5 - block) * MIB, pattern(block + 1, MIB))])
    storage.close()
    return files


def expected() -> bytes:
    return b"".join(bytes(MIB) if block % 3 == 2 else pattern(block + 1, MIB) for block in range(6))


def opened(files: MemoryFileSystem) -> Chain:
    return Chain([Layer("disk", ReadOnlyImage(Backwards(files.open("disk", Access.READ))))])


def test_it_is_read(files: MemoryFileSystem) -> None:
    with opened(files) as chain:
        assert chain.read(0, chain.size) == expected()
        assert chain.read(MIB - 100, 2 * MIB) == expected()[MIB - 100 : 3 * MIB - 100]


def test_it_is_converted(files: MemoryFileSystem) -> None:
    with opened(files) as chain:
        ids = counting_ids(1)
        target = create_image(
            files.create("copy"), size=chain.size, disk_id=ids(), new_id=ids, options=CreateOptions(block_size=MIB)
        )
        convert(chain, target)
        target.close()
    with NativeEngine().open_chain(files, "copy") as copy:
        assert copy.read(0, copy.size) == expected()


def test_it_refuses_every_change(files: MemoryFileSystem) -> None:
    image = ReadOnlyImage(Backwards(files.open("disk", Access.READ)))
    changes = [
        lambda: image.allocate([Range(0, 512)]),
        lambda: image.zero(0, 512),
        lambda: image.discard(0, 512),
        lambda: image.drop_zeros([Range(0, MIB)], masked=False),
        lambda: image.resize(MIB),
        lambda: image.pack(lambda done, total: None),
        lambda: image.set_parent(None),
        image.begin,
    ]
    for change in changes:
        with pytest.raises(ReadOnly, match="only read"):
            change()
    assert not image.overwrite(0, bytes(512))
    with pytest.raises(ReadOnly):
        Chain([Layer("disk", image)]).write(0, bytes(512))
    image.flush()
    image.close()
