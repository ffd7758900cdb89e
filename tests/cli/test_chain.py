"""``vhdx-inspect chain``: every layer, and where a link is broken."""

import shutil
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.conftest import Golden, general
from tests.cli.running import Programs
from tests.cli.test_info import KEYS, MORE

LINK_KEYS = ["recorded", "found", "linkage_ok", "verdict", "key", "by_name", "problems", "renamed"]
LINK_KEYS += ["forced", "siblings"]


@pytest.mark.parametrize("name", ["leaf.vhdx", "child.vhd", "dynamic.vhdx"])
def test_the_text(name: str, looking: Programs, golden: Golden) -> None:
    golden(f"chain-{name}", general(looking.inspect("chain", name).out, looking.here))


@pytest.mark.parametrize("name", gallery.BROKEN)
def test_a_broken_link(name: str, looking: Programs, golden: Golden) -> None:
    """The layers on stdout, the reason in one line on stderr, and exit code 2."""
    ended = looking.inspect("chain", name, code=2)
    golden(f"chain-{name}", general(ended.out, looking.here))
    assert ended.err == f"vhdx-inspect: {looking.here / name}: {gallery.BROKEN[name]}\n"


@pytest.mark.parametrize("name", gallery.BROKEN)
def test_a_broken_link_as_json(name: str, looking: Programs) -> None:
    (layer,) = looking.inspect("chain", name, "--json", code=2).json["layers"]
    assert layer["parent"]["verdict"] == {"orphan.vhdx": "missing", "stale.vhdx": "mismatch"}[name]
    assert layer["parent"]["problems"]


def test_json(looking: Programs) -> None:
    layers = looking.inspect("chain", "leaf.vhdx", "--json").json["layers"]
    assert [Path(layer["path"]).name for layer in layers] == ["leaf.vhdx", "middle.vhdx", "base.vhdx"]
    for layer in layers:
        assert list(layer) == [*KEYS, *MORE]
    assert [list(layer["parent"]) for layer in layers[:2]] == [LINK_KEYS, LINK_KEYS]
    assert layers[2]["parent"] is None
    link = layers[0]["parent"]
    assert (link["verdict"], link["key"]) == ("found", "relative_path")
    assert (link["by_name"], link["linkage_ok"]) == (False, True)
    assert link["siblings"] == [str(looking.here / "sibling.vhdx")]
    assert layers[1]["parent"]["siblings"] == []


def test_a_link_that_is_broken_further_down(programs: Programs) -> None:
    programs.bench.create("0.vhdx")
    for number in (1, 2, 3):
        programs.bench.child(f"{number}.vhdx", f"{number - 1}.vhdx")
    (programs.here / "0.vhdx").unlink()
    ended = programs.inspect("chain", "3.vhdx", "--json", code=2)
    assert [Path(layer["path"]).name for layer in ended.json["layers"]] == ["3.vhdx", "2.vhdx", "1.vhdx"]
    assert f"{programs.here}/1.vhdx" in ended.err


def test_a_parent_found_by_the_name_in_an_absolute_path(programs: Programs, looking: Programs) -> None:
    """A Hyper-V directory that was copied: the child names C:\\..., and the file lies beside it."""
    for name in ("child.vhd", "dynamic.vhd"):
        shutil.copy(looking.here / name, programs.here)
    link = programs.inspect("chain", "child.vhd", "--json").json["layers"][0]["parent"]
    assert link["verdict"] == "found"
    assert link["key"]


def test_an_image_that_is_no_image(looking: Programs) -> None:
    looking.inspect("chain", gallery.RUBBISH, code=2)
    looking.inspect("chain", "nowhere.vhdx", code=1)
