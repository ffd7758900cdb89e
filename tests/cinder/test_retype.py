"""Volumes that get another type, or another pool: the content is there, in one place, as the type says."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cinder.nodes import destination
from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes
from tests.cinder.waiting import until

GIB = 1 << 30
OFFSETS = (0, 5 << 20, GIB - 512)
ONE = b"1" * 512

TypeOf = Callable[[Mapping[str, str]], str]
"""Makes a volume type with extra specs; gives its name."""


@pytest.fixture
def type_of(rest: Rest, volumes: Volumes) -> Iterator[TypeOf]:
    """Types of the backend under test. Gone at the end, after the volumes that have them."""
    made = []

    def make(specs: Mapping[str, str]) -> str:
        name = f"type-{uuid4()}"
        body = {"name": name, "extra_specs": {"volume_backend_name": volumes.backend, **specs}}
        made.append(rest.volume("POST", "/types", {"volume_type": body})["volume_type"]["id"])
        return name

    yield make
    volumes.clear()
    for ident in made:
        rest.volume("DELETE", f"/types/{ident}")


def filled(volumes: Volumes, shares: Shares, **how: object) -> str:
    volume = volumes.create(**how)
    for offset in OFFSETS:
        shares.write(volume, offset, ONE)
    return volume


def check(volumes: Volumes, shares: Shares, volume: str) -> None:
    assert [shares.read(volume, offset, 512) for offset in OFFSETS] == [ONE] * len(OFFSETS)
    assert shares.size(volume) == GIB
    assert len([file for file in shares.files_of(volume) if not file.endswith(".info")]) == 1
    pool = volumes.pool(volume).rpartition("#")[2]
    assert shares.share_of(volume) == pool
    assert volumes.show(volume)["migration_status"] in (None, "success")


def retype(volumes: Volumes, volume: str, name: str, policy: str = "never") -> None:
    volumes.act(volume, "os-retype", new_type=name, migration_policy=policy)
    until(lambda: volumes.show(volume)["status"] in ("available", "error"), f"{volume} has the type {name}")


def file_of(shares: Shares, volume: str) -> Path:
    (name,) = shares.files_of(volume)
    share, _, file = name.partition("/")
    return shares.directory(share) / file


@pytest.mark.parametrize("format", ["vhd", "vhdx"])
def test_a_type_with_another_format_gives_the_volume_that_format(
    volumes: Volumes, shares: Shares, type_of: TypeOf, format: str
) -> None:
    volume = filled(volumes, shares)
    name = type_of({"smbfs:volume_format": format})
    retype(volumes, volume, name)
    assert volumes.show(volume)["volume_type"] == name
    assert file_of(shares, volume).suffix == f".{format}"
    check(volumes, shares, volume)


def test_a_thick_type_takes_the_space_and_a_thin_one_gives_it_back(
    volumes: Volumes, shares: Shares, type_of: TypeOf
) -> None:
    volume = filled(volumes, shares)
    thick, thin = (type_of({"provisioning:type": which}) for which in ("thick", "thin"))
    retype(volumes, volume, thick)
    assert file_of(shares, volume).stat().st_blocks * 512 >= GIB
    check(volumes, shares, volume)
    retype(volumes, volume, thin)
    assert file_of(shares, volume).stat().st_blocks * 512 < GIB // 4
    check(volumes, shares, volume)


def test_a_volume_with_snapshots_keeps_its_format(volumes: Volumes, shares: Shares, type_of: TypeOf) -> None:
    other = {"vhd": "vhdx", "vhdx": "vhd"}[volumes.backend]
    volume = filled(volumes, shares)
    snapshot = volumes.snapshot(volume)
    before = shares.files_of(volume)
    retype(volumes, volume, type_of({"smbfs:volume_format": other}))
    assert volumes.show(volume)["volume_type"] == volumes.backend
    assert shares.files_of(volume) == before
    volumes.delete_snapshot(snapshot)
    assert shares.read(volume, 0, 512) == ONE


@pytest.fixture
def pair(rest: Rest, volumes: Volumes) -> tuple[str, str]:
    """Two pools of a backend that has two."""
    pools = rest.volume("GET", "/scheduler-stats/get_pools")["pools"]
    names = sorted(pool["name"] for pool in pools if f"@{volumes.backend}#" in pool["name"])
    if len(names) < 2:
        pytest.skip(f"the backend {volumes.backend} has one pool")
    return names[0], names[1]


def test_a_volume_migrates_to_the_other_pool_and_back(
    volumes: Volumes, shares: Shares, pair: tuple[str, str]
) -> None:
    volume = filled(volumes, shares)
    here = volumes.pool(volume)
    for pool in (pair[1 - pair.index(here)], here):
        volumes.migrate(volume, pool)
        assert volumes.pool(volume).startswith(destination(pool))
        assert shares.share_of(volume) == volumes.pool(volume).partition("#")[2]
        check(volumes, shares, volume)
    volumes.extend(volume, 2)
    assert shares.read(volume, 0, 512) == ONE


def test_a_volume_migrates_to_another_backend_and_back(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    volume = filled(volumes, shares)
    here = volumes.pool(volume)
    pools = [pool["name"] for pool in rest.volume("GET", "/scheduler-stats/get_pools")["pools"]]
    elsewhere = next(name for name in pools if f"@{volumes.backend}#" not in name)
    # A migration goes by the type, and that of a test asks for the backend.
    name = f"type-{uuid4()}"
    kind = rest.volume("POST", "/types", {"volume_type": {"name": name}})["volume_type"]["id"]
    retype(volumes, volume, name)
    suffix = file_of(shares, volume).suffix
    for pool in (elsewhere, here):
        volumes.migrate(volume, pool)
        assert volumes.pool(volume).startswith(destination(pool))
        assert shares.share_of(volume) == volumes.pool(volume).partition("#")[2]
        assert file_of(shares, volume).suffix == suffix
        check(volumes, shares, volume)
    volumes.delete(volume)
    rest.volume("DELETE", f"/types/{kind}")


def test_a_migrated_volume_lives_on(volumes: Volumes, shares: Shares, pair: tuple[str, str]) -> None:
    volume = filled(volumes, shares)
    volumes.migrate(volume, pair[1 - pair.index(volumes.pool(volume))])
    snapshot = volumes.snapshot(volume)
    shares.write(volume, 0, b"2" * 512)
    volumes.revert(volume, snapshot)
    made = volumes.create(1, snapshot_id=snapshot)
    assert shares.read(made, 0, 512) == ONE
    volumes.delete_snapshot(snapshot)
    check(volumes, shares, volume)
