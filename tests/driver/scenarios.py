"""Operations to be stopped at every point, and what may be left of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from tests.driver.kits import OTHER, SIZE, VOLUME, A, B, Bench, C
from tests.support.memory import MemoryFileSystem, Pages

Picture = Mapping[str, dict[int, int]] | None
Pictures = tuple[Picture, Picture]
"""What the volume and the other one show."""


def _layered(bench: Bench) -> None:
    """A volume with two snapshots, each layer of which masks some of the one below."""
    bench.volumes.create(VOLUME, SIZE)
    bench.write(0, 1)
    bench.write(1, 1)
    for number, snapshot in enumerate((A, B), start=2):
        bench.volumes.create_snapshot(VOLUME, snapshot)
        bench.write(1, number)
        bench.write(number, number)


def _grown(bench: Bench) -> None:
    _layered(bench)
    bench.volumes.extend(VOLUME, 2 * SIZE)
    bench.write(20, 9)


def _nothing(bench: Bench) -> None:
    assert bench.files.list("") == []


@dataclass(frozen=True)
class Scenario:
    """A share as *prepare* makes it, and an operation on it."""

    prepare: Callable[[Bench], None]
    operate: Callable[[Bench], None]


SCENARIOS = {
    "create": Scenario(_nothing, lambda b: b.volumes.create(VOLUME, SIZE)),
    "first snapshot": Scenario(
        lambda b: b.volumes.create(VOLUME, SIZE), lambda b: b.volumes.create_snapshot(VOLUME, A)
    ),
    "third snapshot": Scenario(_layered, lambda b: b.volumes.create_snapshot(VOLUME, C)),
    "delete latest": Scenario(_layered, lambda b: b.volumes.delete_snapshot(VOLUME, B)),
    "delete oldest": Scenario(_layered, lambda b: b.volumes.delete_snapshot(VOLUME, A)),
    "delete latest, grown": Scenario(_grown, lambda b: b.volumes.delete_snapshot(VOLUME, B)),
    "extend": Scenario(_layered, lambda b: b.volumes.extend(VOLUME, 2 * SIZE)),
    "revert": Scenario(_layered, lambda b: b.volumes.revert(VOLUME, B)),
    "from snapshot": Scenario(_layered, lambda b: b.volumes.create_from_snapshot(OTHER, VOLUME, B, SIZE)),
    "clone": Scenario(_layered, lambda b: b.volumes.clone(OTHER, VOLUME, 2 * SIZE)),
    "delete": Scenario(_layered, lambda b: b.volumes.delete(VOLUME)),
}


@cache
def _prepared(kit_name: str, case: str) -> dict[str, Pages]:
    bench = Bench.on(MemoryFileSystem(), kit_name)
    SCENARIOS[case].prepare(bench)
    return bench.files.snapshot() if isinstance(bench.files, MemoryFileSystem) else {}


def prepared(kit_name: str, case: str) -> MemoryFileSystem:
    """The share before the operation."""
    return MemoryFileSystem({path: pages.copy() for path, pages in _prepared(kit_name, case).items()})


def pictures(bench: Bench) -> Pictures:
    """What both volumes show."""
    return bench.picture(VOLUME), bench.picture(OTHER)


@cache
def outcomes(kit_name: str, case: str) -> tuple[Pictures, Pictures]:
    """What may be left: all as before, or all as after."""
    bench = Bench.on(prepared(kit_name, case), kit_name, start=1 << 12)
    before = pictures(bench)
    SCENARIOS[case].operate(bench)
    after = pictures(bench)
    assert before != after
    return before, after


def check_settled(files: MemoryFileSystem, kit_name: str, case: str, context: str) -> Pictures:
    """Recover the share as another process would, and hold it to the outcomes; say which it is."""
    bench = Bench.on(files, kit_name, start=1 << 20)
    report = bench.volumes.recover()
    assert not report.failed, f"{context}: {report.failed}"
    assert not report.running, f"{context}: {report.running}"
    assert bench.strays() == set(), context
    found = pictures(bench)
    assert found in outcomes(kit_name, case), context
    return found
