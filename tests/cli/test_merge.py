"""``vhdx-img merge``: layers made one, and nobody's parent taken away unsaid."""

import hashlib

import pytest

from tests.cli.conftest import Golden, general
from tests.cli.running import Programs
from tests.support.disks import MIB, pattern

KEYS = ["done", "result", "merged", "moved", "needed", "free", "relinked", "orphaned", "cut", "lost", "removed"]


def chain(programs: Programs, layers: int, extension: str = "vhdx") -> list[str]:
    """Images 0, 1, ... each over the one before it; the disk of each has a sector of its own. Their hashes."""
    hashes = []
    for number in range(layers):
        name = f"{number}.{extension}"
        if number:
            programs.bench.child(name, f"{number - 1}.{extension}")
        else:
            programs.bench.create(name)
        programs.bench.write(name, number * MIB, pattern(number + 1, 512))
        hashes.append(programs.bench.digest(name))
    return hashes


@pytest.mark.parametrize("extension", ["vhdx", "vhd"])
def test_into_the_parent(extension: str, programs: Programs) -> None:
    *_, wanted = chain(programs, 2, extension)
    shown = programs.img("merge", f"1.{extension}").out
    assert f"{programs.here}/1.{extension}: merged into {programs.here}/0.{extension}" in shown
    assert programs.bench.names() == [f"0.{extension}"]
    assert programs.bench.digest(f"0.{extension}") == wanted
    programs.inspect("check", f"0.{extension}")


def test_the_text_and_what_it_would_have_been(programs: Programs, golden: Golden) -> None:
    chain(programs, 3)
    would = programs.img("merge", "2.vhdx", "--into", "0.vhdx", "--dry-run").out
    golden("merge-dry-run", general(would, programs.here))
    golden("merge", general(programs.img("merge", "2.vhdx", "--into", "0.vhdx").out, programs.here))


def test_into_an_ancestor(programs: Programs) -> None:
    *_, wanted = chain(programs, 4)
    done = programs.img("merge", "2.vhdx", "--into", "./0.vhdx", "--json").json
    assert list(done) == KEYS
    assert done["done"] is True
    assert done["result"] == str(programs.here / "0.vhdx")
    assert sorted(done["merged"]) == sorted(done["removed"]) == [str(programs.here / f"{n}.vhdx") for n in (1, 2)]
    assert done["relinked"] == [str(programs.here / "3.vhdx")]
    assert done["moved"] >= 2 * 512
    assert programs.bench.names() == ["0.vhdx", "3.vhdx"]
    assert programs.bench.digest("3.vhdx") == wanted
    programs.inspect("check", "3.vhdx", "--chain")


def test_what_names_the_child_is_relinked_first(programs: Programs) -> None:
    _, _, leaf = chain(programs, 3)
    programs.bench.child("other.vhdx", "1.vhdx")
    other = programs.bench.digest("other.vhdx")
    programs.img("merge", "1.vhdx")
    assert programs.bench.names() == ["0.vhdx", "2.vhdx", "other.vhdx"]
    assert (programs.bench.digest("2.vhdx"), programs.bench.digest("other.vhdx")) == (leaf, other)


def test_a_dry_run_changes_nothing(programs: Programs) -> None:
    chain(programs, 3)
    before = {path.name: path.read_bytes() for path in programs.here.iterdir()}
    would = programs.img("merge", "2.vhdx", "--dry-run", "--json").json
    assert (would["done"], would["removed"]) == (False, [])
    programs.img("merge", "2.vhdx", "--into", "0.vhdx", "--dry-run", "--quiet")
    assert {path.name: path.read_bytes() for path in programs.here.iterdir()} == before
    done = programs.img("merge", "2.vhdx", "--json").json
    same = ("result", "merged", "moved", "needed", "relinked", "orphaned")
    assert {key: done[key] for key in same} == {key: would[key] for key in same}


def test_keep(programs: Programs) -> None:
    """The merged files stay, whatever names the child is linked to the result, and all that reads still reads right."""
    _, middle, leaf = chain(programs, 3)
    done = programs.img("merge", "1.vhdx", "--keep", "--json").json
    assert done["removed"] == []
    assert programs.bench.names() == ["0.vhdx", "1.vhdx", "2.vhdx"]
    assert (programs.bench.digest("0.vhdx"), programs.bench.digest("2.vhdx")) == (middle, leaf)
    layers = programs.inspect("chain", "2.vhdx", "--json").json["layers"]
    assert [layer["path"] for layer in layers] == [str(programs.here / name) for name in ("2.vhdx", "0.vhdx")]


# --- other children --------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_parent(programs: Programs) -> Programs:
    """0 under 1 under 2, and two more children of 0."""
    chain(programs, 3)
    for name in ("a.vhdx", "b.vhdx"):
        programs.bench.child(name, "0.vhdx")
    return programs


@pytest.mark.parametrize("words", [["1.vhdx"], ["2.vhdx", "--into", "0.vhdx"]], ids=" ".join)
def test_other_children_are_a_refusal_that_names_them(words: list[str], shared_parent: Programs) -> None:
    said = shared_parent.refused("merge", *words)
    for name in ("a.vhdx", "b.vhdx"):
        assert str(shared_parent.here / name) in said
    assert "--orphan" in said
    assert "1.vhdx" not in said.partition("is the parent of")[2]


def test_a_dry_run_says_that_it_would_be_refused(shared_parent: Programs) -> None:
    ended = shared_parent.img("merge", "1.vhdx", "--dry-run", code=4)
    assert f"{shared_parent.here}/a.vhdx: would lose its parent" in ended.out
    shared_parent.img("merge", "1.vhdx", "--dry-run", "--orphan")
    found = shared_parent.img("merge", "1.vhdx", "--dry-run", "--json", code=4).json
    assert found["orphaned"] == [str(shared_parent.here / name) for name in ("a.vhdx", "b.vhdx")]


def test_orphan(shared_parent: Programs) -> None:
    wanted = shared_parent.bench.digest("2.vhdx")
    shown = shared_parent.img("merge", "1.vhdx", "--orphan").out
    assert "a.vhdx: lost its parent" in shown
    assert shared_parent.bench.digest("2.vhdx") == wanted
    shared_parent.inspect("hash", "a.vhdx", code=2)
    shared_parent.inspect("info", "a.vhdx")


# --- what cannot be merged -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["0.vhdx"], 4),
        (["1.vhdx", "--into", "1.vhdx"], 4),
        (["1.vhdx", "--into", "./1.vhdx"], 4),
        (["0.vhdx", "--into", "1.vhdx"], 4),
        (["1.vhdx", "--into", "alone.vhdx"], 4),
        (["1.vhdx", "--into", "nowhere.vhdx"], 1),
        (["nowhere.vhdx"], 1),
        (["alone.raw"], 2),
        ([], 64),
        (["1.vhdx", "0.vhdx"], 64),
    ],
    ids=str,
)
def test_refusals(words: list[str], code: int, programs: Programs) -> None:
    chain(programs, 2)
    programs.bench.create("alone.vhdx")
    (programs.here / "alone.raw").write_bytes(bytes(MIB))
    programs.refused("merge", *words, code=code)


def test_a_missing_parent(programs: Programs) -> None:
    chain(programs, 2)
    (programs.here / "0.vhdx").rename(programs.here / "elsewhere")
    assert "0.vhdx" in programs.refused("merge", "1.vhdx", code=2)


def test_an_ancestor_by_another_name(programs: Programs) -> None:
    """Which layer is meant is settled by identity."""
    *_, wanted = chain(programs, 2)
    (programs.here / "link").symlink_to("0.vhdx")
    programs.img("merge", "1.vhdx", "--into", "link")
    assert programs.bench.digest("0.vhdx") == wanted


def test_parents_elsewhere(programs: Programs) -> None:
    (programs.here / "deep").mkdir()
    programs.bench.create("base.vhdx")
    programs.img("create", "deep/child.vhdx", "-b", "base.vhdx")
    programs.img("write", "deep/child.vhdx", "0", "--parents-in", ".", stdin=b"x")
    wanted = hashlib.sha256(b"x" + bytes(8 * MIB - 1)).hexdigest()
    programs.refused("merge", "deep/child.vhdx", code=2)
    programs.img("merge", "deep/child.vhdx", "--parents-in", ".")
    assert programs.bench.digest("base.vhdx") == wanted
    assert not list((programs.here / "deep").iterdir())


def test_twice(programs: Programs) -> None:
    """The same command again after a merge with --keep has nothing to do, and says so by doing nothing wrong."""
    *_, wanted = chain(programs, 2)
    programs.img("merge", "1.vhdx", "--keep")
    programs.img("merge", "1.vhdx")
    assert programs.bench.names() == ["0.vhdx"]
    assert programs.bench.digest("0.vhdx") == wanted




def test_other_names_of_a_file_are_not_changed_unsaid(programs: Programs) -> None:
    """By a symbolic link the children beside the file count; hard links count themselves."""
    *_, wanted = chain(programs, 2)
    (programs.here / "elsewhere").mkdir()
    (programs.here / "elsewhere/link.vhdx").symlink_to("../0.vhdx")
    assert "1.vhdx" in programs.refused("write", "elsewhere/link.vhdx", "0", stdin=b"x")
    (programs.here / "elsewhere/hard.vhdx").hardlink_to(programs.here / "0.vhdx")
    for words in (["write", "elsewhere/hard.vhdx", "0"], ["resize", "elsewhere/hard.vhdx", "+1M"], ["merge", "1.vhdx"]):
        said = programs.refused(*words, stdin=b"x")
        assert "2 names" in said
        assert "--orphan" in said
    ended = programs.run("vhdx-img", "merge", "1.vhdx", "--dry-run", code=4)
    assert "2 hard links" in ended.err
    programs.img("merge", "1.vhdx", "--orphan")
    assert programs.bench.digest("0.vhdx") == wanted
