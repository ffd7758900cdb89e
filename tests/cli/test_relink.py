"""``vhdx-img relink``: another file as the parent."""

import pytest

from tests.cli.running import Programs
from tests.cli.test_create import info
from tests.support.disks import MIB


@pytest.fixture
def moved(programs: Programs) -> Programs:
    """A child whose parent was renamed."""
    programs.bench.create("base.vhdx")
    programs.bench.write("base.vhdx", 0, b"below")
    programs.bench.child("child.vhdx", "base.vhdx")
    (programs.here / "base.vhdx").rename(programs.here / "moved.vhdx")
    return programs


def test_a_parent_with_another_name(moved: Programs) -> None:
    moved.inspect("hash", "child.vhdx", code=2)
    shown = moved.img("relink", "child.vhdx", "moved.vhdx").out
    assert shown == f"{moved.here}/child.vhdx: its parent is {moved.here}/moved.vhdx\n"
    assert moved.inspect("read", "child.vhdx", "0", "5", "--raw").out == "below"
    assert info(moved, "child.vhdx")["parent"]["recorded"]["paths"]["relative_path"] == ".\\moved.vhdx"
    moved.inspect("check", "child.vhdx", "--chain")


def test_a_parent_that_was_changed(moved: Programs) -> None:
    """It is done when it is asked for by name, told of from then on, and taken back."""
    moved.img("relink", "child.vhdx", "moved.vhdx")
    moved.bench.write("moved.vhdx", 0, b"other")
    moved.inspect("hash", "child.vhdx", code=2)
    refused = moved.refused("relink", "child.vhdx", "moved.vhdx", code=4)
    assert "its id is" in refused
    assert "--force" in refused
    forced = moved.img("relink", "child.vhdx", "moved.vhdx", "--force").out
    assert "FORCED although its id is" in forced
    assert "FORCED" in moved.inspect("chain", "child.vhdx").out
    assert moved.inspect("chain", "child.vhdx", "--json").json["layers"][0]["parent"]["forced"]
    assert "[chain-forced]" in moved.inspect("check", "child.vhdx", "--chain", code=3).out
    assert moved.inspect("read", "child.vhdx", "0", "5", "--raw").out == "other"
    moved.img("relink", "child.vhdx", "--undo")
    assert "mismatch" in moved.inspect("chain", "child.vhdx", "--json", code=2).out
    moved.refused("relink", "child.vhdx", "--undo", code=4)
    assert not (moved.here / "child.vhdx.chain.forced").exists()


def test_no_option_is_named_that_the_command_lacks(moved: Programs) -> None:
    (moved.here / "plain.raw").write_bytes(bytes(MIB))
    assert "-f raw" not in moved.refused("relink", "plain.raw", "moved.vhdx", code=2)
    assert "-f raw" in moved.inspect("hash", "plain.raw", code=2).err


@pytest.mark.parametrize(
    "words", ["relink child.vhdx", "relink child.vhdx moved.vhdx --undo", "relink child.vhdx --undo --force"]
)
def test_usage(words: str, moved: Programs) -> None:
    moved.refused(*words.split(), code=64)


def test_a_parent_elsewhere(moved: Programs) -> None:
    (moved.here / "deep").mkdir()
    (moved.here / "moved.vhdx").rename(moved.here / "deep" / "moved.vhdx")
    moved.img("relink", "child.vhdx", "deep/moved.vhdx")
    moved.inspect("hash", "child.vhdx")


def test_a_parent_that_reopening_will_not_find(moved: Programs) -> None:
    """As with create -b: what reopening needs is printed."""
    (moved.here / "deep").mkdir()
    (moved.here / "child.vhdx").rename(moved.here / "deep" / "child.vhdx")
    shown = moved.img("relink", "deep/child.vhdx", "moved.vhdx").out
    moved.inspect("hash", "deep/child.vhdx", code=2)
    moved.inspect("hash", "deep/child.vhdx", "--parents-in", ".")
    assert "--parents-in" in shown


@pytest.mark.parametrize(
    ("child", "parent", "code"),
    [
        ("child.vhdx", "child.vhdx", 4),
        ("child.vhdx", "./child.vhdx", 4),
        ("child.vhdx", "leaf.vhdx", 4),
        ("moved.vhdx", "other.vhdx", 4),
        ("child.vhdx", "a.vhd", 4),
        ("child.vhdx", "large.vhdx", 4),
        ("child.vhdx", "nowhere.vhdx", 1),
        ("nowhere.vhdx", "moved.vhdx", 1),
        ("child.vhdx", "plain.raw", 2),
        ("plain.raw", "moved.vhdx", 2),
        ("child.vhdx", "", 4),
    ],
)
def test_refusals(child: str, parent: str, code: int, moved: Programs) -> None:
    moved.img("relink", "child.vhdx", "moved.vhdx")
    moved.bench.child("leaf.vhdx", "child.vhdx")
    moved.bench.create("other.vhdx")
    moved.bench.create("large.vhdx", sector=4096)
    moved.bench.create("a.vhd")
    (moved.here / "plain.raw").write_bytes(bytes(MIB))
    moved.refused("relink", child, parent, code=code)
