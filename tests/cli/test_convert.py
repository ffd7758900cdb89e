"""``vhdx-img convert``: every pair of formats, and what is never overwritten."""

import os
import shutil
from pathlib import Path

import pytest

from tests.check.vhd_images import sealed
from tests.cli import gallery
from tests.cli.running import Programs
from tests.cli.test_create import advised_options_exist, info
from tests.interop.tools import needs_qemu, qemu_img
from tests.support.disks import MIB, pattern
from vhdx.cli.changing.convert import azure_notes

SIZE = 3 * MIB + 512
FORMATS = ["raw", "vhd", "vhdx"]


@pytest.fixture
def disk(programs: Programs) -> Programs:
    """A raw disk, and images of it."""
    with (programs.here / "a.raw").open("wb") as file:
        file.write(pattern(1, MIB))
        file.seek(2 * MIB)
        file.write(pattern(2, 512))
        file.truncate(SIZE)
    return programs


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_every_pair(source: str, target: str, disk: Programs) -> None:
    if source != "raw":
        disk.img("convert", "a.raw", f"a.{source}", "-f", "raw")
    shown = disk.img("convert", f"a.{source}", f"b.{target}", *(["-f", "raw"] if source == "raw" else [])).out
    assert shown.startswith(f"{disk.here}/b.{target}: {target}, ")
    disk.inspect("compare", "a.raw", f"b.{target}", "-f", "raw", "-F", target)
    assert not [path for path in disk.here.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["b.vhdx", "-t", "fixed"], {"type": "fixed", "format": "vhdx"}),
        (["b.vhd", "-t", "fixed"], {"type": "fixed", "file_size": SIZE + 512}),
        (["b.img"], {"format": "raw", "file_size": SIZE}),
        (["b.vhd", "-O", "vhdx", "--block-size", "1M"], {"format": "vhdx", "block_size": MIB}),
        (["b.VHD"], {"format": "vhd", "type": "dynamic"}),
        (["b", "-O", "vhd"], {"format": "vhd"}),
        (["b.vhd", "--block-size", "512K"], {"block_size": MIB // 2}),
    ],
    ids=" ".join,
)
def test_shapes(words: list[str], expected: dict[str, object], disk: Programs) -> None:
    disk.img("convert", "a.raw", *words, "-f", "raw")
    format = str(expected.get("format", "vhd"))
    assert expected.items() <= info(disk, words[0], "-f", format).items()
    disk.inspect("compare", "a.raw", words[0], "-f", "raw", "-F", format)


@pytest.mark.parametrize(
    "words",
    [
        ["b"],
        ["b.qcow2"],
        ["b.vhdx", "--azure"],
        ["b", "--azure", "-O", "raw"],
        ["b.vhd", "--azure", "-t", "dynamic"],
        ["b.raw", "-t", "dynamic"],
        ["b.raw", "--block-size", "1M"],
        ["b.raw", "--sector-size", "4096"],
        ["b.vhd", "--azure", "--block-size", "1M"],
        ["b.vhdx", "--block-size", "1Mb/s"],
    ],
    ids=" ".join,
)
def test_what_contradicts_itself(words: list[str], disk: Programs) -> None:
    """Nothing that was asked for is left out without a word."""
    assert "convert --help" in disk.refused("convert", "a.raw", *words, "-f", "raw", code=64)


def test_through_its_layers(looking: Programs, programs: Programs) -> None:
    programs.img("convert", looking.here / "leaf.vhdx", "flat.vhd")
    found = info(programs, "flat.vhd")
    assert (found["parent"], found["type"]) == (None, "dynamic")
    programs.inspect("compare", "flat.vhd", looking.here / "leaf.vhdx")


def test_large_sectors(looking: Programs, programs: Programs) -> None:
    """A guest's partitions count in sectors, so small ones are refused; a raw disk has none."""
    source = looking.here / "sectors.vhdx"
    for words in (["a.vhd"], ["a.vhdx", "--sector-size", "512"]):
        assert "sectors of 4096" in programs.refused("convert", source, *words)
    for name in ("a.vhdx", "a.raw"):
        programs.img("convert", source, name)
        programs.inspect("compare", source, name, "-F", name[2:])
    assert info(programs, "a.vhdx")["logical_sector_size"] == 4096


def test_a_log_to_replay_is_read_through(looking: Programs, programs: Programs) -> None:
    shutil.copy(looking.here / "dirty.vhdx", programs.here)
    before = (programs.here / "dirty.vhdx").read_bytes()
    programs.img("convert", "dirty.vhdx", "flat.vhdx")
    assert (programs.here / "dirty.vhdx").read_bytes() == before
    programs.inspect("compare", "dirty.vhdx", "flat.vhdx")


@pytest.mark.parametrize("name", [gallery.RAW, gallery.RUBBISH])
def test_raw_has_to_be_said(name: str, looking: Programs, programs: Programs) -> None:
    """A guest can write any header into a raw disk, so nothing is taken for one."""
    assert "-f raw" in programs.refused("convert", looking.here / name, "b.vhdx", code=2)


# --- Azure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "rounded"),
    [(512, 20 * MIB), (20 * MIB - 512, 20 * MIB), (20 * MIB, 20 * MIB), (20 * MIB + 512, 21 * MIB)],
)
def test_azure(size: int, rounded: int, disk: Programs) -> None:
    """Fixed, whole MiB and 20 at least, and a footer that says so and nothing behind it."""
    os.truncate(disk.here / "a.raw", size)
    said = disk.img("convert", "a.raw", "b.vhd", "-f", "raw", "--azure").out
    assert ("at least 20 MiB" in said) == (size != rounded)
    content = (disk.here / "b.vhd").read_bytes()
    assert len(content) == rounded + 512
    footer = content[rounded:]
    assert footer[:8] == b"conectix"
    assert footer[40:48] == footer[48:56] == rounded.to_bytes(8, "big")
    assert int.from_bytes(footer[60:64], "big") == 2
    assert sealed(footer, 64) == footer
    assert footer[16:24] == b"\xff" * 8
    disk.inspect("compare", "a.raw", "b.vhd", "-f", "raw", "--zero-tail")
    disk.inspect("check", "b.vhd", "--deep")


@needs_qemu
def test_azure_as_qemu_sees_it(disk: Programs) -> None:
    disk.img("convert", "a.raw", "b.vhd", "-f", "raw", "--azure")
    assert f'"virtual-size": {20 * MIB}' in qemu_img("info", "-f", "vpc", "--output=json", disk.here / "b.vhd")
    qemu_img("convert", "-f", "vpc", "-O", "raw", disk.here / "b.vhd", disk.here / "q.raw")
    assert (disk.here / "q.raw").read_bytes()[:SIZE] == (disk.here / "a.raw").read_bytes()


def test_azure_takes_no_more_than_it_takes(disk: Programs) -> None:
    """Its users are never sent to VHDX, which it refuses; of what Hyper-V does not open they are told."""
    disk.img("create", "big.vhdx", str((32 << 40) + MIB))
    said = disk.refused("convert", "big.vhdx", "b.vhd", "--azure")
    assert f"larger than the {32 << 40} bytes that Azure takes" in said
    assert "use VHDX" not in said
    disk.img("create", "sectors.vhdx", "64M", "--sector-size", "4096")
    assert "use VHDX" not in disk.refused("convert", "sectors.vhdx", "b.vhd", "--azure")
    disk.img("create", "hyper-v.vhdx", "2041G")
    assert "use VHDX" in disk.refused("convert", "hyper-v.vhdx", "b.vhd")
    for gib, told in {2040: 0, 2041: 1, 4095: 1, 4096: 2, 32 << 10: 2, (32 << 10) + 1: 0}.items():
        notes = list(azure_notes(gib << 30))
        assert len(notes) == told
        assert not told or "Hyper-V does not" in notes[0]


@pytest.mark.parametrize("words", [["b.vhd", "--azure"], ["b", "--azure"], ["b.vhdx", "--azure", "-O", "vhd"]])
def test_azure_says_which_format(words: list[str], disk: Programs) -> None:
    disk.img("convert", "a.raw", *words, "-f", "raw", "-t", "fixed")
    assert info(disk, words[0])["format"] == "vhd"


# --- what is there already -------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_force(disk: Programs) -> None:
    (disk.here / "b.vhdx").write_bytes(b"precious")
    assert "--force" in disk.refused("convert", "a.raw", "b.vhdx", "-f", "raw")
    disk.img("convert", "a.raw", "b.vhdx", "-f", "raw", "--force")
    disk.inspect("compare", "a.raw", "b.vhdx", "-f", "raw")


SAME = ["a.vhdx", "./a.vhdx", "../{here}/a.vhdx", "hard.vhdx", "soft.vhdx", "through/a.vhdx"]
"""Names of one file, in a directory with links."""


@pytest.mark.parametrize("other", SAME)
def test_the_same_file_by_another_name(other: str, programs: Programs) -> None:
    programs.bench.create("a.vhdx", 4 * MIB)
    (programs.here / "hard.vhdx").hardlink_to(programs.here / "a.vhdx")
    (programs.here / "soft.vhdx").symlink_to("a.vhdx")
    (programs.here / "through").symlink_to(".")
    programs.refused("convert", "a.vhdx", other.format(here=programs.here.name), "--force")
    assert (programs.here / "soft.vhdx").is_symlink()


def test_a_layer_is_not_overwritten(programs: Programs) -> None:
    programs.bench.create("base.vhdx", 4 * MIB)
    programs.bench.child("leaf.vhdx", "base.vhdx")
    programs.refused("convert", "leaf.vhdx", "base.vhdx", "--force")


def test_a_parent_is_not_replaced(disk: Programs) -> None:
    disk.bench.create("base.vhdx", 4 * MIB)
    disk.bench.child("leaf.vhdx", "base.vhdx")
    said = disk.refused("convert", "a.raw", "base.vhdx", "-f", "raw", "--force")
    assert str(disk.here / "leaf.vhdx") in said
    advised_options_exist(said, disk, "convert")


def test_a_source_that_cannot_be_read(looking: Programs, programs: Programs) -> None:
    programs.refused("convert", "nowhere.vhdx", "b.vhdx", code=1)
    programs.refused("convert", looking.here / "orphan.vhdx", "b.vhdx", code=2)
    (programs.here / "deep").mkdir()
    programs.refused("convert", "deep", "b.vhdx")


def test_a_raw_disk_that_ends_inside_a_sector(programs: Programs) -> None:
    """Zeros fill the sector; nothing of the disk is lost."""
    Path(programs.here / "odd.raw").write_bytes(b"x" * 1000)
    programs.img("convert", "odd.raw", "b.vhdx", "-f", "raw")
    assert info(programs, "b.vhdx")["virtual_size"] == 1024
    programs.inspect("compare", "odd.raw", "b.vhdx", "-f", "raw", "--zero-tail")
