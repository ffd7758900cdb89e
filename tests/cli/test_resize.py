"""``vhdx-img resize``: larger, smaller when that is said, and never under a child."""

import pytest

from tests.cli.running import Programs
from tests.support.disks import MIB


def size(programs: Programs, name: str) -> int:
    return len(programs.bench.content(name))


@pytest.mark.parametrize("extension", ["vhdx", "vhd"])
def test_larger_and_smaller(extension: str, programs: Programs) -> None:
    name = f"a.{extension}"
    programs.bench.create(name)
    programs.bench.write(name, 8 * MIB - 4, b"last")
    shown = programs.img("resize", name, "16M").out
    assert shown == f"{programs.here / name}: resized from 8 MiB (8388608 bytes) to 16 MiB (16777216 bytes)\n"
    programs.img("resize", name, "+512")
    assert size(programs, name) == 16 * MIB + 512
    assert programs.bench.content(name)[8 * MIB - 4 :] == b"last".ljust(8 * MIB + 516, b"\0")
    assert "--shrink" in programs.refused("resize", name, "12M")
    programs.img("resize", name, "12M", "--shrink")
    assert "--force" in programs.refused("resize", name, "4M", "--shrink")
    assert size(programs, name) == 12 * MIB
    programs.img("resize", name, "4M", "--shrink", "--force")
    assert size(programs, name) == 4 * MIB
    programs.inspect("check", name)


def test_the_same_size(programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    programs.img("resize", "a.vhdx", "8M")
    programs.img("resize", "a.vhdx", "+0")
    assert size(programs, "a.vhdx") == 8 * MIB


def test_a_raw_disk(programs: Programs) -> None:
    (programs.here / "a.raw").write_bytes(bytes(MIB))
    assert "-f raw" in programs.refused("resize", "a.raw", "2M", code=2)
    programs.img("resize", "a.raw", "2M", "-f", "raw")
    assert (programs.here / "a.raw").stat().st_size == 2 * MIB


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["1000"], 4),
        (["+100"], 4),
        (["65T"], 4),
        (["+64T"], 4),
        (["0", "--shrink", "--force"], 4),
        (["4M", "--force"], 64),
        (["-1M"], 64),
        (["--", "-1M"], 64),
        (["++1M"], 64),
        (["+"], 64),
        (["1.3G"], 64),
        (["1Gb/s"], 64),
        ([], 64),
    ],
    ids=str,
)
def test_refusals(words: list[str], code: int, programs: Programs) -> None:
    programs.bench.create("a.vhdx")
    programs.refused("resize", "a.vhdx", *words, code=code)


def test_an_image_that_others_name(programs: Programs) -> None:
    programs.bench.create("base.vhdx")
    programs.bench.child("child.vhdx", "base.vhdx")
    said = programs.refused("resize", "base.vhdx", "16M")
    assert str(programs.here / "child.vhdx") in said
    assert "--orphan" in said
    programs.img("resize", "child.vhdx", "16M")
    assert programs.bench.content("child.vhdx") == bytes(16 * MIB)
    programs.img("resize", "base.vhdx", "16M", "--orphan")
    assert size(programs, "base.vhdx") == 16 * MIB


def test_a_vhd_of_another_size_than_its_parent(programs: Programs) -> None:
    programs.img("create", "base.vhd", "4M")
    assert "--any-size" in programs.refused("create", "child.vhd", "8M", "-b", "base.vhd")
    assert "--any-size" in programs.refused("create", "child.vhd", "8M", "-b", "base.vhd", "--force")
    programs.img("create", "child.vhd", "-b", "base.vhd")
    assert "--any-size" in programs.refused("resize", "child.vhd", "8M")
    assert "--any-size" in programs.refused("create", "x.vhd", "8M", "--any-size", code=64)
    programs.img("resize", "child.vhd", "8M", "--any-size")
    said = programs.inspect("check", "child.vhd", "--chain", code=3).out
    assert "0xC03A0017" in said
    assert "vhdx-img resize" in said
    programs.img("resize", "child.vhd", "4M", "--shrink")
    programs.inspect("check", "child.vhd", "--chain")
