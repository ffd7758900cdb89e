"""Relinking: only to what a child was made over, unless it is forced, and that is told of and can be taken back."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Fault, WatchedFileSystem
from vhdx.chain.forced import note_of, standing
from vhdx.chain.lineage import ancestry
from vhdx.chain.parents import ParentPolicy
from vhdx.check import Severity, check_chain
from vhdx.errors import Error, FormatError, ParentMismatch, WrongParent
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pwrite
from vhdx.verbs.engine import Direction, NativeEngine

SIZE = 4 * MIB
FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> ImageFormat:
    found: ImageFormat = request.param
    return found


@pytest.fixture
def files(format: ImageFormat) -> MemoryFileSystem:
    """child over base, and other, which is another disk."""
    files, engine = MemoryFileSystem(), NativeEngine()
    for number, name in enumerate(("base", "other"), 1):
        engine.create(files, name, SIZE, CreateOptions(format=format, block_size=MIB))
        with engine.open_chain(files, name, writable=1) as chain:
            chain.write(0, pattern(number, 4096))
    engine.create_child(files, "child", "base")
    return files


def parent_of(files: MemoryFileSystem, path: str = "child") -> ParentLink:
    link = NativeEngine().info(files, path).parent
    assert link is not None
    return link


def told(files: MemoryFileSystem, path: str = "child") -> tuple[bool, bool]:
    """Whether `check` and `chain` tell of a forced link."""
    found = [one for one in check_chain(files, path, new_id=uuid4) if one.code == "chain-forced"]
    assert all(one.severity is Severity.WARNING for one in found)
    alone = list(NativeEngine().check(files, path, chain=False))
    assert [one for one in alone if one.code == "chain-forced"] == found
    member = next(ancestry(files, path, policy=ParentPolicy(), new_id=uuid4))
    return bool(found), member.link is not None and bool(member.link.forced)


def change(files: MemoryFileSystem) -> str:
    """base, changed since; its id tells only in a VHDX, so there it is the same file."""
    with NativeEngine().open_chain(files, "base", writable=1, orphan=True) as chain:
        chain.write(0, b"changed")
    return "base"


def grow(files: MemoryFileSystem) -> str:
    NativeEngine().resize(files, "base", 2 * SIZE, orphan=True)
    return "base"


DIFFERENT: dict[str, tuple[Callable[[MemoryFileSystem], str], set[ImageFormat], tuple[str, ...]]] = {
    "another disk": (lambda files: "other", set(FORMATS), ("its id is", "recorded is")),
    "changed since": (change, {ImageFormat.VHDX}, ("its id is",)),
    "grown since": (grow, set(FORMATS), ("its disk has 8388608 bytes, that of the image 4194304",)),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_parent_that_the_child_was_not_made_over(case: str, files: MemoryFileSystem, format: ImageFormat) -> None:
    make, formats, words = DIFFERENT[case]
    if format not in formats:
        make = DIFFERENT["another disk"][0]
        words = DIFFERENT["another disk"][2]
    parent = make(files)
    engine, old = NativeEngine(), parent_of(files)
    before = files.fingerprint("child")
    with pytest.raises(WrongParent) as caught:
        engine.relink(files, "child", parent)
    for word in words:
        assert word in str(caught.value)
    if case == "another disk" and format is ImageFormat.VHDX:
        assert "its disk id is" in str(caught.value)
    assert files.fingerprint("child") == before
    assert note_of("child") not in files.list("")

    engine.relink(files, "child", parent, force=True)
    assert engine.layers(files, "child") == ["child", parent]
    assert told(files) == (True, True)
    with engine.open_chain(files, "child", writable=1) as chain:
        chain.write(MIB, b"written since")
    engine.relink(files, "child", parent)
    assert told(files) == (True, True), "as long as it records what was forced"

    engine.undo_relink(files, "child")
    assert parent_of(files) == old
    assert told(files) == (False, False)
    assert note_of("child") not in files.list("")
    with pytest.raises(Error, match="no parent was forced"):
        engine.undo_relink(files, "child")


def test_a_parent_under_another_name_needs_no_force_and_is_not_told_of(files: MemoryFileSystem) -> None:
    files.rename("base", "moved", replace=False)
    NativeEngine().relink(files, "child", "moved")
    assert told(files) == (False, False)
    assert note_of("child") not in files.list("")


def test_a_child_that_grew_over_its_vhdx_parent_still_knows_it() -> None:
    """Its id is that of this very state, so the size says nothing more."""
    files, engine = MemoryFileSystem(), NativeEngine()
    engine.create(files, "base", SIZE)
    engine.create_child(files, "child", "base", size=2 * SIZE)
    files.rename("base", "moved", replace=False)
    engine.relink(files, "child", "moved")
    assert engine.layers(files, "child") == ["child", "moved"]


def test_other_sectors_cannot_be_forced() -> None:
    files, engine = MemoryFileSystem(), NativeEngine()
    for name, sector in (("base", 512), ("other", 4096)):
        engine.create(files, name, SIZE, CreateOptions(logical_sector_size=sector))
    engine.create_child(files, "child", "base")
    for force in (False, True):
        with pytest.raises(Error, match="its sectors have 4096 bytes, those of the image 512"):
            engine.relink(files, "child", "other", force=force)
    assert engine.layers(files, "child") == ["child", "base"]


def test_a_second_time_keeps_the_first_record(files: MemoryFileSystem) -> None:
    engine, old = NativeEngine(), parent_of(files)
    engine.relink(files, "child", "other", force=True)
    first = parent_of(files)
    engine.relink(files, "child", "base", force=True)
    assert told(files) == (True, True)
    engine.undo_relink(files, "child")
    assert (parent_of(files), told(files)) == (first, (True, True))
    engine.undo_relink(files, "child")
    assert (parent_of(files), told(files)) == (old, (False, False))


@pytest.mark.parametrize("direction", [Direction.DOWN, Direction.UP])
def test_merging_goes_on_over_a_forced_link_and_keeps_the_mark(
    direction: Direction, files: MemoryFileSystem
) -> None:
    """What is relinked after a merge is known to fit; what was forced above or below stays told of."""
    engine = NativeEngine()
    engine.create_child(files, "middle", "other")
    engine.create_child(files, "top", "child")
    engine.relink(files, "top", "middle", force=True)
    assert told(files, "top") == (True, True)
    engine.create_child(files, "leaf", "top")
    if direction is Direction.DOWN:
        engine.merge(files, "middle", "other", remove=True)
        assert engine.layers(files, "leaf") == ["leaf", "top", "other"]
        assert told(files, "top") == (True, True)
    else:
        engine.merge(files, "leaf", "top", direction=direction, remove=True)
        assert engine.layers(files, "leaf") == ["leaf", "middle", "other"]
        assert told(files, "leaf") == (True, True)


def test_a_new_image_of_the_name_is_not_marked(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.relink(files, "child", "other", force=True)
    engine.create_child(files, "child", "other", replace=True)
    assert told(files) == (False, False)


def test_what_only_has_the_name_of_a_note_stays(files: MemoryFileSystem) -> None:
    """A new image forgets what was forced on the one before it, and merged ones go with their notes."""
    engine = NativeEngine()
    for name in ("child", "other", "leaf"):
        storage = files.create(note_of(name))
        pwrite(storage, 0, b"somebody's only copy")
        storage.close()
    engine.create_child(files, "leaf", "child")
    engine.create_child(files, "leaf", "child", replace=True)
    engine.merge(files, "leaf", "child", remove=True)
    assert sorted(files.list("")) == ["base", "child", "child.forced", "leaf.forced", "other", "other.forced"]


def test_a_note_that_cannot_be_read_does_not_keep_what_was_merged_from_being_linked(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.create_child(files, "leaf", "child")
    with engine.open_chain(files, "child", writable=1, orphan=True) as chain:
        chain.write(0, pattern(1, 512))
    engine.relink(files, "leaf", "child", merged=True)
    storage = files.create(note_of("leaf"))
    pwrite(storage, 0, b"no note")
    storage.close()
    engine.merge(files, "child", "base")
    engine.relink(files, "leaf", "base", merged=True)
    assert engine.layers(files, "leaf") == ["leaf", "base"]


def test_a_name_too_long_for_a_note_is_none_for_an_image(tmp_path: Path) -> None:
    engine, files = NativeEngine(), LocalFileSystem(tmp_path)
    engine.create(files, "base", 1 << 20)
    name = "n" * 252
    engine.create_child(files, name, "base")
    assert engine.layers(files, name) == [name, "base"]
    engine.merge(files, name, "base", remove=True)
    assert files.list("") == ["base"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b'{"version": 2, "forced": []}', b"\xff" * 100])
def test_a_note_that_cannot_be_read_is_told_of_and_hinders_no_reading(
    content: bytes, files: MemoryFileSystem
) -> None:
    storage = files.create(note_of("child"))
    pwrite(storage, 0, content)
    storage.close()
    assert told(files) == (True, True)
    assert NativeEngine().layers(files, "child") == ["child", "base"]
    with pytest.raises(FormatError, match="cannot be read"):
        NativeEngine().undo_relink(files, "child")


@pytest.mark.parametrize("forward", [True, False])
def test_a_stop_leaves_the_old_record_or_the_new_one_with_its_mark(forward: bool, files: MemoryFileSystem) -> None:
    engine, old = NativeEngine(), parent_of(files)
    if not forward:
        engine.relink(files, "child", "other", force=True)
    start = files.snapshot()
    at, fired = 0, True
    while fired:
        here = MemoryFileSystem({path: pages.copy() for path, pages in start.items()})
        fault = Fault(at, OSError(5, "the cable came loose"), lasting=True)
        watched = WatchedFileSystem(here, fault)
        try:
            if forward:
                engine.relink(watched, "child", "other", force=True)
            else:
                engine.undo_relink(watched, "child")
        except OSError:
            pass
        fired = fault.fired
        link = parent_of(here)
        assert (standing(here, "child", link) is not None) == (link != old), f"stopped before change {at}"
        here.open("child", Access.WRITE).close()
        at += 1
    assert (link != old) is forward


def test_a_mismatch_says_how_to_accept_the_file(files: MemoryFileSystem, format: ImageFormat) -> None:
    files.rename("other", "base", replace=True)
    with pytest.raises(ParentMismatch, match="relink"):
        NativeEngine().layers(files, "child")
    NativeEngine().relink(files, "child", "base", force=True)
    assert NativeEngine().info(files, "child").format is format
