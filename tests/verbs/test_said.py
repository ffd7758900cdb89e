"""What a file is is said, or follows from its relatives: a guest's marks stop no verb, and hide and make no child."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

import vhdx
from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.lineage import LinkVerdict, ancestry
from vhdx.chain.parents import DEFAULT_POLICY
from vhdx.errors import HasChildren, Unrecognised
from vhdx.format import vhd_checksum, vhd_footer
from vhdx.format.vhd_footer import VhdType
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.verbs.engine import NativeEngine

VHD, VHDX, RAW = ImageFormat.VHD, ImageFormat.VHDX, ImageFormat.RAW
ENGINE = NativeEngine()
SIZE = 4 * MIB


class Family:
    """base below child below leaf, and twin beside leaf; every one that can carries the marks of two formats."""

    def __init__(self, format: ImageFormat) -> None:
        self.files = MemoryFileSystem()
        self.format = format
        self.base, self.child, self.leaf, self.twin = (f"{name}.{format}" for name in ("base", "child", "leaf", "twin"))
        options = CreateOptions(format=format, fixed=format is VHD, block_size=None if format is VHD else MIB)
        ENGINE.create(self.files, self.base, SIZE, options)
        self.write(self.base, pattern(1, SIZE))
        self.make(self.child, self.base)
        self.make(self.leaf, self.child)
        self.make(self.twin, self.child)

    def make(self, path: str, parent: str) -> None:
        ENGINE.create_child(self.files, path, parent, parent_format=self.format)
        self.write(path, b"what is above")

    def write(self, path: str, data: bytes) -> None:
        """As a guest that plants marks at both ends; the blocks of a VHDX end where its disk does."""
        with ENGINE.open_chain(self.files, path, writable=1, orphan=True, format=self.format) as chain:
            chain.write(0, b"vhdxfile")
            chain.write(MIB, data[: SIZE - MIB])
            chain.write(SIZE - 512, FOOTER)

    def read(self, path: str) -> bytes:
        with ENGINE.open_chain(self.files, path, format=self.format) as chain:
            return chain.read(0, chain.size)


FOOTER = vhd_footer.build(
    vhd_footer.new_footer(VhdType.FIXED, SIZE, uuid4(), data_offset=vhd_footer.NO_OFFSET, stamp=0)
)
VERBS: dict[str, Callable[[Family, ImageFormat | None], object]] = {
    "info": lambda f, said: ENGINE.info(f.files, f.base, format=said),
    "layers": lambda f, said: ENGINE.layers(f.files, f.base, format=said),
    "children": lambda f, said: ENGINE.children(f.files, f.base, format=said),
    "create_child": lambda f, said: ENGINE.create_child(f.files, "new", f.base, parent_format=said),
    "create_child, replacing": lambda f, said: ENGINE.create_child(
        f.files, f.leaf, f.child if said else f.base, parent_format=said, replace=True
    ),
    "relink": lambda f, said: ENGINE.relink(f.files, f.child, f.base, format=said),
    "resize": lambda f, said: ENGINE.resize(f.files, f.base, SIZE, orphan=True, format=said),
    "compact": lambda f, said: ENGINE.compact(f.files, f.leaf if said else f.base, format=said),
    "replay": lambda f, said: ENGINE.replay(f.files, f.base, format=said),
    "convert": lambda f, said: ENGINE.convert(f.files, f.base, f.files, "new", source_format=said),
    "plan_repair": lambda f, said: ENGINE.plan_repair(f.files, f.base, format=said),
    "plan_merge": lambda f, said: ENGINE.plan_merge(f.files, f.leaf if said else f.base, f.base, format=said),
    "open_chain": lambda f, said: ENGINE.open_chain(f.files, f.base, format=said).close(),
}


@pytest.mark.parametrize("format", [VHD, VHDX])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_told_does_not_look_at_marks(verb: str, format: ImageFormat) -> None:
    family = Family(format)
    with pytest.raises(Unrecognised, match="marks of a VHDX and of a VHD"):
        VERBS[verb](family, None)
    VERBS[verb](family, format)


@pytest.mark.parametrize("format", [VHD, VHDX])
def test_what_is_under_and_beside_is_of_the_same_format(format: ImageFormat) -> None:
    family = Family(format)
    files = family.files
    assert ENGINE.layers(files, family.leaf, format=format) == [family.leaf, family.child, family.base]
    assert ENGINE.children(files, family.child, format=format) == [family.leaf, family.twin]
    found = list(ancestry(files, family.leaf, policy=DEFAULT_POLICY, new_id=uuid4, format=format))
    assert [one.path for one in found] == [family.leaf, family.child, family.base]
    assert found[0].siblings == (family.twin,)
    files.rename(family.base, f"renamed.{format}", replace=False)
    broken = list(ancestry(files, family.leaf, policy=DEFAULT_POLICY, new_id=uuid4, format=format))[-1].link
    assert broken is not None
    assert (broken.verdict, broken.renamed) == (LinkVerdict.MISSING, (f"renamed.{format}",))
    files.rename(f"renamed.{format}", family.base, replace=False)
    assert not [one for one in ENGINE.check(files, family.leaf, format=format) if one.severity.value == "error"]


@pytest.mark.parametrize("format", [VHD, VHDX])
def test_a_child_with_the_marks_of_another_format_protects_its_parent(format: ImageFormat) -> None:
    family, raw = Family(format), CreateOptions(format=RAW)
    files = family.files
    for change in (
        lambda: ENGINE.open_chain(files, family.base, writable=1, format=format),
        lambda: ENGINE.resize(files, family.child, 2 * SIZE, format=format),
        lambda: ENGINE.merge(files, family.leaf, family.base, format=format),
        lambda: ENGINE.create(files, family.child, SIZE, CreateOptions(format=format), replace=True),
        lambda: ENGINE.create(files, family.base, SIZE, CreateOptions(format=VHD), replace=True),
        lambda: ENGINE.create(files, family.base, SIZE, CreateOptions(format=VHDX), replace=True),
        lambda: ENGINE.convert(
            files, family.twin, files, family.base, source_format=format, options=raw, replace=True
        ),
    ):
        with pytest.raises((HasChildren, vhdx.Error), match=r"is the parent of|is a layer of"):
            change()
    assert family.read(family.leaf)[:8] == b"vhdxfile"


@pytest.mark.parametrize("format", [VHD, VHDX])
def test_a_merge_leaves_nothing_because_of_a_disk_of_another_format(format: ImageFormat) -> None:
    """It carries the mark of the chain's format, nothing else of it, and cannot name anything in it."""
    family = Family(format)
    files = family.files
    other = VHDX if format is VHD else VHD
    ENGINE.create(files, "other", SIZE, CreateOptions(format=other, fixed=other is VHD, block_size=None))
    with ENGINE.open_chain(files, "other", writable=1, format=other) as chain:
        chain.write(0, b"vhdxfile and rubbish")
        chain.write(SIZE - 512, b"conectix and rubbish".ljust(512))
    files.remove(family.twin)
    content = family.read(family.leaf)
    assert ENGINE.merge(files, family.leaf, family.base, remove=True, format=format) == family.base
    assert family.read(family.base) == content
    assert sorted(files.list("")) == [family.base, "other"]


def test_nothing_is_replaced_that_may_be_an_image_this_version_cannot_read() -> None:
    """A guest's nonsense in a sound image of the format that is to be there is none of that."""
    unknown = vhd_footer.build(
        vhd_footer.new_footer(VhdType.FIXED, SIZE, uuid4(), data_offset=vhd_footer.NO_OFFSET, stamp=0)
    )
    unknown = vhd_checksum.seal(unknown[:12] + b"\0\2" + unknown[14:], field=64)
    files = MemoryFileSystem()
    ENGINE.create(files, "a.vhdx", SIZE, CreateOptions(block_size=MIB))
    with ENGINE.open_chain(files, "a.vhdx", writable=1) as chain:
        chain.write(SIZE - 512, unknown)
    ENGINE.create(files, "a.vhdx", SIZE, replace=True)
    with closing(files.create("b.vhd")) as storage:
        storage.write([(0, bytes(MIB) + unknown)])
    with pytest.raises(vhdx.UnsupportedFeature):
        ENGINE.create(files, "b.vhd", SIZE, CreateOptions(format=VHD), replace=True)


def test_a_disk_of_the_api_over_a_parent_with_two_marks(tmp_path: Path) -> None:
    base, child = tmp_path / "base.vhd", tmp_path / "child.vhd"
    vhdx.create(base, MIB, options=CreateOptions(format=VHD, fixed=True))
    with vhdx.open(base, writable=True) as disk:
        disk.write(0, b"vhdxfile")
    with pytest.raises(Unrecognised):
        vhdx.create(child, parent=base)
    vhdx.create(child, parent=base, parent_format=VHD)
    with vhdx.open(child) as disk:
        assert disk.read(0, 8) == b"vhdxfile"
    with pytest.raises(vhdx.Error, match="parent_format requires a parent"):
        vhdx.create(tmp_path / "other.vhd", MIB, parent_format=VHD)
