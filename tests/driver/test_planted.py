"""What a guest writes at the start and the end of its disk is its own: no operation takes it for a format.

In every shape a volume goes through every operation with a signature planted in both places, in each layer, and is
held against a model all the way.
"""

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from smbfs_driver.volumes import info, journal, moving, plans
from smbfs_driver.volumes.managing import candidates
from smbfs_driver.volumes.moving import Destination
from smbfs_driver.volumes.names import DiskFormat, VolumeNames, may_be_related
from smbfs_driver.volumes.receiving import Announced, Digest, Sink
from smbfs_driver.volumes.shape import Shape
from smbfs_driver.volumes.volumes import ForeignImage, Volumes
from tests.driver.kits import OTHER, VOLUME, A, B, C
from tests.support.disks import MIB
from tests.support.memory import MemoryFileSystem
from vhdx.chain.parents import ParentPolicy
from vhdx.check import Severity
from vhdx.format import vhd_footer
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pread
from vhdx.verbs.engine import NativeEngine

SIZE = 6 * MIB
SHAPES = [Shape(format, fixed) for format in DiskFormat for fixed in (False, True)]
ENGINE = NativeEngine(policy=ParentPolicy(related=may_be_related))
THIRD = f"volume-{UUID(int=3)}"


def _whole(format: ImageFormat, *, fixed: bool = False) -> bytes:
    """A sound image of its own, as a guest can write it over the start of its disk."""
    files = MemoryFileSystem()
    ENGINE.create(files, "image", MIB, CreateOptions(format=format, fixed=fixed, block_size=None if fixed else MIB))
    with closing(ENGINE.open_chain(files, "image", writable=1, format=format)) as chain:
        chain.write(0, b"not what the volume holds".ljust(512))
    with closing(files.open("image", Access.READ)) as storage:
        return pread(storage, 0, storage.size())


def _bare(text: bytes) -> tuple[bytes, bytes]:
    return text, text.ljust(512, b"\1")


_FOOTER = vhd_footer.build(
    vhd_footer.new_footer(vhd_footer.VhdType.FIXED, SIZE - 512, UUID(int=9), data_offset=vhd_footer.NO_OFFSET, stamp=0)
)
PLANTED: dict[str, tuple[bytes, bytes]] = {
    "vhdxfile": (b"vhdxfile", _FOOTER),
    "conectix": _bare(b"conectix"),
    "v_poison": _bare(b"v_poison"),
    "QFI": _bare(b"QFI\xfb\0\0\0\3"),
    "KDMV": _bare(b"KDMV\1\0\0\0"),
    "cxsparse": _bare(b"cxsparse"),
    "gzip": _bare(b"\x1f\x8b\x08\0"),
    "whole VHD": (_whole(ImageFormat.VHD), b"conectix".ljust(512, b"\1")),
    "whole VHDX": (_whole(ImageFormat.VHDX), _FOOTER),
}
"""What is put at the start of a disk, and what in its last bytes."""
_TELLING = ("vhdxfile", "whole VHD")
CASES = [
    pytest.param(what, shape, id=f"{what}-{shape.format.value}-{'fixed' if shape.fixed else 'dynamic'}", marks=marks)
    for what in PLANTED
    for marks in ([] if what in _TELLING else [pytest.mark.more],)
    for shape in SHAPES
]


@dataclass
class Walk:
    """One volume on a share, its model, and the guest who plants *start* and *end*."""

    files: FileSystem
    start: bytes
    end: bytes
    shape: Shape
    models: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.volumes = Volumes(self.files, ENGINE)
        self.content = bytearray(SIZE)

    @property
    def format(self) -> ImageFormat:
        return ImageFormat(self.shape.format.value)

    def guest(self, number: int, volume: str = VOLUME) -> None:
        """Write both places again, and something else."""
        path = self.volumes.active(volume)
        with closing(ENGINE.open_chain(self.files, path, writable=1, orphan=True, format=self.format)) as chain:
            size = chain.size
            for offset, data in (
                (0, self.start),
                (size - 65536 + number * 512, bytes([number]) * 512),
                (size - len(self.end), self.end),
            ):
                chain.write(offset, data)
                self.content[offset : offset + len(data)] = data

    def look(self, path: str, *, files: FileSystem | None = None, format: ImageFormat | None = None) -> bytes:
        with closing(ENGINE.open_chain(files or self.files, path, format=format or self.format)) as chain:
            return chain.read(0, chain.size)

    def check(self, volume: str = VOLUME) -> None:
        """The volume shows what the model says, now and at its snapshots; no rule is broken."""
        assert self.volumes.size(volume) == len(self.content)
        path = self.volumes.active(volume)
        assert self.look(path) == self.content, "the volume"
        found = [one for one in ENGINE.check(self.files, path, format=self.format) if one.severity is Severity.ERROR]
        assert not found
        document = info.load(self.files, VolumeNames(volume, self.shape.format))
        chain = self.volumes.chain(volume)
        for snapshot, file in document.snapshots.items():
            assert self.look(chain[chain.index(file) + 1]) == self.models[snapshot], "a snapshot"
            assert self.volumes.snapshot_size(volume, snapshot) == len(self.models[snapshot])

    def snapshot(self, snapshot_id: str) -> None:
        self.models[snapshot_id] = bytes(self.content)
        self.volumes.create_snapshot(VOLUME, snapshot_id)
        self.check()

    def same(self, volume: str, content: bytes, shape: Shape) -> None:
        """Another volume shows *content*; it is deleted."""
        path = self.volumes.active(volume)
        assert self.look(path, format=ImageFormat(shape.format.value)) == content
        self.volumes.delete(volume)

    def stop(self, plan: plans.Plan) -> None:
        """Leave what is left of an operation that was stopped before its first step."""
        with closing(self.files.create(VolumeNames(VOLUME, self.shape.format).intent)) as storage:
            storage.write([(0, journal.dump(plan.recovery))])


def _announced(data: bytes, format: DiskFormat) -> Announced:
    def fetch(sink: Sink) -> None:
        sink.write(data)

    return Announced(format, fetch, Digest("sha256", hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize(("what", "shape"), CASES)
def test_a_volume_is_what_its_name_says(tmp_path: Path, what: str, shape: Shape) -> None:
    files = MemoryFileSystem() if what in _TELLING else LocalFileSystem(tmp_path)
    walk = Walk(files, *PLANTED[what], shape)
    walk.volumes.create(VOLUME, SIZE, shape)
    if walk.format is ImageFormat.VHDX or not shape.fixed:
        # With blocks as small as these the end of the disk is the end of the file.
        options = CreateOptions(format=walk.format, fixed=shape.fixed, block_size=MIB)
        ENGINE.create(walk.files, walk.volumes.active(VOLUME), SIZE, options, replace=True)
    for step in (_alone, _with_snapshots, _grown, _shaped, _moved, _from_elsewhere, _managed):
        step(walk)
    walk.volumes.delete(VOLUME)
    assert walk.files.list("") == []


def _alone(walk: Walk) -> None:
    walk.guest(1)
    if walk.format is ImageFormat.VHDX:
        with closing(walk.files.open(walk.volumes.active(VOLUME), Access.INSPECT)) as storage:
            assert pread(storage, storage.size() - len(walk.end), len(walk.end)) == walk.end, "at the end of the file"
    walk.check()
    assert moving.kept(walk.volumes.shelf, VOLUME).shape == walk.shape
    for shape in SHAPES:
        walk.volumes.clone(OTHER, VOLUME, SIZE, shape=shape)
        walk.same(OTHER, bytes(walk.content), shape)


def _with_snapshots(walk: Walk) -> None:
    volumes = walk.volumes
    for number, snapshot in enumerate((A, B), start=2):
        walk.snapshot(snapshot)
        walk.guest(number)
        walk.check()
    volumes.create_from_snapshot(OTHER, VOLUME, B, SIZE, shape=walk.shape)
    walk.same(OTHER, walk.models[B], walk.shape)
    out = MemoryFileSystem()
    for format in ImageFormat:
        volumes.export(VOLUME, out, "image", CreateOptions(format=format))
        assert walk.look("image", files=out, format=format) == walk.content
        out.remove("image")
    volumes.delete_snapshot(VOLUME, A)
    walk.check()
    volumes.rename_snapshot(VOLUME, B, C)
    walk.models[C] = walk.models[B]
    volumes.revert(VOLUME, C)
    walk.content[:] = walk.models[C]
    walk.check()
    walk.guest(4)
    walk.snapshot(A)
    walk.guest(5)
    # Stopped before the first step, a deletion of what is in the middle and then of the latest is finished.
    for snapshot in (C, A):
        walk.stop(plans.delete_snapshot(volumes.shelf.state(volumes.shelf.find(VOLUME)), snapshot))
        assert not volumes.recover().failed
        assert not volumes.has_snapshot(VOLUME, snapshot)
        walk.check()


def _grown(walk: Walk) -> None:
    walk.volumes.extend(VOLUME, 2 * SIZE)
    walk.content.extend(bytes(SIZE))
    walk.check()
    walk.guest(6)
    walk.check()


def _shaped(walk: Walk) -> None:
    walk.volumes.rename(VOLUME, OTHER)
    walk.check(OTHER)
    walk.volumes.rename(OTHER, VOLUME)
    home = walk.shape
    for shape in (*SHAPES, home):
        moving.reshape(walk.volumes.shelf, VOLUME, shape)
        walk.shape = shape
        walk.check()


def _moved(walk: Walk) -> None:
    other = MemoryFileSystem()
    there = Volumes(other, ENGINE)
    destination = Destination("//server/there", there.shelf)
    moving.move(walk.volumes.shelf, VOLUME, destination, owner="it", shape=walk.shape, entered=lambda: None)
    assert walk.look(there.active(VOLUME), files=other) == walk.content
    moving.move(
        there.shelf, VOLUME, Destination("//server/here", walk.volumes.shelf),
        owner="it", shape=walk.shape, entered=lambda: None,
    )
    walk.check()


def _from_elsewhere(walk: Walk) -> None:
    out = MemoryFileSystem()
    for format in ImageFormat:
        walk.volumes.export(VOLUME, out, "image", CreateOptions(format=format))
        walk.volumes.create(THIRD, len(walk.content), walk.shape)
        for _ in range(2):
            walk.volumes.load(THIRD, ForeignImage(out, "image", format), len(walk.content), walk.shape)
        walk.same(THIRD, bytes(walk.content), walk.shape)
        if format is not ImageFormat.RAW:
            with closing(out.open("image", Access.READ)) as storage:
                data = pread(storage, 0, storage.size())
            image = _announced(data, DiskFormat(format.value))
            walk.volumes.receive(THIRD, image, len(walk.content), walk.shape)
            walk.same(THIRD, bytes(walk.content), walk.shape)
        out.remove("image")


def _managed(walk: Walk) -> None:
    path = f"Disk.{walk.shape.format.value}"
    walk.files.rename(walk.volumes.active(VOLUME), path, replace=False)
    (found,) = candidates(walk.files, "//server/here", ENGINE, ())
    assert (found.reason, found.volume, found.size) == ("", None, 1)
    walk.volumes.adopt(VOLUME, path, walk.shape.format)
    walk.check()
