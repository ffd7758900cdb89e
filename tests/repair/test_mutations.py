"""Anything wrong anywhere: a repair refuses and changes nothing, or what could be read reads the same."""

from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.check.vhd_images import sealed
from tests.image.forge import Forge
from tests.image.test_mutations import STARTS, Spot, mutated, spots, values
from tests.repair.cases import back, do, errors, plan, readable
from tests.repair.damages import DAMAGES, files_of, vhd, vhd_child
from tests.support.choice import examples
from tests.support.memory import MemoryFileSystem, Pages
from vhdx.errors import Error
from vhdx.image.base import ImageFormat

SETTINGS = settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def judge(files: MemoryFileSystem, path: str, format: ImageFormat | None = None) -> None:
    """Repair and take it back, with all that has to hold."""
    before, read = files.fingerprint(path), readable(files, path)
    try:
        planned = plan(files, path, format)
    except Error:
        planned = None
    assert files.fingerprint(path) == before
    try:
        done = do(files, path, format)
    except Error:
        assert planned is None
        assert files.fingerprint(path) == before
        assert "undo" not in files.paths()
        return
    assert done == planned
    after = readable(files, path)
    assert read is None or after == read, done
    assert not errors(files, path), done
    assert do(files, path, format, "second") == []
    if done:
        back(files, path)
    assert files.fingerprint(path) == before


@pytest.mark.parametrize("start", STARTS)
@SETTINGS
@given(spots, values, st.sampled_from([True, True, False]), st.integers(-2, 2))
def test_a_vhdx_with_one_field_wrong(start: str, spots: list[Spot], data: bytes, seal: bool, mib: int) -> None:
    files = mutated(start, spots, data, seal=seal)
    made = Forge(files)
    if mib:
        made.truncate(made.size + mib * 700_000)
    judge(files, "disk.vhdx")


class Start(NamedTuple):
    """A sound VHD and where its structures lie."""

    files: dict[str, Pages]
    path: str
    size: int


def start(name: str) -> Start:
    disk = {"dynamic": vhd, "child": vhd_child}.get(name, lambda: vhd(fixed=True))()
    files = files_of(disk)
    disk.close()
    return Start(files.snapshot(), disk.paths[0], files.stat(disk.paths[0]).size)


VHDS = {name: start(name) for name in ("dynamic", "child", "fixed")}
PLACES = st.one_of(
    st.tuples(st.sampled_from([0, -512]), st.just(512), st.integers(0, 90)),
    st.tuples(st.sampled_from([0, -512]), st.just(512), st.sampled_from([0, 8, 12, 16, 24, 40, 48, 60, 64, 68, 84])),
    st.tuples(st.just(512), st.just(1024), st.integers(0, 700)),
    st.tuples(st.just(512), st.just(1024), st.sampled_from([0, 8, 16, 24, 28, 32, 36, 40, 576, 580, 592])),
    st.tuples(st.just(1536), st.just(0), st.integers(0, 16)),
)


@pytest.mark.parametrize("name", VHDS)
@SETTINGS
@given(
    st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8), st.booleans()), min_size=1, max_size=3),
    st.sampled_from([0, 0, 0, -512, -100, 511, 512, 4096, 700_000]),
    st.booleans(),
)
def test_a_vhd_with_a_few_fields_wrong(
    name: str, changes: list[tuple[tuple[int, int, int], bytes, bool]], growth: int, told: bool
) -> None:
    begin = VHDS[name]
    files = MemoryFileSystem({path: pages.copy() for path, pages in begin.files.items()})
    made = Forge(files, begin.path)
    for (offset, length, place), data, seal in changes:
        at = offset if offset >= 0 else begin.size + offset
        made.write(at + place, data)
        if seal and length:
            made.write(at, sealed(made.read(at, length), 64 if length == 512 else 36))
    if growth:
        made.truncate(made.size + growth)
    judge(files, begin.path, ImageFormat.VHD if told else None)


@pytest.mark.parametrize("name", DAMAGES)
@settings(max_examples=examples(6), deadline=None)
@given(st.data())
def test_damage_on_top_of_damage(name: str, data: st.DataObject) -> None:
    damage = DAMAGES[name]
    disk = damage.make()
    disk.close()
    made = Forge(disk.files, disk.paths[0])
    areas = st.sampled_from([0, 64 << 10, 128 << 10, 192 << 10, 256 << 10, 1 << 20, 2 << 20, 3 << 20, made.size - 512])
    for _ in range(data.draw(st.integers(1, 3))):
        place = min(data.draw(areas) + data.draw(st.integers(0, 120)), made.size - 8)
        made.write(max(place, 0), data.draw(st.binary(min_size=1, max_size=8)))
    judge(files_of(disk), disk.paths[0], damage.format)
