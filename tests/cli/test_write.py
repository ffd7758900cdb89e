"""``vhdx-img write``: bytes into a disk at any place in it, and none past its end."""

import os
from pathlib import Path

import pytest

from tests.cli.running import Programs
from tests.support.disks import MIB, pattern

SIZE = 4 * MIB


@pytest.fixture(params=["vhdx", "vhd"])
def disk(request: pytest.FixtureRequest, programs: Programs) -> tuple[Programs, str]:
    """An image with a pattern all over its disk, and a second layer's worth of nothing in it."""
    name = f"a.{request.param}"
    programs.bench.create(name, SIZE, block=MIB)
    programs.bench.write(name, 0, pattern(1, SIZE))
    return programs, name


@pytest.mark.parametrize(("offset", "length"), [(511, 2), (SIZE - 1, 1), (MIB - 7, MIB + 9)])
def test_any_alignment(offset: int, length: int, disk: tuple[Programs, str]) -> None:
    programs, name = disk
    data = pattern(2, length)
    (programs.here / "data").write_bytes(data)
    shown = programs.img("write", name, str(offset), "--from", "data").out
    assert shown.startswith(f"{programs.here / name}: ")
    assert shown.endswith(f" written at {offset}\n")
    wanted = bytearray(pattern(1, SIZE))
    wanted[offset : offset + length] = data
    assert programs.bench.content(name) == bytes(wanted)


def test_standard_input(programs: Programs) -> None:
    programs.bench.create("a.vhdx", 4 * MIB)
    programs.img("write", "a.vhdx", "3M", stdin=pattern(3, MIB))
    programs.img("write", "a.vhdx", "1K", stdin=b"hello", before=["sh", "-c", 'cat | "$0" "$@"'])
    programs.img("write", "a.vhdx", "0", stdin=b"")
    assert programs.bench.content("a.vhdx") == bytes(1024) + b"hello" + bytes(3 * MIB - 1029) + pattern(3, MIB)


def test_a_child(programs: Programs) -> None:
    """Less than a sector over a parent: the rest of it comes from below."""
    programs.bench.create("base.vhdx", 4 * MIB)
    programs.bench.write("base.vhdx", 0, pattern(1, SIZE))
    programs.bench.child("child.vhdx", "base.vhdx")
    programs.img("write", "child.vhdx", "700", stdin=b"hello")
    wanted = pattern(1, SIZE)
    assert programs.bench.content("base.vhdx") == wanted
    assert programs.bench.content("child.vhdx") == wanted[:700] + b"hello" + wanted[705:]


@pytest.mark.parametrize("way", ["file", "stdin", "pipe"])
@pytest.mark.parametrize(("offset", "length"), [(SIZE - 1, 2), (SIZE + MIB, 10), (3 * MIB, 20 * MIB)])
def test_past_the_end(offset: int, length: int, way: str, programs: Programs) -> None:
    """Refused before the first byte, with the place and the size of the disk."""
    programs.bench.create("a.vhdx", 4 * MIB)
    data = pattern(4, length)
    words = ["write", "a.vhdx", str(offset)]
    if way == "file":
        (programs.here / "data").write_bytes(data)
        said = programs.refused(*words, "--from", "data")
    else:
        said = programs.refused(*words, stdin=data, before=["sh", "-c", 'cat | "$0" "$@"'] if way == "pipe" else [])
    assert str(SIZE) in said
    assert str(offset) in said


def test_a_stream_that_is_too_long_is_not_said_to_be_one_byte(programs: Programs) -> None:
    """Nobody counted how much more there is; it must not be told as if."""
    programs.bench.create("a.vhdx", 4 * MIB)
    said = programs.refused("write", "a.vhdx", "4M", stdin=b"hello world")
    assert "1 bytes" not in said


def test_an_image_that_others_name(programs: Programs) -> None:
    programs.bench.create("base.vhdx", 4 * MIB)
    programs.bench.child("child.vhdx", "base.vhdx")
    said = programs.refused("write", "base.vhdx", "0", stdin=b"x")
    assert str(programs.here / "child.vhdx") in said
    assert "--orphan" in said
    programs.img("write", "base.vhdx", "0", "--orphan", stdin=b"x")
    programs.inspect("hash", "child.vhdx", code=2)


@pytest.mark.parametrize("other", ["a.vhdx", "./a.vhdx", "soft", "hard"])
def test_an_image_into_itself(other: str, programs: Programs) -> None:
    """The same file as source and target is refused by identity."""
    programs.bench.create("a.vhdx", 64 * MIB)
    (programs.here / "hard").hardlink_to(programs.here / "a.vhdx")
    (programs.here / "soft").symlink_to("a.vhdx")
    programs.refused("write", "a.vhdx", "0", "--from", other)


def test_a_parent_into_its_child(programs: Programs) -> None:
    """The bytes of a layer are not changed by this, so they may be read meanwhile."""
    programs.bench.create("base.vhdx", 64 * MIB)
    programs.bench.child("child.vhdx", "base.vhdx")
    programs.img("write", "child.vhdx", "0", "--from", "base.vhdx")
    below = (programs.here / "base.vhdx").read_bytes()
    assert programs.bench.content("child.vhdx")[: len(below)] == below


def test_a_raw_disk(programs: Programs) -> None:
    (programs.here / "a.raw").write_bytes(bytes(MIB))
    assert "-f raw" in programs.refused("write", "a.raw", "0", stdin=b"x", code=2)
    programs.img("write", "a.raw", "7", "-f", "raw", stdin=b"x")
    assert (programs.here / "a.raw").read_bytes()[:9] == bytes(7) + b"x\0"


def test_a_disk_is_not_turned_into_an_image_by_what_is_written(programs: Programs) -> None:
    """A header of an image in a raw disk makes it no image as long as raw is said."""
    (programs.here / "a.raw").write_bytes(bytes(MIB))
    programs.img("write", "a.raw", "0", "-f", "raw", stdin=b"vhdxfile")
    assert programs.inspect("read", "a.raw", "0", "8", "-f", "raw", "--raw").out == "vhdxfile"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a.vhdx", "0", "--from", "nowhere"], 1),
        (["a.vhdx", "0", "--from", "."], (1, 4)),
        (["a.vhdx", "0x"], 64),
        (["a.vhdx", "--", "-1"], 64),
        (["a.vhdx", "1Mb/s"], 64),
        (["a.vhdx"], 64),
        ([], 64),
        (["nowhere.vhdx", "0"], 1),
        ([".", "0"], 4),
    ],
    ids=str,
)
def test_refusals(words: list[str], code: int, programs: Programs) -> None:
    programs.bench.create("a.vhdx", 4 * MIB)
    programs.refused("write", *words, stdin=b"x", code=code)


def test_no_standard_input_at_all(programs: Programs) -> None:
    programs.bench.create("a.vhdx", 4 * MIB)
    before = (programs.here / "a.vhdx").read_bytes()
    programs.img("write", "a.vhdx", "0", before=["sh", "-c", 'exec "$0" "$@" <&-'], code=(0, 1, 4, 64))
    assert (programs.here / "a.vhdx").read_bytes() == before


def test_a_named_pipe(programs: Programs, tmp_path: Path) -> None:
    programs.bench.create("a.vhdx", 4 * MIB)
    os.mkfifo(tmp_path / "pipe")
    # What writes to the pipe must not keep the command's own output open when nobody reads from it.
    script = 'timeout 10 sh -c "printf hello > pipe" >/dev/null 2>&1 & exec "$0" "$@"'
    programs.img("write", "a.vhdx", "9", "--from", "pipe", before=["sh", "-c", script])
    assert programs.bench.content("a.vhdx")[9:14] == b"hello"
