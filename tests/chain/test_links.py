"""Links of the file system: nothing outside is read or told of, and no parent with children is written to."""

import os
from collections.abc import Callable, Hashable
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.disks import MIB, pattern
from vhdx.chain.lineage import LinkVerdict, ancestry
from vhdx.chain.parents import ParentPolicy
from vhdx.check import check_chain
from vhdx.errors import Error, HasChildren, ParentMismatch, ParentNotFound
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access, Storage
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]
SIZE = 2 * MIB
SECRET = pattern(7, 4096)


class Spy(LocalFileSystem):
    """Files of this machine, and which of them were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: set[Hashable] = set()

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        storage = super().open(path, access, beneath=beneath)
        self.opened.add(storage.status().identity)
        return storage


def image(files: LocalFileSystem, path: str, format: ImageFormat, parent: str = "") -> None:
    engine = NativeEngine(policy=ParentPolicy(directories=("home", "out")))
    if parent:
        engine.create_child(files, path, parent)
    else:
        engine.create(files, path, SIZE, CreateOptions(format=format, block_size=MIB))
        with engine.open_chain(files, path, writable=1) as chain:
            chain.write(0, SECRET)


def record(files: LocalFileSystem, path: str, recorded: str) -> None:
    """Let the image record another path of its parent, as whoever made it could."""
    with closing(open_image(files.open(path, Access.WRITE), new_id=uuid4)) as child:
        link = child.info.parent
        assert link is not None
        paths = {"relative_path": recorded}
        if child.info.format is ImageFormat.VHD:
            paths["parent_name"] = "none"
        child.set_parent(ParentLink(link.linkage, None, paths))


@pytest.fixture(params=FORMATS)
def top(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """home/child over out/base, whose id it records, and a child of that, home/leaf."""
    files = LocalFileSystem(tmp_path)
    for directory in ("home", "out", "elsewhere"):
        (tmp_path / directory).mkdir()
    image(files, "out/base", request.param)
    image(files, "home/child", request.param, "out/base")
    image(files, "home/leaf", request.param, "home/child")
    return tmp_path


def link(path: Path, target: str | Path) -> None:
    path.symlink_to(target)


ESCAPES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "parent file": (".\\base", lambda top: link(top / "home/base", "../out/base")),
    "absolute": (".\\base", lambda top: link(top / "home/base", top / "out/base")),
    "directory": (".\\sub\\base", lambda top: link(top / "home/sub", "../out")),
    "link to a link": (".\\sub\\base", lambda top: link(top / "home/sub", "m") or link(top / "home/m", "../out")),
    "dangling": (".\\none", lambda top: link(top / "home/none", "../out/none")),
    "circle": (".\\l", lambda top: link(top / "home/l", "m") or link(top / "home/m", "l")),
    "letters": ("..\\out\\base", lambda top: None),
    "component is a file": (".\\leaf\\base", lambda top: None),
    "300 letters": (".\\" + "x" * 300, lambda top: None),
}
READERS: dict[str, Callable[[NativeEngine, Spy], object]] = {
    "read": lambda engine, files: engine.open_chain(files, "home/child").close(),
    "read the leaf": lambda engine, files: engine.open_chain(files, "home/leaf").close(),
    "write": lambda engine, files: engine.open_chain(files, "home/leaf", writable=1).close(),
    "plan_merge": lambda engine, files: engine.plan_merge(files, "home/leaf", "home/child"),
    "merge": lambda engine, files: engine.merge(files, "home/leaf", "home/child", remove=True),
    "merge the child": lambda engine, files: engine.merge(files, "home/child", "out/base", orphan=True),
    "resize": lambda engine, files: engine.resize(files, "home/leaf", 2 * SIZE),
    "compact": lambda engine, files: engine.compact(files, "home/leaf"),
    "convert": lambda engine, files: engine.convert(files, "home/leaf", files, "home/copy"),
    "salvage": lambda engine, files: engine.salvage(files, "home/leaf", files, "home/copy"),
    "relink": lambda engine, files: engine.relink(files, "home/leaf", "home/child"),
    "layers": lambda engine, files: engine.layers(files, "home/leaf"),
}


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("shape", ESCAPES)
def test_nothing_outside_is_opened(shape: str, verb: str, top: Path) -> None:
    """Not even a file that is the parent by its id: the folder is where it ends."""
    files = Spy(top)
    recorded, make = ESCAPES[shape]
    record(files, "home/child", recorded)
    make(top)
    secret = files.stat("out/base").identity
    before = (top / "out/base").read_bytes()
    files.opened.clear()
    with pytest.raises((ParentNotFound, ParentMismatch)):
        READERS[verb](NativeEngine(), files)
    assert secret not in files.opened
    assert (top / "out/base").read_bytes() == before
    assert not (top / "home/copy").exists()


@pytest.mark.parametrize("shape", ESCAPES)
def test_looking_tells_nothing_of_what_is_outside(shape: str, top: Path) -> None:
    files = Spy(top)
    recorded, make = ESCAPES[shape]
    record(files, "home/child", recorded)
    make(top)
    secret = files.stat("out/base").identity
    files.opened.clear()
    findings = list(check_chain(files, "home/leaf", new_id=uuid4))
    assert "chain-parent-missing" in [finding.code for finding in findings]
    members = list(ancestry(files, "home/leaf", policy=ParentPolicy(), new_id=uuid4))
    assert [member.path for member in members] == ["home/leaf", "home/child"]
    assert members[-1].link is not None
    assert members[-1].link.verdict is LinkVerdict.MISSING
    assert NativeEngine().plan_repair(files, "home/child") == []
    assert secret not in files.opened


def test_the_id_of_another_file_is_in_no_message(top: Path) -> None:
    """Whoever learnt it could record it, and be let read the file."""
    files = LocalFileSystem(top)
    image(files, "home/other", NativeEngine().info(files, "out/base").format)
    record(files, "home/child", ".\\other")
    other = str(NativeEngine().info(files, "home/other").linkage)
    with pytest.raises(ParentMismatch) as caught:
        NativeEngine().open_chain(files, "home/child")
    said = [str(caught.value), *(str(one) for one in check_chain(files, "home/child", new_id=uuid4))]
    said += [str(member.link) for member in ancestry(files, "home/child", policy=ParentPolicy(), new_id=uuid4)]
    # What is seen is for the program; what is said are the problems.
    said = [text.partition("seen=")[0] for text in said]
    assert not [text for text in said if other in text]


INSIDE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "file": (".\\base", lambda top: link(top / "home/base", "bases/base")),
    "directory": (".\\sub\\base", lambda top: link(top / "home/sub", "bases")),
    "absolute directory": (".\\sub\\base", lambda top: link(top / "home/sub", top / "home/bases")),
}


@pytest.mark.parametrize("shape", INSIDE)
def test_links_inside_are_followed_to_the_file_itself(shape: str, top: Path) -> None:
    files = LocalFileSystem(top)
    recorded, make = INSIDE[shape]
    (top / "home/bases").mkdir()
    (top / "out/base").rename(top / "home/bases/base")
    record(files, "home/child", recorded)
    make(top)
    engine = NativeEngine()
    assert engine.layers(files, "home/leaf") == ["home/leaf", "home/child", "home/bases/base"]
    with engine.open_chain(files, "home/leaf") as chain:
        assert chain.read(0, 4096) == SECRET
    assert not [one for one in check_chain(files, "home/leaf", new_id=uuid4) if one.code == "chain-stale-path"]


def test_the_folder_may_be_reached_by_a_link_and_parents_by_one_into_an_allowed_directory(top: Path) -> None:
    files = LocalFileSystem(top)
    link(top / "way", "home")
    link(top / "home/parent", "../out/base")
    record(files, "home/child", ".\\parent")
    with pytest.raises(ParentNotFound, match="by a link"):
        NativeEngine().layers(files, "way/leaf")
    engine = NativeEngine(policy=ParentPolicy(directories=("out",)))
    assert engine.layers(files, "way/leaf") == ["way/leaf", "way/child", "out/base"]


def test_a_leaf_reached_by_a_link_has_its_relatives_beside_the_file(top: Path) -> None:
    files = LocalFileSystem(top)
    engine = NativeEngine(policy=ParentPolicy(directories=("out",)))
    link(top / "elsewhere/leaf", "../home/leaf")
    link(top / "elsewhere/base", "../home/child")
    real = os.path.realpath(top)
    assert engine.layers(files, "elsewhere/leaf")[0] == f"{real}/home/leaf"
    assert engine.children(files, "elsewhere/base") == [f"{real}/home/leaf"]
    codes = {finding.code for finding in check_chain(files, "elsewhere/leaf", new_id=uuid4, policy=engine.policy)}
    assert "chain-parent-missing" not in codes


WAYS: dict[str, Callable[[Path], str]] = {
    "its name": lambda top: "home/child",
    "symbolic link": lambda top: link(top / "elsewhere/l", "../home/child") or "elsewhere/l",
    "link beside": lambda top: link(top / "home/l", "child") or "home/l",
    "link to a link": lambda top: (
        link(top / "elsewhere/m", "l") or link(top / "elsewhere/l", top / "home/child") or "elsewhere/m"
    ),
    "hard link": lambda top: os.link(top / "home/child", top / "elsewhere/h") or "elsewhere/h",
    "hard link beside": lambda top: os.link(top / "home/child", top / "home/h") or "home/h",
    "a directory that is a link": lambda top: link(top / "way", "home") or "way/child",
}
WRITERS: dict[str, Callable[[NativeEngine, LocalFileSystem, str], object]] = {
    "write": lambda engine, files, path: engine.open_chain(files, path, writable=1).close(),
    "resize": lambda engine, files, path: engine.resize(files, path, 2 * SIZE),
    "create over it": lambda engine, files, path: engine.create(files, path, SIZE, replace=True),
}


@pytest.mark.parametrize("verb", WRITERS)
@pytest.mark.parametrize("way", WAYS)
def test_a_parent_with_children_is_not_written_to(way: str, verb: str, top: Path) -> None:
    files = LocalFileSystem(top)
    engine = NativeEngine(policy=ParentPolicy(directories=("out",)))
    before = (top / "home/child").read_bytes()
    path = WAYS[way](top)
    # Another name takes nothing from the file, unless children use that name.
    with suppress(Error) if verb == "create over it" else pytest.raises(HasChildren):
        WRITERS[verb](engine, files, path)
    assert (top / "home/child").read_bytes() == before
    assert engine.layers(files, "home/leaf")[0] == "home/leaf"


def test_an_image_with_other_names_is_written_to_only_when_that_is_asked_for(top: Path) -> None:
    files = LocalFileSystem(top)
    engine = NativeEngine(policy=ParentPolicy(directories=("out",)))
    os.link(top / "home/leaf", top / "elsewhere/backup")
    with pytest.raises(HasChildren, match="2 names"):
        engine.open_chain(files, "home/leaf", writable=1)
    engine.open_chain(files, "home/leaf", writable=1, orphan=True).close()
    engine.open_chain(files, "home/leaf").close()
    engine.compact(files, "home/leaf")
    os.link(top / "home/child", top / "elsewhere/child")
    assert engine.plan_merge(files, "home/leaf", "home/child").links == 2
    with pytest.raises(HasChildren, match="2 names"):
        engine.merge(files, "home/leaf", "home/child")
    engine.merge(files, "home/leaf", "home/child", orphan=True)


class Racing(Spy):
    """After *swap* is resolved, a link to outside takes its place."""

    def __init__(self, root: Path, swap: str) -> None:
        super().__init__(root)
        self._root_path, self._swap = root, swap

    def resolve(self, path: str, *, beneath: str | None = None) -> str:
        found = super().resolve(path, beneath=beneath)
        place = self._root_path / self._swap
        if found == self._swap and not place.is_symlink():
            place.unlink()
            place.symlink_to("../out/base")
        return found


def test_a_link_that_takes_the_place_of_a_parent_after_the_look(top: Path) -> None:
    files = LocalFileSystem(top)
    (top / "home/base").write_bytes((top / "out/base").read_bytes())
    record(files, "home/child", ".\\base")
    racing = Racing(top, "home/base")
    with pytest.raises((ParentNotFound, ParentMismatch)):
        NativeEngine().open_chain(racing, "home/child")
    assert files.stat("out/base").identity not in racing.opened


def test_a_link_that_takes_the_place_of_the_leaf_after_the_look(top: Path) -> None:
    racing = Racing(top, "home/leaf")
    with pytest.raises(Error, match="leads out"):
        NativeEngine(policy=ParentPolicy(directories=("out",))).open_chain(racing, "home/leaf", writable=1)
    assert racing.stat("out/base").identity not in racing.opened


def test_making_a_child_over_a_link_records_the_file_itself(top: Path) -> None:
    files = LocalFileSystem(top)
    engine = NativeEngine(policy=ParentPolicy(directories=("out",)))
    link(top / "home/l", "child")
    engine.create_child(files, "home/twin", "home/l")
    link_of = engine.info(files, "home/twin").parent
    assert link_of is not None
    assert link_of.paths["relative_path"] == ".\\child"
    engine.relink(files, "home/twin", "home/l")
    assert engine.layers(files, "home/twin")[1] == "home/child"
    link(top / "home/m", "../elsewhere/far")
    (top / "out/base").rename(top / "elsewhere/far")
    with pytest.raises(Error, match="not in one directory"):
        engine.create_child(files, "home/other", "home/m")


class Forbidding(LocalFileSystem):
    """Denies one file, as permissions do to those who are not root."""

    def open(self, path: str, access: Access, *, beneath: str | None = None) -> Storage:
        if path.endswith("home/child"):
            raise PermissionError(13, "Permission denied", path)
        return super().open(path, access, beneath=beneath)


def test_a_parent_that_is_denied_is_said_to_be(top: Path) -> None:
    files = Forbidding(top)
    with pytest.raises(PermissionError, match="may be the parent"):
        NativeEngine().open_chain(files, "home/leaf")
    with pytest.raises(PermissionError, match="may be the parent"):
        list(check_chain(files, "home/leaf", new_id=uuid4))
    (member,) = ancestry(files, "home/leaf", policy=ParentPolicy(), new_id=uuid4)
    assert member.link is not None
    assert (member.link.verdict, member.link.linkage_ok) == (LinkVerdict.DENIED, None)


def test_reasons_are_what_they_say(top: Path) -> None:
    files = LocalFileSystem(top)
    record(files, "home/child", "gone.vhdx")
    with pytest.raises(ParentNotFound) as caught:
        NativeEngine().open_chain(files, "home/child")
    assert "leads out" not in str(caught.value)
    findings = [one.message for one in check_chain(files, "home/child", new_id=uuid4)]
    assert not [text for text in findings if "leads out" in text]


def test_a_directory_in_the_place_of_the_parent_is_a_finding(top: Path) -> None:
    files = LocalFileSystem(top)
    (top / "home/base").mkdir()
    record(files, "home/child", ".\\base")
    codes = [finding.code for finding in check_chain(files, "home/child", new_id=uuid4)]
    assert codes[-1] == "chain-unreadable"
