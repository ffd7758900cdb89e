"""``vhdx-img create``: every kind of new image, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Programs
from tests.interop.tools import check_clean, needs_qemu, qemu_img
from tests.support.disks import MIB

GIB = 1 << 30


def info(programs: Programs, name: str, *more: str) -> dict[str, Any]:
    found = programs.inspect("info", name, "--json", *more).json
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.vhdx", "64M"], {"format": "vhdx", "type": "dynamic", "virtual_size": 64 * MIB, "block_size": 32 * MIB}),
        (["a.avhdx", "1GiB"], {"format": "vhdx", "virtual_size": GIB}),
        (["a.vhd", "67108864"], {"format": "vhd", "type": "dynamic", "virtual_size": 64 * MIB, "block_size": 2 * MIB}),
        (["a.AVHD", "1K"], {"format": "vhd", "virtual_size": 1024}),
        (["a.vhd", "3M", "-f", "vhdx"], {"format": "vhdx"}),
        (["disk", "1G", "-f", "vhd", "-t", "fixed"], {"format": "vhd", "type": "fixed", "file_size": GIB + 512}),
        (["a.vhdx", "8M", "-t", "fixed"], {"format": "vhdx", "type": "fixed"}),
        (["a.vhdx", "8MiB", "--block-size", "1M"], {"block_size": MIB}),
        (["a.vhdx", "8192K", "--sector-size", "4K"], {"logical_sector_size": 4096}),
        (["a.vhdx", "64T"], {"virtual_size": 64 << 40}),
        (["a.vhd", "8M", "--block-size", "512KiB"], {"block_size": MIB // 2}),
    ],
    ids=" ".join,
)
def test_an_image(words: list[str], expected: dict[str, Any], programs: Programs) -> None:
    shown = programs.img("create", *words).out
    assert shown.startswith(f"{programs.here / words[0]}: {expected.get('format', words[0].rpartition('.')[2])}, ")
    assert expected.items() <= info(programs, words[0]).items()
    assert programs.inspect("check", words[0]).lines[-1].endswith("clean")
    assert [path.name for path in programs.here.iterdir()] == [words[0]]


@needs_qemu
@pytest.mark.parametrize(("name", "format"), [("a.vhdx", "vhdx"), ("a.vhd", "vpc")])
def test_qemu_takes_it(name: str, format: str, programs: Programs) -> None:
    programs.img("create", name, "1G")
    assert f'"virtual-size": {GIB}' in qemu_img("info", "-f", format, "--output=json", programs.here / name)
    if format == "vhdx":
        check_clean(programs.here / name)


NO_SIZES = ["1Gb/s", "-1", "1.3M", "0x", ".5k", "M", "1  G", "", "9999999999T", "1GiBB", "１M", "+1M", "1,5G", "1e9"]


@pytest.mark.parametrize("word", NO_SIZES)
def test_what_is_no_size(word: str, programs: Programs) -> None:
    said = programs.refused("create", "a.vhdx", "--", word, code=64)
    assert "create --help" in said
    assert "size" in said or "any disk" in said or "whole number" in said


def test_an_option_in_the_place_of_a_size(programs: Programs) -> None:
    programs.refused("create", "a.vhdx", "-1", code=64)


@pytest.mark.parametrize("name", ["a.vhdx", "a.vhd"])
@pytest.mark.parametrize("size", ["0", "1000", "513", "65T"])
def test_a_size_that_no_disk_has(size: str, name: str, programs: Programs) -> None:
    assert name in programs.refused("create", name, size)


def test_a_size_that_is_no_multiple_of_large_sectors(programs: Programs) -> None:
    assert "multiple" in programs.refused("create", "a.vhdx", "4608", "--sector-size", "4096")
    programs.img("create", "a.vhdx", "8K", "--sector-size", "4096")


@pytest.mark.parametrize(
    "words",
    [
        ["a.vhdx", "8M", "--block-size", "3M"],
        ["a.vhdx", "8M", "--block-size", "512M"],
        ["a.vhdx", "8M", "--block-size", "0"],
        ["a.vhdx", "8M", "--sector-size", "1024"],
        ["a.vhd", "8M", "--sector-size", "4096"],
        ["a.vhd", "8M", "--block-size", "1000"],
    ],
    ids=" ".join,
)
def test_a_shape_that_no_image_has(words: list[str], programs: Programs) -> None:
    programs.refused("create", *words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a.vhdx"],
        ["a.img", "8M"],
        ["a", "8M"],
        ["a.vhdx", "8M", "9M"],
        ["a.vhdx", "8M", "-t", "sparse"],
        ["a.vhdx", "8M", "-f", "raw"],
        ["a.vhdx", "8M", "--nonsense"],
    ],
    ids=" ".join,
)
def test_usage(words: list[str], programs: Programs) -> None:
    assert "--help" in programs.refused("create", *words, code=64)


# --- over a parent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["vhdx", "vhd"])
def test_a_child(extension: str, programs: Programs) -> None:
    base, child = f"base.{extension}", f"child.a{extension}"
    programs.bench.create(base)
    programs.bench.write(base, 0, b"below")
    shown = programs.img("create", child, "-b", base).out
    assert shown == f"{programs.here / child}: {extension}, differencing, parent {programs.here / base}\n"
    found = info(programs, child)
    assert (found["type"], found["virtual_size"], found["parent"]["linkage_ok"]) == ("differencing", 8 * MIB, True)
    assert programs.bench.content(child) == programs.bench.content(base)


def test_a_child_of_another_size(programs: Programs) -> None:
    programs.bench.create("base.vhdx")
    programs.img("create", "larger.vhdx", "16M", "-b", "base.vhdx")
    assert info(programs, "larger.vhdx")["virtual_size"] == 16 * MIB
    assert "multiple" in programs.refused("create", "odd.vhdx", "1000", "-b", "base.vhdx")


def test_a_child_in_another_directory(programs: Programs) -> None:
    """The parent is looked for from the current directory, recorded from the child's, and reopening is explained."""
    for name in ("one", "two"):
        (programs.here / name).mkdir()
    programs.img("create", "one/base.vhdx", "8M")
    shown = programs.img("create", "two/child.vhdx", "-b", "one/base.vhdx").out
    assert info(programs, "two/child.vhdx")["parent"]["recorded"]["paths"]["relative_path"] == "..\\one\\base.vhdx"
    (needed,) = re.findall(r"--parents-in (\S+)", shown)
    assert Path(needed) == programs.here / "one"
    programs.inspect("hash", "two/child.vhdx", code=2)
    programs.inspect("hash", "two/child.vhdx", "--parents-in", needed)


def test_a_child_below_its_parent(programs: Programs) -> None:
    (programs.here / "deep").mkdir()
    programs.img("create", "deep/base.vhdx", "8M")
    shown = programs.img("create", "child.vhdx", "-b", "deep/base.vhdx").out
    assert "--parents-in" not in shown
    programs.inspect("hash", "child.vhdx")


def test_a_child_of_what_is_no_parent(programs: Programs) -> None:
    programs.bench.create("base.vhdx")
    (programs.here / "plain.raw").write_bytes(bytes(MIB))
    programs.refused("create", "child.vhdx", "-b", "nowhere.vhdx", code=1)
    assert "-F vhd or -F vhdx" in programs.refused("create", "child.vhdx", "-b", "plain.raw", code=2)
    for more in (["-f", "vhd"], ["-t", "fixed"], ["--block-size", "1M"]):
        programs.refused("create", "child.vhdx", *more, "-b", "base.vhdx", code=64)
    programs.refused("create", "child.vhd", "-b", "base.vhdx", code=64)
    programs.refused("create", "base.vhdx", "-b", "base.vhdx")
    programs.refused("create", "./base.vhdx", "-b", "base.vhdx", "--force")


def test_a_child_whose_name_cannot_be_recorded(programs: Programs) -> None:
    """The message names the file, and it is no damage."""
    name = "b\udcff.vhdx"
    programs.img("create", name, "4M")
    assert "b\\udcff.vhdx: " in programs.refused("create", "child.vhdx", "-b", name)


# --- what is there already -------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_force(programs: Programs) -> None:
    (programs.here / "a.vhdx").write_bytes(b"precious")
    assert "--force" in programs.refused("create", "a.vhdx", "8M")
    programs.img("create", "a.vhdx", "8M", "--force")
    assert info(programs, "a.vhdx")["virtual_size"] == 8 * MIB


def test_force_does_not_replace_a_parent(programs: Programs) -> None:
    """Its children are named, and no option is advised that the command does not have."""
    programs.bench.create("base.vhdx")
    for name in ("x.vhdx", "y.vhdx"):
        programs.bench.child(name, "base.vhdx")
    said = programs.refused("create", "base.vhdx", "16M", "--force")
    assert str(programs.here / "x.vhdx") in said
    assert str(programs.here / "y.vhdx") in said
    advised_options_exist(said, programs, "create")


def advised_options_exist(said: str, programs: Programs, command: str) -> None:
    """Whoever follows the advice is not told that there is no such option."""
    text = programs.img(command, "--help").out
    for option in re.findall(r"--[a-z][a-z-]+", said):
        assert option in text, f"{command} has no {option}, which is advised: {said}"


def test_a_directory_that_is_not_there(programs: Programs) -> None:
    """The file that was asked for is named, and not one that the user never heard of."""
    said = programs.refused("create", "nowhere/a.vhdx", "8M", code=1)
    assert ".tmp" not in said
    assert "nowhere" in said


def test_a_directory_in_the_place_of_the_image(programs: Programs) -> None:
    (programs.here / "a.vhdx").mkdir()
    programs.refused("create", "a.vhdx", "8M")
    programs.refused("create", "a.vhdx", "8M", "--force", code=(1, 4))
    assert [path.name for path in programs.here.iterdir()] == ["a.vhdx"]
