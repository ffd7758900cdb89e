"""``vhdx-inspect compare``: 0 for the same disk, 1 for another and where, 3 for neither."""

from pathlib import Path

import pytest

from tests.cli import gallery
from tests.cli.conftest import Golden
from tests.cli.running import Programs
from tests.interop.tools import needs_qemu, qemu_img
from tests.support.disks import MIB, pattern


def raw(directory: Path, name: str, *pieces: tuple[int, bytes], size: int = 4 * MIB) -> None:
    with (directory / name).open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)


@pytest.fixture
def disks(programs: Programs) -> Programs:
    """Four disks: two that are the same in other formats, one that differs, one that is longer by zeros."""
    raw(programs.here, "a.raw", (0, pattern(1, MIB)))
    raw(programs.here, "b.raw", (0, pattern(1, MIB)), (512, b"?"), (3 * MIB, b"!"), (3 * MIB + 1024, b"!"))
    raw(programs.here, "long.raw", (0, pattern(1, MIB)), size=5 * MIB)
    programs.img("convert", "a.raw", "a.vhdx", "-f", "raw", "--block-size", "1M")
    programs.img("convert", "a.raw", "a.vhd", "-f", "raw", "-t", "fixed")
    return programs


def test_the_same(disks: Programs) -> None:
    assert disks.inspect("compare", "a.vhdx", "a.vhd").out == "the disks are identical\n"
    disks.inspect("compare", "a.raw", "a.vhd", "-f", "raw")
    disks.inspect("compare", "a.vhdx", "a.raw", "-F", "raw", "--quiet")
    disks.inspect("compare", "a.vhdx", "./a.vhdx")
    assert disks.inspect("compare", "a.vhdx", "a.vhd", "--json").json == {
        "same": True,
        "sizes": [4 * MIB, 4 * MIB],
        "differences": [],
        "more": False,
    }


def test_where_they_differ(disks: Programs, golden: Golden) -> None:
    golden("compare", disks.inspect("compare", "a.vhdx", "b.raw", "-F", "raw", code=1).out)
    found = disks.inspect("compare", "b.raw", "a.vhd", "-f", "raw", "--json", code=1).json
    assert found["differences"] == [
        {"start": 512, "length": 512},
        {"start": 3 * MIB, "length": 512},
        {"start": 3 * MIB + 1024, "length": 512},
    ]
    assert found["same"] is False


def test_a_longer_disk(disks: Programs, golden: Golden) -> None:
    words = ("compare", "a.vhdx", "long.raw", "-F", "raw")
    golden("compare-longer", disks.inspect(*words, code=1).out)
    assert disks.inspect(*words, "--json", code=1).json["differences"] == []
    disks.inspect(*words, "--zero-tail")
    raw(disks.here, "long.raw", (0, pattern(1, MIB)), (5 * MIB - 1, b"x"), size=5 * MIB)
    (found,) = disks.inspect(*words, "--zero-tail", "--json", code=1).json["differences"]
    assert found == {"start": 5 * MIB - 512, "length": 512}


def test_very_many_differences(programs: Programs) -> None:
    raw(programs.here, "a.raw")
    raw(programs.here, "b.raw", *((offset, b"x") for offset in range(0, MIB, 2048)))
    words = ("compare", "a.raw", "b.raw", "-f", "raw", "-F", "raw")
    found = programs.inspect(*words, "--json", code=1).json
    assert found["more"] is True
    assert [one["start"] for one in found["differences"]] == list(range(0, 100 * 2048, 2048))
    assert len(programs.inspect(*words, code=1).lines) == 101


def test_layers_are_looked_through(looking: Programs) -> None:
    found = looking.inspect("compare", "leaf.vhdx", "middle.vhdx", "--json", code=1).json["differences"]
    assert found == [{"start": MIB + 1024, "length": 1024}, {"start": 5 * MIB, "length": 2048}]
    looking.inspect("compare", "sibling.vhdx", "middle.vhdx")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nowhere.vhdx", "base.vhdx"),
        ("base.vhdx", "nowhere.vhdx"),
        ("base.vhdx", "orphan.vhdx"),
        ("base.vhdx", gallery.RAW),
        ("base.vhdx", gallery.RUBBISH),
        (".", "base.vhdx"),
        ("base.vhdx", "ftp://server/x"),
    ],
)
def test_what_could_not_be_compared(first: str, second: str, looking: Programs) -> None:
    looking.inspect("compare", first, second, code=3)


@needs_qemu
@pytest.mark.parametrize("name", ["dynamic.vhdx", "fixed.vhdx", "dynamic.vhd", "fixed.vhd"])
def test_qemu_converts_to_the_same(name: str, looking: Programs, tmp_path: Path) -> None:
    format = {".vhdx": "vhdx", ".vhd": "vpc"}[Path(name).suffix]
    qemu_img("convert", "-f", format, "-O", "raw", looking.here / name, tmp_path / "q.raw")
    looking.inspect("compare", name, tmp_path / "q.raw", "-F", "raw")
