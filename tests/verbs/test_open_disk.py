"""Several verbs on one open disk: each sees what the others did, and leaves what it would have left by path."""

from itertools import count
from uuid import UUID

import pytest

from tests.support.disks import pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Tally, WatchedFileSystem
from vhdx.errors import HasChildren, InUse
from vhdx.image.base import CreateOptions, ImageFormat, LogState
from vhdx.storage.base import Access
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


def test_a_disk_of_another_engine_is_refused() -> None:
    class Other:
        paths = ("0",)

    verbs, files = layered(ImageFormat.VHDX, 1)
    with pytest.raises(TypeError, match="not a disk that this engine has opened"):
        verbs.resize(files, "0", 8 * MIB, disk=Other())  # type: ignore[arg-type]
