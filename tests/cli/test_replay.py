"""``vhdx-img replay``: the log put where it belongs."""

import shutil

import pytest

from tests.cli.running import Programs
from tests.cli.test_create import info


def test_a_log_to_replay(looking: Programs, programs: Programs) -> None:
    shutil.copy(looking.here / "dirty.vhdx", programs.here)
    wanted = programs.bench.digest("dirty.vhdx")
    assert info(programs, "dirty.vhdx")["log"]["state"] == "dirty"
    path = programs.here / "dirty.vhdx"
    assert programs.img("replay", "dirty.vhdx").out == f"{path}: log replayed\n"
    assert info(programs, "dirty.vhdx")["log"] == {"state": "clean", "entries": 0}
    assert programs.bench.digest("dirty.vhdx") == wanted
    assert not programs.inspect("check", "dirty.vhdx", "--json").json["findings"]
    before = path.read_bytes()
    assert programs.img("replay", "dirty.vhdx").out == f"{path}: nothing to replay\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["dynamic.vhd", "orphan.vhdx"])
def test_nothing_to_replay(name: str, looking: Programs, programs: Programs) -> None:
    """Also where there is no log, and where the parent is missing."""
    shutil.copy(looking.here / name, programs.here)
    before = (programs.here / name).read_bytes()
    assert "nothing to replay" in programs.img("replay", name).out
    assert (programs.here / name).read_bytes() == before


def test_refusals(looking: Programs, programs: Programs) -> None:
    shutil.copy(looking.here / "plain.raw", programs.here)
    programs.refused("replay", "plain.raw", code=2)
    programs.refused("replay", "nowhere.vhdx", code=1)
    programs.refused("replay", code=64)
    programs.refused("replay", ".", code=4)
