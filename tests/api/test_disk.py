"""A disk by its path: opened through its layers, made, read and written."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.support.choice import examples
from vhdx import (
    CreateOptions,
    Disk,
    DiskExtent,
    DiskType,
    Error,
    FormatError,
    ImageFormat,
    InUse,
    LocalFileSystem,
    NativeEngine,
    ParentMismatch,
    ParentNotFound,
    ParentPolicy,
    Presence,
    ReadOnly,
)

MIB = 1 << 20
SMALL = CreateOptions(block_size=MIB)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.vhdx"
    vhdx.create(path, 8 * MIB, options=SMALL)
    with vhdx.open(path, writable=True) as disk:
        disk.write(0, b"base" * (MIB // 2))
    return path


@pytest.fixture
def leaf(base: Path) -> Path:
    path = base.with_name("leaf.vhdx")
    vhdx.create(path, parent=base)
    return path


def test_through_its_layers(leaf: Path, base: Path) -> None:
    with vhdx.open(leaf, writable=True) as disk:
        assert disk.layers == (str(leaf), str(base))
        assert (disk.name, disk.size, disk.writable, disk.closed) == (str(leaf), 8 * MIB, True, False)
        assert disk.info.type is DiskType.DIFFERENCING
        disk.write(5, b"leaf")
        assert disk.read(0, 12) == b"basebleafase"
        buffer = bytearray(12)
        disk.readinto(0, buffer)
        assert buffer == b"basebleafase"
        disk.flush()
    with vhdx.open(leaf) as disk:
        assert disk.read(0, 12) == b"basebleafase"
    with vhdx.open(base) as disk:
        assert disk.read(0, 12) == b"basebasebase"
        assert disk.layers == (str(base),)
        assert disk.info.type is DiskType.DYNAMIC


def test_relative_paths(leaf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(leaf.parent)
    with vhdx.open("leaf.vhdx") as disk:
        monkeypatch.chdir("/")
        assert disk.layers == (str(leaf), str(leaf.with_name("base.vhdx")))
        assert disk.read(0, 4) == b"base"


def test_extents_name_the_layer(leaf: Path) -> None:
    with vhdx.open(leaf, writable=True) as disk:
        disk.write(MIB, b"x" * 4096)
        disk.zero(0, 512)
        assert list(disk.extents()) == [
            DiskExtent(0, 512, Presence.DATA, 0),
            DiskExtent(512, MIB - 512, Presence.DATA, 1),
            DiskExtent(MIB, 4096, Presence.DATA, 0),
            DiskExtent(MIB + 4096, MIB - 4096, Presence.DATA, 1),
            DiskExtent(2 * MIB, 6 * MIB, Presence.NOT_PRESENT, None),
        ]
        assert list(disk.extents(100, MIB + 7)) == [
            DiskExtent(100, 412, Presence.DATA, 0),
            DiskExtent(512, MIB - 512, Presence.DATA, 1),
            DiskExtent(MIB, 107, Presence.DATA, 0),
        ]
        assert list(disk.extents(8 * MIB)) == list(disk.extents(3, 0)) == []
        disk.discard(4 * MIB, 2 * MIB)
        assert next(disk.extents(4 * MIB, 4 * MIB)).presence is not Presence.DATA
        for offset, length in ((-1, 2), (0, -1), (8 * MIB, 1), (8 * MIB + 1, None)):
            with pytest.raises(Error, match="not inside the disk"):
                disk.extents(offset, length)


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_extents_cover_a_range_once_and_read_as_they_say(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("extents")
    size = 3 * MIB
    vhdx.create(directory / "a.vhdx", size, options=SMALL)
    places = st.tuples(st.integers(0, size), st.integers(0, MIB)).map(lambda p: (p[0], min(p[1], size - p[0])))
    with vhdx.open(directory / "a.vhdx", writable=True) as disk:
        for offset, length in data.draw(st.lists(places, max_size=4)):
            disk.write(offset, b"\1" * length)
        for offset, length in data.draw(st.lists(places, max_size=2)):
            disk.zero(offset, length)
        offset, length = data.draw(places)
        content = disk.read(offset, length)
        at, before = offset, None
        for extent in disk.extents(offset, length):
            assert extent.offset == at
            assert extent.length > 0
            assert (extent.presence, extent.layer) != before
            before = (extent.presence, extent.layer)
            if extent.presence is not Presence.DATA:
                assert not any(content[at - offset : extent.end - offset])
            at = extent.end
        assert at == offset + length


def test_a_closed_disk(base: Path) -> None:
    disk = vhdx.open(base, writable=True)
    disk.write(0, b"kept")
    disk.close()
    disk.close()
    assert disk.closed
    assert "closed" in repr(disk)
    assert disk.size == 8 * MIB
    uses: list[Callable[[], object]] = [
        disk.flush,
        disk.extents,
        lambda: disk.info,
        lambda: disk.read(0, 1),
        lambda: disk.readinto(0, bytearray(1)),
        lambda: disk.write(0, b"x"),
        lambda: disk.zero(0, 1),
        lambda: disk.discard(0, 1),
    ]
    for use in uses:
        with pytest.raises(Error, match="is closed"):
            use()
    with vhdx.open(base) as again:
        assert again.read(0, 4) == b"kept"


def test_ranges_outside(base: Path) -> None:
    with vhdx.open(base, writable=True) as disk:
        uses: list[Callable[[], object]] = [
            lambda: disk.read(8 * MIB, 1),
            lambda: disk.read(-1, 1),
            lambda: disk.readinto(8 * MIB - 1, bytearray(2)),
            lambda: disk.write(8 * MIB - 1, b"xx"),
            lambda: disk.zero(0, 8 * MIB + 1),
            lambda: disk.discard(0, 8 * MIB + 1),
        ]
        for use in uses:
            with pytest.raises(Error, match="not inside the disk"):
                use()


def test_what_is_only_read(leaf: Path, base: Path) -> None:
    before = leaf.read_bytes()
    with vhdx.open(leaf) as disk:
        assert not disk.writable
        assert "read-only" in repr(disk)
        uses: list[Callable[[], None]] = [
            lambda: disk.write(0, b"x"),
            lambda: disk.zero(0, 512),
            lambda: disk.discard(0, MIB),
        ]
        for use in uses:
            with pytest.raises(ReadOnly):
                use()
        disk.flush()
        with vhdx.open(leaf) as second:
            assert second.read(0, 4) == b"base"
        with pytest.raises(InUse):
            vhdx.open(leaf, writable=True)
    with vhdx.open(leaf, writable=True), pytest.raises(InUse):
        vhdx.open(leaf)
    assert leaf.read_bytes() == before


def test_an_image_with_children_is_not_written_by_accident(leaf: Path, base: Path) -> None:
    before = base.read_bytes()
    with pytest.raises(Error, match=r"parent of .*leaf\.vhdx"):
        vhdx.open(base, writable=True)
    assert base.read_bytes() == before
    with vhdx.open(base, writable=True, orphan=True) as disk:
        disk.write(0, b"changed")
    with pytest.raises(ParentMismatch):
        vhdx.open(leaf)


def test_what_cannot_be_opened(tmp_path: Path, leaf: Path, base: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.vhdx"):
        vhdx.open(tmp_path / "none.vhdx")
    with pytest.raises(Error, match="not a regular file"):
        vhdx.open(tmp_path)
    (tmp_path / "text").write_bytes(b"neither" * 1000)
    with pytest.raises(FormatError, match="if it is a raw disk, say so"):
        vhdx.open(tmp_path / "text")
    base.rename(tmp_path / "elsewhere.vhdx")
    with pytest.raises(ParentNotFound, match=r"base\.vhdx"):
        vhdx.open(leaf)
    # Nothing is left locked by what failed.
    (tmp_path / "elsewhere.vhdx").rename(base)
    with vhdx.open(leaf, writable=True) as disk:
        assert disk.read(0, 4) == b"base"


def test_a_raw_disk_is_one_when_the_caller_says_so(tmp_path: Path, base: Path) -> None:
    raw = tmp_path / "disk.raw"
    vhdx.create(raw, MIB, options=CreateOptions(format=ImageFormat.RAW))
    with vhdx.open(raw, writable=True, format=ImageFormat.RAW) as disk:
        # What a guest puts there does not make it anything else.
        disk.write(0, base.read_bytes()[: MIB // 2])
        assert disk.info.format is ImageFormat.RAW
        assert disk.size == MIB
    with vhdx.open(raw, format=ImageFormat.RAW) as disk:
        assert disk.read(0, 8) == b"vhdxfile"


def test_parents_elsewhere_are_opened_where_the_policy_says(
    tmp_path: Path, base: Path, leaf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bases", "leaves"):
        (tmp_path / name).mkdir()
    base.rename(tmp_path / "bases" / "base.vhdx")
    moved = leaf.rename(tmp_path / "leaves" / "leaf.vhdx")
    with pytest.raises(ParentNotFound):
        vhdx.open(moved)
    monkeypatch.chdir(tmp_path)
    for directory in (str(tmp_path / "bases"), "bases", "leaves/../bases"):
        with vhdx.open("leaves/leaf.vhdx", policy=ParentPolicy(directories=(directory,))) as disk:
            assert disk.layers == (str(moved), str(tmp_path / "bases" / "base.vhdx"))


def test_creating(tmp_path: Path, base: Path) -> None:
    vhdx.create(tmp_path / "new.vhdx", MIB, options=CreateOptions(block_size=2 * MIB, logical_sector_size=4096))
    with vhdx.open(tmp_path / "new.vhdx") as disk:
        info = disk.info
        assert (info.virtual_size, info.block_size, info.logical_sector_size) == (MIB, 2 * MIB, 4096)
    vhdx.create(tmp_path / "larger.vhdx", 16 * MIB, parent=base)
    with vhdx.open(tmp_path / "larger.vhdx") as disk:
        assert disk.size == 16 * MIB
        assert disk.read(8 * MIB - 2, 4) == bytes(4)
    listing = sorted(tmp_path.iterdir())
    before = base.read_bytes()
    refusals: list[tuple[Callable[[], None], str]] = [
        (lambda: vhdx.create(tmp_path / "none.vhdx"), "requires a size"),
        (lambda: vhdx.create(tmp_path / "none.vhdx", MIB, parent=base, options=SMALL), "accepts no options"),
        (lambda: vhdx.create(tmp_path / "sub" / "none.vhdx", parent=base), "must be in the same directory"),
        (lambda: vhdx.create(tmp_path / "none.vhdx", 100), "none"),
    ]
    for refused, words in refusals:
        with pytest.raises(Error, match=words):
            refused()
    with pytest.raises(FileExistsError):
        vhdx.create(base, MIB)
    with pytest.raises(FileNotFoundError):
        vhdx.create(tmp_path / "none.vhdx", parent=tmp_path / "absent.vhdx")
    assert sorted(tmp_path.iterdir()) == listing
    assert base.read_bytes() == before


def test_the_engine_sees_the_same_disk(leaf: Path, base: Path) -> None:
    files = vhdx.LocalFileSystem(leaf.parent)
    with vhdx.open(leaf, writable=True) as disk:
        disk.write(3, b"through")
        content = disk.read(0, MIB)
    with NativeEngine().open_chain(files, "leaf.vhdx") as chain:
        assert chain.read(0, MIB) == content


def test_many_threads(leaf: Path) -> None:
    """Each writes its own places and reads them back while the others do."""
    def work(disk: Disk, number: int) -> None:
        rng = random.Random(number)
        for _ in range(20):
            offset = number * MIB + rng.randrange(MIB - 5000)
            data = rng.randbytes(rng.randrange(1, 5000))
            disk.write(offset, data)
            assert disk.read(offset, len(data)) == data

    with vhdx.open(leaf, writable=True) as disk:
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(work, disk, number) for number in range(4)]:
                done.result()
        disk.flush()
        expected = disk.read(0, disk.size)
    with vhdx.open(leaf) as disk:
        assert disk.read(0, disk.size) == expected


# --- arguments that are no whole numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1e9, 512.0, "512", b"512", None])
def test_only_whole_numbers_are_sizes_and_offsets(wrong: object, tmp_path: Path) -> None:
    """A TypeError that names the argument, before anything is made or changed."""
    number: Any = wrong
    path, files, engine = tmp_path / "a.vhdx", LocalFileSystem(tmp_path), NativeEngine()
    vhdx.create(path, 8 * MIB)
    before = path.read_bytes()
    with vhdx.open(path, writable=True) as disk:
        for call in (
            lambda: disk.read(number, 1),
            lambda: disk.read(0, number),
            lambda: disk.readinto(number, bytearray(1)),
            lambda: disk.write(number, b"x"),
            lambda: disk.zero(number, 1),
            lambda: disk.zero(0, number),
            lambda: disk.discard(number, 1),
            lambda: disk.discard(0, number),
            lambda: list(disk.extents(number, 1)),
            lambda: disk.file().seek(number),
        ):
            with pytest.raises(TypeError, match=r"offset|length"):
                call()
    calls = [lambda: engine.resize(files, "a.vhdx", number), lambda: engine.create(files, "b.vhdx", number)]
    if wrong is not None:
        calls += [
            lambda: vhdx.create(tmp_path / "b.vhdx", number),
            lambda: vhdx.create(tmp_path / "b.vhdx", number, parent=path),
            lambda: engine.create_child(files, "b.vhdx", "a.vhdx", size=number),
            lambda: engine.convert(files, "a.vhdx", files, "b.vhdx", size=number),
            lambda: vhdx.create(tmp_path / "b.vhdx", MIB, options=vhdx.CreateOptions(block_size=number)),
            lambda: list(vhdx.open(path).extents(0, number)),
        ]
    for act in calls:
        with pytest.raises(TypeError, match=r"size|length"):
            act()
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.vhdx"]


def test_numbers_of_other_libraries_are_whole(tmp_path: Path) -> None:
    class Number:
        def __index__(self) -> int:
            return 4 * MIB

    size: Any = Number()
    vhdx.create(tmp_path / "a.vhdx", size, options=vhdx.CreateOptions(block_size=size))
    with vhdx.open(tmp_path / "a.vhdx") as disk:
        assert disk.size == disk.info.block_size == 4 * MIB
