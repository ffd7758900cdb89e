"""``vhdx-inspect info``: what is said of every kind of image, as text and as JSON."""

import re
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.cli import gallery
from tests.cli.conftest import Golden, general
from tests.cli.running import Programs

KEYS = [
    "path",
    "format",
    "type",
    "virtual_size",
    "file_size",
    "allocated",
    "block_size",
    "logical_sector_size",
    "physical_sector_size",
    "disk_id",
    "creator",
    "log",
    "parent",
]
MORE = ["warnings", "linkage"]
OPENING = [*gallery.SOUND, *gallery.BROKEN, gallery.DAMAGED]


TEXTS = ["dynamic.vhdx", "sectors.vhdx", "dirty.vhdx", "leaf.vhdx", *gallery.BROKEN, "child.vhd", "fixed.vhd"]


@pytest.mark.parametrize("name", TEXTS)
def test_the_text(name: str, looking: Programs, golden: Golden) -> None:
    golden(f"info-{name}", general(looking.inspect("info", name).out, looking.here))


def test_the_text_of_a_raw_disk(looking: Programs, golden: Golden) -> None:
    golden("info-raw", general(looking.inspect("info", gallery.RAW, "-f", "raw").out, looking.here))


@pytest.mark.parametrize("name", OPENING)
def test_the_keys(name: str, looking: Programs) -> None:
    found = looking.inspect("info", name, "--json").json
    assert list(found) == [*KEYS, *MORE]
    assert list(found["log"]) == ["state", "entries"]
    if found["parent"] is not None:
        assert list(found["parent"]) == ["recorded", "found", "linkage_ok"]
    values(found, looking.here / name)


def values(found: dict[str, Any], path: Path) -> None:
    """What can be told of any image without looking into it."""
    status = path.stat()
    assert found["path"] == str(path)
    assert found["format"] == path.suffix[1:]
    assert found["virtual_size"] == gallery.SIZE
    assert (found["file_size"], found["allocated"]) == (status.st_size, status.st_blocks * 512)
    assert str(UUID(found["disk_id"])) == found["disk_id"]
    assert (found["type"] == "differencing") == (found["parent"] is not None)
    assert (found["block_size"] is None) == (path.name == "fixed.vhd")
    assert found["log"]["state"] == ("none" if path.suffix == ".vhd" else "dirty" if "dirty" in path.name else "clean")
    assert bool(found["log"]["entries"]) == (found["log"]["state"] == "dirty")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sectors.vhdx", {"logical_sector_size": 4096, "physical_sector_size": 4096, "block_size": 2 << 20}),
        ("dynamic.vhdx", {"logical_sector_size": 512, "type": "dynamic", "block_size": 1 << 20}),
        ("fixed.vhdx", {"type": "fixed"}),
        ("dynamic.vhd", {"type": "dynamic", "block_size": 2 << 20, "physical_sector_size": 512}),
        ("fixed.vhd", {"type": "fixed"}),
    ],
)
def test_some_values(name: str, expected: dict[str, Any], looking: Programs) -> None:
    assert expected.items() <= looking.inspect("info", name, "--json").json.items()


def test_a_raw_disk_as_json(looking: Programs) -> None:
    found = looking.inspect("info", gallery.RAW, "-f", "raw", "--json").json
    assert list(found) == [*KEYS, *MORE]
    assert (found["format"], found["type"], found["parent"], found["disk_id"]) == ("raw", "fixed", None, None)
    assert found["virtual_size"] == found["file_size"]
    assert found["log"] == {"state": "none", "entries": 0}


def test_a_parent_that_is_there(looking: Programs) -> None:
    parent = looking.inspect("info", "leaf.vhdx", "--json").json["parent"]
    assert parent["found"] == str(looking.here / "middle.vhdx")
    assert parent["linkage_ok"] is True
    assert parent["recorded"]["paths"]["relative_path"] == ".\\middle.vhdx"
    assert UUID(parent["recorded"]["linkage"])


def test_a_parent_that_is_missing(looking: Programs) -> None:
    parent = looking.inspect("info", "orphan.vhdx", "--json").json["parent"]
    assert (parent["found"], parent["linkage_ok"]) == (None, None)
    assert parent["recorded"]["paths"]["relative_path"] == ".\\under-orphan.vhdx"


def test_a_parent_that_was_changed(looking: Programs) -> None:
    parent = looking.inspect("info", "stale.vhdx", "--json").json["parent"]
    assert (parent["found"], parent["linkage_ok"]) == (str(looking.here / "under-stale.vhdx"), False)


def test_a_parent_elsewhere(programs: Programs) -> None:
    (programs.here / "deep").mkdir()
    programs.img("create", "base.vhdx", "4M")
    programs.img("create", "deep/child.vhdx", "-b", "base.vhdx")
    assert programs.inspect("info", "deep/child.vhdx", "--json").json["parent"]["found"] is None
    for directory in (str(programs.here), "deep/.."):
        parent = programs.inspect("info", "deep/child.vhdx", "--json", "--parents-in", directory).json["parent"]
        assert parent["found"] == str(programs.here / "base.vhdx")
    both = programs.inspect("info", "deep/child.vhdx", "--json", "--parents-in", "deep", "--parents-in", ".")
    assert both.json["parent"]["linkage_ok"] is True


def test_a_log_to_replay_is_told_and_left(looking: Programs) -> None:
    """Also what a replay would change: how much of the file, in words."""
    before = (looking.here / "dirty.vhdx").read_bytes()
    shown = looking.inspect("info", "dirty.vhdx").out
    assert re.search(r"^log: +dirty: \d+ entr(y|ies) to replay", shown, re.MULTILINE)
    assert (looking.here / "dirty.vhdx").read_bytes() == before


def test_the_content_says_what_it_is_and_not_the_name(looking: Programs, tmp_path: Path) -> None:
    shutil.copy(looking.here / "dynamic.vhd", tmp_path / "called.vhdx")
    assert Programs(tmp_path).inspect("info", "called.vhdx", "--json").json["format"] == "vhd"


def test_insisting_on_a_format(looking: Programs) -> None:
    looking.inspect("info", "dynamic.vhdx", "-f", "vhd", code=2)
    looking.inspect("info", "dynamic.vhd", "-f", "vhdx", code=2)
    found = looking.inspect("info", "dynamic.vhdx", "-f", "raw", "--json").json
    assert (found["format"], found["virtual_size"]) == ("raw", (looking.here / "dynamic.vhdx").stat().st_size)


@pytest.mark.parametrize("name", [gallery.RAW, gallery.RUBBISH])
def test_nothing_is_taken_for_raw_by_itself(name: str, looking: Programs) -> None:
    assert "-f raw" in looking.inspect("info", name, code=2).err
