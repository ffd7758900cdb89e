"""Finding parents: where is looked, what is refused, what the errors say. Recorded paths are claims by strangers."""

import contextlib
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.format import raw
from tests.format.raw import MIB
from tests.image import forge
from tests.image.forge import Forge
from tests.support.choice import examples
from tests.support.disks import counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.chain.parents import DEFAULT_POLICY, ParentPolicy, candidates
from vhdx.errors import Error, FormatError, InUse, ParentMismatch, ParentNotFound
from vhdx.extents import Range
from vhdx.image.base import ParentLink
from vhdx.image.vhdx.create import create_vhdx
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine

PARENT_ID = UUID(int=0xDA7A)


def add(
    files: FileSystem,
    path: str,
    *,
    written: UUID = PARENT_ID,
    linkage: UUID | None = None,
    linkage2: UUID | None = None,
    paths: dict[str, str] | None = None,
) -> None:
    """An image with a given DataWriteGuid; a child when it has a *linkage*."""
    link = None if linkage is None else ParentLink(linkage, linkage2, paths or {})
    image = create_vhdx(
        files.create(path), size=4 * MIB, disk_id=UUID(int=1), new_id=counting_ids(len(path) * 1000), parent=link
    )
    image.close()
    image = forge.writer(files, path)
    image.begin(data_write_guid=written)
    image.close()


def child(files: FileSystem, path: str = "child.vhdx", *, linkage: UUID = PARENT_ID, **paths: str) -> None:
    add(files, path, written=UUID(int=0xC), linkage=linkage, paths=paths)


def layers(files: FileSystem, path: str = "child.vhdx", policy: ParentPolicy = DEFAULT_POLICY) -> list[str]:
    return NativeEngine(policy=policy).layers(files, path)


def tried(files: FileSystem, home: str, **paths: str) -> list[str]:
    return list(candidates(files, f"{home}child.vhdx", ParentLink(PARENT_ID, paths=paths), DEFAULT_POLICY))


@pytest.fixture
def files() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.mark.parametrize("recorded", [".\\parent.vhdx", "parent.vhdx", "./parent.vhdx", ".\\.\\parent.vhdx"])
@pytest.mark.parametrize("home", ["", "vm/", "vm/disks/"])
def test_the_recorded_file_beside_the_child(files: MemoryFileSystem, home: str, recorded: str) -> None:
    add(files, f"{home}parent.vhdx")
    child(files, f"{home}child.vhdx", relative_path=recorded)
    assert layers(files, f"{home}child.vhdx") == [f"{home}child.vhdx", f"{home}parent.vhdx"]


def test_the_recorded_file_in_a_directory_below(files: MemoryFileSystem) -> None:
    add(files, "vm/bases/parent.vhdx")
    child(files, "vm/child.vhdx", relative_path=".\\bases\\parent.vhdx")
    assert layers(files, "vm/child.vhdx") == ["vm/child.vhdx", "vm/bases/parent.vhdx"]


def test_a_name_in_another_case(files: MemoryFileSystem) -> None:
    add(files, "Parent.VHDX")
    child(files, relative_path=".\\pARENT.vhdx")
    assert layers(files) == ["child.vhdx", "Parent.VHDX"]


@pytest.mark.parametrize("key", ["absolute_win32_path", "volume_path", "relative_path"])
@pytest.mark.parametrize(
    "recorded",
    [
        "\\\\?\\D:\\vm\\bases\\parent.vhdx",
        "\\\\?\\Volume{00000000-0000-0000-0000-000000000001}\\parent.vhdx",
        "D:\\vm\\parent.vhdx",
        "\\\\?\\UNC\\server\\share\\parent.vhdx",
        "\\\\server\\share\\parent.vhdx",
        "..\\..\\elsewhere\\parent.vhdx",
        "/etc/parent.vhdx",
    ],
)
def test_a_path_from_elsewhere_is_tried_by_its_base_name(files: MemoryFileSystem, key: str, recorded: str) -> None:
    add(files, "vm/parent.vhdx")
    add(files, "vm/child.vhdx", written=UUID(int=0xC), linkage=PARENT_ID, paths={key: recorded})
    assert layers(files, "vm/child.vhdx") == ["vm/child.vhdx", "vm/parent.vhdx"]


def test_the_relative_path_comes_first(files: MemoryFileSystem) -> None:
    add(files, "a.vhdx")
    add(files, "b.vhdx")
    child(files, absolute_win32_path="\\\\?\\C:\\a.vhdx", relative_path=".\\b.vhdx")
    assert layers(files) == ["child.vhdx", "b.vhdx"]


def test_a_stale_path_gives_way_to_one_that_fits(files: MemoryFileSystem) -> None:
    add(files, "a.vhdx", written=UUID(int=0xBAD))
    add(files, "b.vhdx")
    child(files, relative_path=".\\a.vhdx", absolute_win32_path="\\\\?\\C:\\b.vhdx")
    assert layers(files) == ["child.vhdx", "b.vhdx"]


def test_a_file_that_is_not_the_parent_is_not_written_to(files: MemoryFileSystem) -> None:
    """Opened for writing, its log would be replayed."""
    add(files, "b.vhdx")
    add(files, "a.vhdx", written=UUID(int=0xBAD))
    image = forge.writer(files, "a.vhdx")
    image.zero(0, MIB)
    with image.allocate([Range(MIB, 512)]):
        pass
    image.flush()
    image.abandon()
    before = Forge(files, "a.vhdx").everything
    child(files, relative_path=".\\a.vhdx", absolute_win32_path="\\\\?\\C:\\b.vhdx")
    with NativeEngine().open_chain(files, "child.vhdx", writable=2) as chain:
        assert [layer.path for layer in chain.layers] == ["child.vhdx", "b.vhdx"]
    assert Forge(files, "a.vhdx").everything == before


def test_a_file_that_is_not_the_parent_may_be_in_use(files: MemoryFileSystem) -> None:
    add(files, "a.vhdx", written=UUID(int=0xBAD))
    add(files, "b.vhdx")
    child(files, relative_path=".\\a.vhdx", absolute_win32_path="\\\\?\\C:\\b.vhdx")
    held = files.open("a.vhdx", Access.WRITE)
    assert layers(files) == ["child.vhdx", "b.vhdx"]
    held.close()
    held = files.open("b.vhdx", Access.WRITE)
    with pytest.raises(InUse, match=r"b\.vhdx"):
        layers(files)
    held.close()


@pytest.mark.parametrize("path", ["parent.vhdx", "sub", "PARENT.vhdx"])
def test_a_file_that_is_no_image_gives_way_to_one_that_fits(tmp_path: Path, path: str) -> None:
    """Something unusable in the recorded place hides neither the right file nor the reason."""
    files = LocalFileSystem(tmp_path)
    add(files, "Parent.vhdx")
    if path == "sub":
        (tmp_path / path).mkdir()
    else:
        (tmp_path / path).write_bytes(b"not an image" * 1000)
    child(files, relative_path=f".\\{path}", absolute_win32_path="\\\\?\\C:\\parent.vhdx")
    assert layers(files) == ["child.vhdx", "Parent.vhdx"]


def test_a_second_linkage_is_accepted(files: MemoryFileSystem) -> None:
    add(files, "parent.vhdx")
    paths = {"relative_path": "parent.vhdx"}
    add(files, "child.vhdx", written=UUID(int=0xC), linkage=UUID(int=0x01D), linkage2=PARENT_ID, paths=paths)
    assert layers(files) == ["child.vhdx", "parent.vhdx"]


def test_another_linkage_is_a_mismatch_that_hands_out_nothing_but_the_record(files: MemoryFileSystem) -> None:
    add(files, "vm/parent.vhdx", written=UUID(int=0xBAD))
    child(files, "vm/child.vhdx", relative_path=".\\parent.vhdx")
    with pytest.raises(ParentMismatch) as caught:
        layers(files, "vm/child.vhdx")
    message = str(caught.value)
    for part in ("vm/child.vhdx", "vm/parent.vhdx", str(PARENT_ID), "relink"):
        assert part in message
    assert str(UUID(int=0xBAD)) not in message, "a child that records it would be let read the file"


def test_a_parent_that_was_written_to_is_a_mismatch(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.create(files, "parent.vhdx", 4 * MIB)
    engine.create_child(files, "child.vhdx", "parent.vhdx")
    with engine.open_chain(files, "parent.vhdx", writable=1, orphan=True) as chain:
        chain.write(0, b"changed")
    with pytest.raises(ParentMismatch):
        layers(files)
    engine.relink(files, "child.vhdx", "parent.vhdx", force=True)
    assert layers(files) == ["child.vhdx", "parent.vhdx"]


def test_a_missing_parent_is_reported_with_what_was_tried(files: MemoryFileSystem) -> None:
    child(
        files,
        "vm/child.vhdx",
        relative_path=".\\gone.vhdx",
        absolute_win32_path="\\\\?\\D:\\vm\\gone.vhdx",
        volume_path="\\\\?\\Volume{1}\\gone.vhdx",
    )
    with pytest.raises(ParentNotFound) as caught:
        layers(files, "vm/child.vhdx")
    message = str(caught.value)
    for part in ("vm/child.vhdx", "vm/gone.vhdx does not exist", "absolute_win32_path", "volume_path"):
        assert part in message
    assert caught.value.tried


def test_a_path_that_leads_out_is_not_followed_and_said_so(files: MemoryFileSystem) -> None:
    add(files, "parent.vhdx")
    child(files, "vm/child.vhdx", relative_path="..\\parent.vhdx")
    with pytest.raises(ParentNotFound, match=r"relative_path.*leads out"):
        layers(files, "vm/child.vhdx")


def test_directories_that_the_caller_names(files: MemoryFileSystem) -> None:
    add(files, "bases/sub/parent.vhdx")
    child(files, "vm/child.vhdx", relative_path="..\\bases\\sub\\parent.vhdx")
    with pytest.raises(ParentNotFound):
        layers(files, "vm/child.vhdx")
    for directory in ("bases", "bases/sub", ""):
        found = layers(files, "vm/child.vhdx", ParentPolicy(directories=(directory,)))
        assert found == ["vm/child.vhdx", "bases/sub/parent.vhdx"]
    add(files, "base/x.vhdx", written=UUID(int=2))
    with pytest.raises(ParentNotFound):
        layers(files, "vm/child.vhdx", ParentPolicy(directories=("base",)))


def test_a_base_name_in_a_directory_that_the_caller_names(files: MemoryFileSystem) -> None:
    add(files, "bases/parent.vhdx")
    child(files, "vm/child.vhdx", absolute_win32_path="\\\\?\\D:\\old\\parent.vhdx")
    found = layers(files, "vm/child.vhdx", ParentPolicy(directories=("bases",)))
    assert found == ["vm/child.vhdx", "bases/parent.vhdx"]


def test_a_directory_that_is_not_there_is_no_place_for_parents(files: MemoryFileSystem) -> None:
    add(files, "vm/parent.vhdx")
    child(files, "vm/child.vhdx", absolute_win32_path="\\\\?\\D:\\old\\parent.vhdx")
    policy = ParentPolicy(directories=("gone",))
    assert layers(files, "vm/child.vhdx", policy) == ["vm/child.vhdx", "vm/parent.vhdx"]
    files.remove("vm/parent.vhdx")
    with pytest.raises(ParentNotFound):
        layers(files, "vm/child.vhdx", policy)


ESCAPES = [
    "..\\x.vhdx",
    "..\\..\\x.vhdx",
    "..",
    ".\\..\\x.vhdx",
    "sub\\..\\..\\x.vhdx",
    "../x.vhdx",
    "/x.vhdx",
    "\\x.vhdx",
    "\\\\server\\share\\x.vhdx",
    "//server/share/x.vhdx",
    "\\\\?\\C:\\x.vhdx",
    "\\\\.\\PhysicalDrive0",
    "C:\\x.vhdx",
    "C:x.vhdx",
    "x.vhdx:stream",
    "x.vhdx::$DATA",
    "sub\\x?.vhdx",
    "a\nb.vhdx",
    "a\x00b.vhdx",
    "a|b",
    "<a>",
    '"a"',
    "*.vhdx",
    "",
    ".",
    ".\\",
    "\\",
]


@pytest.mark.parametrize("recorded", ESCAPES)
@pytest.mark.parametrize("home", ["", "vm/", "a/b/", "../", "../../", "../vm/", "/srv/vm/"])
def test_only_names_inside_the_childs_directory_are_tried(
    recorded: str, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anywhere(MemoryFileSystem):
        def list(self, directory: str, prefix: str = "", suffix: str = "") -> list[str]:
            return ["child.vhdx"]

    for where in ("/", tmp_path):
        monkeypatch.chdir(where)
        assert tried(Anywhere(), home, relative_path=recorded) == []


@pytest.mark.parametrize("name", ["CON", "nul", "aux.vhdx", "COM1", "lpt9.vhdx", "PRN", "sub\\CON", "CON\\x.vhdx"])
def test_device_names_are_not_tried(files: MemoryFileSystem, name: str) -> None:
    """On a Windows server they are not files."""
    child(files, relative_path="x")
    assert tried(files, "", relative_path=name) == []


def test_nothing_outside_is_opened_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(LocalFileSystem(tmp_path), "secret.vhdx")
    (tmp_path / "share").mkdir()
    child(LocalFileSystem(tmp_path / "share"), relative_path="..\\secret.vhdx")
    (tmp_path / "share" / "sub").mkdir()
    child(LocalFileSystem(tmp_path / "share"), "sub/child.vhdx", relative_path="..\\..\\secret.vhdx")
    for where in (Path("/"), tmp_path, tmp_path / "share", tmp_path / "share" / "sub"):
        monkeypatch.chdir(where)
        for path in ("child.vhdx", "sub/child.vhdx"):
            with pytest.raises(ParentNotFound):
                layers(LocalFileSystem(tmp_path / "share"), path)
        for path in ("child.vhdx", "sub/child.vhdx"):
            with pytest.raises(ParentNotFound):
                layers(LocalFileSystem(where), str(tmp_path / "share" / path))
    monkeypatch.chdir(tmp_path / "share" / "sub")
    with pytest.raises(ParentNotFound):
        layers(LocalFileSystem(), "../child.vhdx")


def test_the_child_is_not_its_own_parent(files: MemoryFileSystem) -> None:
    add(files, "child.vhdx", written=PARENT_ID, linkage=PARENT_ID, paths={"relative_path": ".\\child.vhdx"})
    with pytest.raises((ParentNotFound, FormatError)):
        layers(files)


@pytest.mark.parametrize("writable", [0, 1])
def test_a_circle_is_noticed(files: MemoryFileSystem, writable: int) -> None:
    first, second = UUID(int=0xA), UUID(int=0xB)
    add(files, "a.vhdx", written=first, linkage=second, paths={"relative_path": "b.vhdx"})
    add(files, "b.vhdx", written=second, linkage=first, paths={"relative_path": "a.vhdx"})
    with pytest.raises(Error):
        NativeEngine().open_chain(files, "a.vhdx", writable=writable)
    for name in ("a.vhdx", "b.vhdx"):
        files.open(name, Access.WRITE).close()


def test_a_circle_through_another_name_of_one_file(tmp_path: Path) -> None:
    files = LocalFileSystem(tmp_path)
    add(files, "a.vhdx", written=PARENT_ID, linkage=PARENT_ID, paths={"relative_path": "b.vhdx"})
    (tmp_path / "b.vhdx").hardlink_to(tmp_path / "a.vhdx")
    with pytest.raises(FormatError, match="circle"):
        layers(files, "a.vhdx")


def test_a_chain_may_be_too_long(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.create(files, "0.vhdx", 4 * MIB)
    for number in range(1, 6):
        engine.create_child(files, f"{number}.vhdx", f"{number - 1}.vhdx")
    assert len(layers(files, "5.vhdx", ParentPolicy(most_layers=6))) == 6
    with pytest.raises(FormatError, match="more than 5 layers"):
        layers(files, "5.vhdx", ParentPolicy(most_layers=5))
    for number in range(6):
        files.open(f"{number}.vhdx", Access.WRITE).close()


def test_the_longest_chain_reads(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    engine.create(files, "0.vhdx", 4 * MIB)
    with engine.open_chain(files, "0.vhdx", writable=1) as chain:
        chain.write(0, pattern(1, 4096))
    for number in range(1, DEFAULT_POLICY.most_layers):
        engine.create_child(files, f"{number}.vhdx", f"{number - 1}.vhdx")
    last = f"{DEFAULT_POLICY.most_layers - 1}.vhdx"
    with engine.open_chain(files, last) as chain:
        assert len(chain.layers) == 256
        assert chain.read(0, 8192) == pattern(1, 4096) + bytes(4096)
    engine.create_child(files, "over.vhdx", last)
    with pytest.raises(FormatError, match="256"):
        layers(files, "over.vhdx")


def test_a_parent_with_other_sectors_is_refused(files: MemoryFileSystem) -> None:
    forge.create(files, 4 * MIB, "parent.vhdx", sector=4096)
    child(files, linkage=Forge(files, "parent.vhdx").data_write_guid, relative_path="parent.vhdx")
    with pytest.raises(ParentMismatch, match="4096"):
        layers(files)


def test_files_are_given_back_when_the_chain_cannot_be_opened(files: MemoryFileSystem) -> None:
    add(files, "parent.vhdx", written=UUID(int=0xBAD))
    child(files, relative_path="parent.vhdx")
    with pytest.raises(ParentMismatch):
        layers(files)
    for name in ("parent.vhdx", "child.vhdx"):
        files.open(name, Access.WRITE).close()


@pytest.mark.parametrize("name", ["a:b.vhdx", "what?.vhdx", "back\\slash.vhdx", "tab\t.vhdx", "star*.vhdx", "nul.vhdx"])
def test_a_child_of_a_name_that_cannot_be_recorded_is_refused(files: MemoryFileSystem, name: str) -> None:
    """Better no child than one whose parent cannot be found."""
    engine = NativeEngine()
    engine.create(files, name, 4 * MIB)
    try:
        engine.create_child(files, "child.vhdx", name)
    except Error:
        assert files.list("") == [name]
    else:
        assert layers(files) == ["child.vhdx", name]


def test_names_with_spaces_and_letters_of_all_kinds(files: MemoryFileSystem) -> None:
    engine = NativeEngine()
    for name in ("with space.vhdx", "ümläut ß.vhdx", "日本.vhdx", "😀.vhdx", "volume-1'2.vhdx", "...dots.vhdx"):
        engine.create(files, name, 4 * MIB)
        engine.create_child(files, f"over {name}", name)
        assert layers(files, f"over {name}") == [f"over {name}", name]


def with_locator(item: bytes) -> MemoryFileSystem:
    """child.vhdx with *item* as its parent locator, beside a parent that could fit."""
    files = MemoryFileSystem({path: pages.copy() for path, pages in PREPARED.items()})
    made = Forge(files, "child.vhdx")
    entry = made.metadata + 32 + 5 * 32
    made.write(entry + 20, len(item).to_bytes(4, "little"))
    made.write(made.metadata + made.number(entry + 16, 4), item)
    return files


def prepared() -> MemoryFileSystem:
    files = MemoryFileSystem()
    add(files, "parent.vhdx")
    child(files, relative_path="parent.vhdx")
    return files


PREPARED = prepared().snapshot()
LINKAGE = ("parent_linkage".encode("utf-16-le"), f"{{{PARENT_ID}}}".encode("utf-16-le"))
anything = st.text(max_size=30).map(lambda text: text.encode("utf-16-le", "surrogatepass")) | st.binary(max_size=30)
pathish = st.lists(
    st.sampled_from(["..", ".", "\\", "/", "parent.vhdx", "child.vhdx", "C:", "\\\\?\\", "\0", "CON", "\ud800", "é"]),
    max_size=8,
).map(lambda parts: "".join(parts).encode("utf-16-le", "surrogatepass"))
keys = st.sampled_from(["relative_path", "volume_path", "absolute_win32_path", "parent_linkage2", "x"])
pairs = st.tuples(keys.map(lambda key: key.encode("utf-16-le")) | anything, pathish | anything)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(pairs, max_size=5), st.booleans())
def test_any_locator_leads_to_the_parent_or_an_error(found: list[tuple[bytes, bytes]], linked: bool) -> None:
    files = with_locator(raw.locator([LINKAGE, *found] if linked else found))
    with contextlib.suppress(Error):
        assert layers(files) in (["child.vhdx", "parent.vhdx"],)


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=6))
def test_a_locator_with_other_bytes_leads_to_the_parent_or_an_error(place: int, data: bytes) -> None:
    path = ("relative_path".encode("utf-16-le"), ".\\parent.vhdx".encode("utf-16-le"))
    item = bytearray(raw.locator([LINKAGE, path]))
    place = min(place, len(item) - len(data))
    item[place : place + len(data)] = data
    with contextlib.suppress(Error):
        assert layers(with_locator(bytes(item))) == ["child.vhdx", "parent.vhdx"]
