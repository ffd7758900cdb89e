"""What a verb asks of a file system grows with the number of layers, not with its square. Calls are counted."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from uuid import uuid4

import pytest

from smbfs_driver.volumes.managing import candidates
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.chain.children import Looked, Relatives
from vhdx.chain.parents import ParentPolicy
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.open import open_image
from vhdx.image.vhd.table import VhdTable
from vhdx.image.vhdx.table import BlockTable
from vhdx.storage.base import Access
from vhdx.storage.watched import Operation, Tally, WatchedFileSystem
from vhdx.verbs.engine import Direction, NativeEngine

MIB = 1 << 20
SECTOR = 512
MOST, EVERY = 120, 10
LISTINGS = 4


def name(number: int) -> str:
    return f"{number:03}.vhdx"


@cache
def _most() -> Mapping[str, Pages]:
    # What is being made has no relatives beside it: to look for them would take the square.
    files, engine = MemoryFileSystem(), NativeEngine(policy=ParentPolicy(related=lambda _path, _name: False))
    engine.create(files, name(0), MIB)
    for number in range(1, MOST + 1):
        engine.create_child(files, name(number), name(number - 1))
        if number % EVERY == 0:
            with engine.open_chain(files, name(number), writable=1, orphan=True) as chain:
                chain.write(number * SECTOR, bytes([number]) * SECTOR)
    return files.snapshot()


def layered(count: int) -> MemoryFileSystem:
    """A base and *count* layers over it, a sector in every tenth."""
    return MemoryFileSystem({name(number): _most()[name(number)].copy() for number in range(count + 1)})


def merged(count: int) -> Tally:
    """The calls of a merge of all layers into the base, after which the base shows all of them."""
    files, tally = layered(count), Tally()
    NativeEngine().merge(WatchedFileSystem(files, tally), name(count), name(0), remove=True)
    assert files.list("") == [name(0)], "layers were left"
    with NativeEngine().open_chain(files, name(0)) as chain:
        content = chain.read(0, (count + 1) * SECTOR)
    assert content == b"".join(bytes([number * (number % EVERY == 0)]) * SECTOR for number in range(count + 1))
    return tally


def test_a_merge_asks_for_each_layer_as_often_whatever_their_number() -> None:
    tallies = {count: merged(count) for count in (10, 40, MOST)}
    for count, tally in tallies.items():
        assert tally.calls["open"] <= 3 * (count + 1), tally.calls
        assert tally.calls["list"] <= LISTINGS, tally.calls
    assert tallies[MOST].calls.total() <= 14 * tallies[10].calls.total()


def test_the_children_of_all_files_are_found_by_opening_each_twice_at_most() -> None:
    """Once by who asks, and once by what is known of the directory for all who ask."""
    count = MOST
    files, opened, tally = layered(count), Counter[str](), Tally()

    def watch(operation: Operation) -> None:
        tally(operation)
        opened[operation.name] += operation.kind == "open"

    watched = WatchedFileSystem(files, watch)
    relatives = Relatives(watched, policy=ParentPolicy(), new_id=uuid4)
    for number in range(count + 1):
        storage = watched.open(name(number), Access.INSPECT)
        with closing(open_image(storage, new_id=uuid4, format=ImageFormat.VHDX)) as image:
            looked = Looked(image.info, image.storage.identity())
        found = relatives.of(name(number), ImageFormat.VHDX).children(name(number), looked)
        assert found == [name(number + 1)] * (number < count)
    assert max(opened.values()) <= 2
    assert tally.calls["list"] <= LISTINGS


def test_images_that_might_become_volumes_are_opened_twice_at_most() -> None:
    """Half of them are children of the others, or of each other."""
    files, opened = layered(39), Counter[str]()
    for number in range(40):
        NativeEngine(policy=ParentPolicy(related=lambda _path, _name: False)).create(files, f"lone{number}.vhdx", MIB)

    def watch(operation: Operation) -> None:
        opened[operation.name] += operation.kind == "open"

    found = list(candidates(WatchedFileSystem(files, watch), "//server/share", NativeEngine(), ()))
    assert len(found) == 80
    assert max(opened.values()) <= 2
    assert {one.reference.path: one.reason for one in found if not one.reference.path.startswith("lone")} == {
        name(number): "has a parent" if number else f"is the parent of {name(1)}" for number in range(40)
    }
    assert {one.reason for one in found if one.reference.path.startswith("lone")} == {""}


@pytest.mark.parametrize("table", [BlockTable, VhdTable])
def test_planning_a_merge_goes_through_each_table_once(
    table: type[BlockTable | VhdTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, engine = MemoryFileSystem(), NativeEngine()
    format = ImageFormat.VHDX if table is BlockTable else ImageFormat.VHD
    engine.create(files, "0", 8 * MIB, CreateOptions(format=format))
    for number in (1, 2, 3):
        engine.create_child(files, str(number), str(number - 1), parent_format=format)
        with engine.open_chain(files, str(number), writable=1, orphan=True, format=format) as chain:
            chain.write(number * SECTOR, bytes([number]) * SECTOR)
    scan, passes = table.scan, Counter[object]()

    def counted(self: BlockTable | VhdTable, *arguments: object) -> object:
        passes[self] += 1
        return scan(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "scan", counted)
    for direction in (Direction.DOWN, Direction.UP):
        passes.clear()
        plan = engine.plan_merge(files, "3", "0", direction=direction, format=format)
        assert plan.moved
        assert len(passes) == 4
        assert set(passes.values()) == {1}
