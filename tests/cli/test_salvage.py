"""``vhdx-img convert --salvage``: what it prints, and how it ends."""

import os
import shutil
from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.conftest import Share
from tests.cli.running import Programs
from tests.image.forge import HEADERS
from tests.support.disks import MIB, pattern


@pytest.fixture
def cut(programs: Programs) -> Programs:
    """`a.vhdx`, cut off, and `whole.raw`, what it held."""
    (programs.here / "whole.raw").write_bytes(pattern(1, 4 * MIB))
    os.truncate(programs.here / "whole.raw", 8 * MIB)
    programs.img("convert", "whole.raw", "a.vhdx", "-f", "raw", "--block-size", "1M")
    os.truncate(programs.here / "a.vhdx", (programs.here / "a.vhdx").stat().st_size - MIB - 5000)
    return programs


def expected(cut: Programs) -> bytes:
    """The disk, zeros where the file ends."""
    return (cut.here / "whole.raw").read_bytes()[: 3 * MIB - 5120].ljust(8 * MIB, b"\0")


def test_what_is_lost_is_listed(cut: Programs) -> None:
    ended = cut.img("convert", "--salvage", "a.vhdx", "b.raw", code=8)
    assert ended.lines == [
        f"{cut.here}/b.raw: raw, fixed, 8 MiB (8388608 bytes)",
        f"{cut.here}/a.vhdx: lost: 1.005 MiB (1053696 bytes) at {3 * MIB - 5120}: beyond end of file",
        f"{cut.here}/a.vhdx: 1.005 MiB of 8 MiB lost; they read as zeros in the new image",
    ]
    assert ended.err == f"vhdx-img: {cut.here}/a.vhdx: 1.005 MiB of 8 MiB lost; they read as zeros in the new image\n"
    assert (cut.here / "b.raw").read_bytes() == expected(cut)
    assert not [path for path in cut.here.iterdir() if path.suffix == ".tmp"]


def test_as_json(cut: Programs) -> None:
    told = cut.img("convert", "--salvage", "a.vhdx", "b.raw", "--json", code=8).json
    assert told["target"] == f"{cut.here}/b.raw"
    assert told["salvage"]["lost_bytes"] == 1053696
    assert told["salvage"]["lost"] == [
        {"offset": 3 * MIB - 5120, "length": 1053696, "reason": "beyond end of file"}
    ]
    assert told["salvage"]["notes"] == []


def test_an_ordinary_convert_as_json(cut: Programs) -> None:
    told = cut.img("convert", "whole.raw", "b.vhd", "-f", "raw", "--azure", "--json").json
    assert told == {
        "source": f"{cut.here}/whole.raw",
        "target": f"{cut.here}/b.vhd",
        "format": "vhd",
        "type": "fixed",
        "virtual_size": 20 * MIB,
        "added": 12 * MIB,
        "salvage": None,
    }


def test_a_sound_image_ends_with_nothing_lost(looking: Programs, programs: Programs) -> None:
    ended = programs.img("convert", "--salvage", looking.here / "leaf.vhdx", "b.vhdx")
    assert ended.lines[-1] == f"{looking.here}/leaf.vhdx: nothing was lost"
    programs.inspect("compare", looking.here / "leaf.vhdx", "b.vhdx")


def test_structures_on_trust_are_told(looking: Programs, programs: Programs) -> None:
    """Nothing is lost, and yet it is not certain: that is no success to a script."""
    shutil.copy(looking.here / "dynamic.vhdx", programs.here / "a.vhdx")
    with (programs.here / "a.vhdx").open("r+b") as file:
        for offset in HEADERS:
            file.seek(offset + 4)
            file.write(b"\xff\xfe\xfd\xfc")
    said = programs.refused("convert", "a.vhdx", "b.vhdx", code=2)
    assert "vhdx-img convert --salvage copies readable data" in said
    ended = programs.img("convert", "--salvage", "a.vhdx", "b.vhdx", code=8)
    assert [line for line in ended.lines if line.endswith("[taken on trust]")]
    assert "taken on trust" in ended.err
    programs.inspect("compare", looking.here / "dynamic.vhdx", "b.vhdx")
    told = programs.img("convert", "--salvage", "a.vhdx", "c.vhdx", "--json", code=8).json["salvage"]
    assert [note["structure"] for note in told["notes"] if note["on_trust"]] == ["header"]


def test_a_long_list_is_cut_and_said_to_be(programs: Programs) -> None:
    programs.img("create", "b.vhdx", "400M", "--block-size", "1M")
    with (programs.here / "b.vhdx").open("r+b") as file:
        for number in range(0, 300, 2):
            file.seek(3 * MIB + 8 * number)
            file.write(b"\5")
    lines = programs.img("convert", "--salvage", "b.vhdx", "c.vhdx", code=8).lines
    assert len([line for line in lines if ": lost: " in line]) == 100
    assert f"{programs.here}/b.vhdx: 50 more lost ranges; --json lists them" in lines
    told = programs.img("convert", "--salvage", "b.vhdx", "d.vhdx", "--json", code=8).json
    assert len(told["salvage"]["lost"]) == 150


def test_what_nothing_describes_is_refused(looking: Programs, programs: Programs) -> None:
    """And the way out is not named to who is on it."""
    said = programs.refused("convert", "--salvage", looking.here / gallery.RUBBISH, "b.vhdx", code=2)
    assert "-f vhdx" in said
    (programs.here / "cut.vhdx").write_bytes((looking.here / "dynamic.vhdx").read_bytes()[: MIB - 1])
    said = programs.refused("convert", "--salvage", "cut.vhdx", "b.vhdx", code=2)
    assert "--salvage" not in said


def test_without_a_parent(looking: Programs, programs: Programs) -> None:
    orphan = looking.here / "orphan.vhdx"
    assert "--without-parent" in programs.refused("convert", "--salvage", orphan, "b.vhdx", code=2)
    lines = programs.img("convert", "--salvage", "--without-parent", orphan, "b.vhdx", code=8).lines
    assert [line for line in lines if line.endswith("the data is in the missing parent")]
    programs.refused("convert", "--without-parent", orphan, "c.vhdx", code=64)


def test_nothing_is_overwritten(cut: Programs) -> None:
    (cut.here / "b.raw").write_bytes(b"precious")
    assert "--force" in cut.refused("convert", "--salvage", "a.vhdx", "b.raw")
    cut.refused("convert", "--salvage", "a.vhdx", "a.vhdx", "--force")


@pytest.mark.smb
def test_from_a_share_to_a_share(cut: Programs, share: Share, shared: Programs) -> None:
    shutil.copy(cut.here / "a.vhdx", share.directory)
    shared.img("convert", "--salvage", share.url("a.vhdx"), share.url("b.raw"), "-q", code=8)
    assert Path(share.directory / "b.raw").read_bytes() == expected(cut)
