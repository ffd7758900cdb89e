"""Several verbs on one open disk: each sees what the others did, and leaves what it would have left by path."""

from contextlib import closing, nullcontext
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Tally, WatchedFileSystem
from vhdx.errors import Error, HasChildren, InUse
from vhdx.image.base import CreateOptions, ImageFormat, LogState
from vhdx.storage.base import Access
from vhdx.storage.local import LocalFileSystem
from vhdx.verbs.engine import NativeEngine
from vhdx.verbs.shrink import Shrink

MIB = 1 << 20
FORMATS = [ImageFormat.VHDX, ImageFormat.VHD]


def engine() -> NativeEngine:
    numbers = count(1)
    return NativeEngine(lambda: UUID(int=next(numbers) << 96 | 0x8000_0000_0000_0000))


def layered(format: ImageFormat, layers: int) -> tuple[NativeEngine, MemoryFileSystem]:
    files, verbs = MemoryFileSystem(), engine()
    verbs.create(files, "0", 4 * MIB, CreateOptions(format=format))
    for number in range(layers):
        with verbs.open_chain(files, str(number), writable=1) as chain:
            chain.write(number * 4096, pattern(number + 1, 4096))
        if number + 1 < layers:
            verbs.create_child(files, str(number + 1), str(number))
    return verbs, files


def all_writable(above: object) -> Access:
    return Access.WRITE


@pytest.mark.parametrize("format", FORMATS)
def test_a_child_made_on_the_way_is_seen(format: ImageFormat) -> None:
    """The directory was looked at before it was made."""
    verbs, files = layered(format, 1)
    with verbs.open_family(files, "0", claim=all_writable) as disk:
        verbs.resize(files, "0", 6 * MIB, disk=disk)
        verbs.create_child(files, "child", "0", disk=disk)
        with pytest.raises(HasChildren):
            verbs.resize(files, "0", 2 * MIB, shrink=Shrink.FORCE, disk=disk)
    assert verbs.layers(files, "child") == ["child", "0"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_merge_and_a_link_on_one_disk(format: ImageFormat) -> None:
    verbs, files = layered(format, 4)
    with verbs.open_chain(files, "3") as chain:
        expected = chain.read(0, chain.size)
    tally = Tally()
    watched = WatchedFileSystem(files, tally)
    with verbs.open_family(watched, "3", claim=all_writable) as disk:
        opened = tally.calls["open"]
        plan = verbs.plan_merge(watched, "2", "1", disk=disk)
        verbs.merge(watched, "2", "1", disk=disk, plan=plan)
        verbs.relink(watched, "3", "1", merged=True, disk=disk)
        assert tally.calls["open"] - opened <= 1, "only the note of a forced link is looked for"
        with pytest.raises(InUse):
            engine().info(files, "3") and engine().resize(files, "3", 8 * MIB)
        disk.release("2")
        files.remove("2")
        # Behind each verb the files are as if it had closed them.
        left = MemoryFileSystem(files.snapshot())
        assert engine().layers(left, "3") == ["3", "1", "0"]
        assert {engine().info(left, path).log for path in ("0", "1", "3")} == {LogState.CLEAN}
    with verbs.open_chain(files, "3") as chain:
        assert chain.read(0, chain.size) == expected


REPLACED: dict[str, dict[str, object]] = {
    "a file that is not there": {"path": "new", "parent": "2"},
    "one that is no layer": {"path": "beside", "parent": "2"},
    "the leaf": {"path": "2", "parent": "1"},
    "the leaf by a layer further down": {"path": "2", "parent": "0"},
    "the leaf by itself": {"path": "2", "parent": "2"},
    "the leaf by what is no layer": {"path": "2", "parent": "beside"},
    "the leaf by another size": {"path": "2", "parent": "1", "size": 8 * MIB},
    "the leaf by any size": {"path": "2", "parent": "1", "size": 8 * MIB, "any_size": True},
    "the leaf by a size that cannot be": {"path": "2", "parent": "1", "size": 1000},
    "the leaf, its format said": {"path": "2", "parent": "1", "said": True},
    "a layer that others need": {"path": "1", "parent": "0"},
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("case", REPLACED)
def test_a_child_takes_the_place_that_it_takes_by_path(case: str, format: ImageFormat) -> None:
    asked = dict(REPLACED[case])
    if asked.pop("said", False):
        asked["parent_format"] = format
    left: list[object] = []
    for is_open in (False, True):
        verbs, files = layered(format, 3)
        verbs.create(files, "beside", 4 * MIB, CreateOptions(format=format))
        with closing(verbs.open_family(files, "2")) if is_open else nullcontext() as disk:
            try:
                verbs.create_child(files, replace=True, disk=disk, **asked)  # type: ignore[arg-type]
                error = None
            except Error as refused:
                error = type(refused)
                if disk is not None:
                    assert disk.paths == ["2", "1", "0"], "what is refused releases nothing"
        path = str(asked["path"])
        if error is None:
            with verbs.open_chain(files, path) as chain:
                left.append((error, verbs.layers(files, path), chain.size, chain.read(0, chain.size)))
        else:
            left.append((error, files.list("")))
    # By path the parent is looked for among all files, so what is refused may be another thing.
    assert left[0] == left[1] or case == "the leaf by what is no layer"


def test_another_name_of_the_leaf_is_replaced_and_its_own_stays(tmp_path: Path) -> None:
    verbs, files = engine(), LocalFileSystem(tmp_path)
    verbs.create(files, "0", 4 * MIB)
    verbs.create_child(files, "1", "0")
    (tmp_path / "link").hardlink_to(tmp_path / "1")
    with verbs.open_family(files, "1") as disk:
        verbs.create_child(files, "link", "0", replace=True, disk=disk)
    assert (tmp_path / "1").stat().st_nlink == 1
    assert verbs.layers(files, "link") == ["link", "0"]
    assert verbs.layers(files, "1") == ["1", "0"]


def test_a_disk_of_another_engine_is_refused() -> None:
    class Other:
        paths = ("0",)

    verbs, files = layered(ImageFormat.VHDX, 1)
    with pytest.raises(TypeError, match="not a disk that this engine has opened"):
        verbs.resize(files, "0", 8 * MIB, disk=Other())  # type: ignore[arg-type]
