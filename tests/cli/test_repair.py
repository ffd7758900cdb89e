"""``vhdx-img repair``: what can be put right without guessing, and taken back."""

import shutil
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.running import Programs

HEADER = 128 << 10


@pytest.fixture
def broken(looking: Programs, programs: Programs) -> Programs:
    """A VHDX with one header that is rubbish, and a VHD without the copy of its footer."""
    for name in ("dynamic.vhdx", "dynamic.vhd"):
        shutil.copy(looking.here / name, programs.here)
    overwrite(programs.here / "dynamic.vhdx", HEADER, b"rubbish" * 100)
    overwrite(programs.here / "dynamic.vhd", 0, bytes(512))
    return programs


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("name", ["dynamic.vhdx", "dynamic.vhd"])
def test_put_right_and_taken_back(name: str, broken: Programs) -> None:
    path = broken.here / name
    wrong = path.read_bytes()
    broken.inspect("check", name, code=(2, 3))
    would = broken.img("repair", name, "--dry-run").out
    assert f"{path}: would be repaired: " in would
    assert path.read_bytes() == wrong
    assert not Path(f"{path}.undo").exists()
    shown = broken.img("repair", name).out
    assert shown.splitlines()[:-1] == would.replace("would be ", "").splitlines()
    assert shown.splitlines()[-1].startswith(f"{path}.undo: ")
    broken.inspect("check", name)
    broken.bench.digest(name)
    assert "restored to its state before the repair" in broken.img("repair", name, "--undo").out
    assert path.read_bytes() == wrong


def test_json(broken: Programs) -> None:
    would = broken.img("repair", "dynamic.vhdx", "--dry-run", "--json").json
    assert list(would) == ["path", "done", "fixes", "undo", "restored"]
    assert (would["done"], would["undo"]) == (False, None)
    done = broken.img("repair", "dynamic.vhdx", "--json", "--undo-file", "kept").json
    assert (done["done"], done["undo"], done["fixes"]) == (True, str(broken.here / "kept"), would["fixes"])
    for fix in done["fixes"]:
        assert list(fix) == ["code", "structure", "offset", "message"]
    assert HEADER in [fix["offset"] for fix in done["fixes"]]
    broken.img("repair", "dynamic.vhdx", "--undo", "--undo-file", "kept")


def test_the_undo_file_is_not_overwritten(broken: Programs) -> None:
    (broken.here / "dynamic.vhdx.undo").write_bytes(b"precious")
    assert "dynamic.vhdx.undo" in broken.refused("repair", "dynamic.vhdx")
    broken.img("repair", "dynamic.vhdx", "--undo-file", "another")


@pytest.mark.parametrize("other", ["dynamic.vhdx", "./dynamic.vhdx", "soft", "hard"])
def test_the_undo_file_is_not_the_image(other: str, broken: Programs) -> None:
    (broken.here / "hard").hardlink_to(broken.here / "dynamic.vhdx")
    (broken.here / "soft").symlink_to("dynamic.vhdx")
    broken.refused("repair", "dynamic.vhdx", "--undo-file", other)


def test_nothing_to_put_right(looking: Programs, programs: Programs) -> None:
    shutil.copy(looking.here / "dynamic.vhdx", programs.here)
    before = (programs.here / "dynamic.vhdx").read_bytes()
    assert "nothing to repair" in programs.img("repair", "dynamic.vhdx").out
    assert programs.img("repair", "dynamic.vhdx", "--json").json["fixes"] == []
    assert (programs.here / "dynamic.vhdx").read_bytes() == before
    assert [path.name for path in programs.here.iterdir()] == ["dynamic.vhdx"]


def test_what_would_be_guessing(looking: Programs, programs: Programs) -> None:
    shutil.copy(looking.here / gallery.DAMAGED, programs.here)
    said = programs.refused("repair", gallery.DAMAGED, code=(2, 4))
    assert "3145736" in said
    programs.refused("repair", gallery.DAMAGED, "--dry-run", code=(2, 4))


def test_reclaim(looking: Programs, programs: Programs) -> None:
    """The space goes back as a hole, and the file is as long as before."""
    shutil.copy(looking.here / gallery.LEAKING, programs.here)
    path = programs.here / gallery.LEAKING
    wanted, before = programs.bench.digest(gallery.LEAKING), path.stat()
    assert "nothing to repair" in programs.img("repair", gallery.LEAKING).out
    assert "punched out" in programs.img("repair", gallery.LEAKING, "--reclaim").out
    assert path.stat().st_blocks < before.st_blocks
    assert programs.bench.digest(gallery.LEAKING) == wanted
    programs.img("repair", gallery.LEAKING, "--undo")
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["dynamic.vhdx", "--undo", "--dry-run"], 64),
        (["dynamic.vhdx", "--undo", "--reclaim"], 64),
        (["dynamic.vhdx", "--undo"], 1),
        (["dynamic.vhdx", "--undo", "--undo-file", "dynamic.vhd"], 2),
        (["nowhere.vhdx"], 1),
        (["plain.raw"], 2),
        (["plain.raw", "-f", "raw"], 4),
        ([], 64),
    ],
    ids=str,
)
def test_refusals(words: list[str], code: int, broken: Programs) -> None:
    (broken.here / "plain.raw").write_bytes(bytes(4096))
    broken.refused("repair", *words, code=code)


def test_an_undo_file_of_another_image(looking: Programs, broken: Programs) -> None:
    broken.img("repair", "dynamic.vhdx")
    shutil.copy(looking.here / "sectors.vhdx", broken.here)
    said = broken.refused("repair", "sectors.vhdx", "--undo", "--undo-file", "dynamic.vhdx.undo", code=(2, 4))
    assert "dynamic.vhdx.undo" in said
