"""``vhdx-inspect read``: bytes of a disk, for people and for programs."""

from itertools import pairwise

import pytest

from tests.cli import gallery
from tests.cli.conftest import Golden
from tests.cli.running import Programs
from tests.support.disks import MIB, pattern

MIDDLE = MIB + 1024


def test_the_text(looking: Programs, golden: Golden) -> None:
    golden("read", looking.inspect("read", "leaf.vhdx", str(MIDDLE - 20), "100").out)


@pytest.mark.parametrize(
    ("offset", "length", "content"),
    [
        ("0", "512", pattern(5, 512)),
        (str(MIDDLE), "1K", pattern(7, 1024)),
        ("1M", "1KiB", pattern(6, 1024)),
        ("5M", "2K", pattern(8, 2048)),
        ("6M", "2M", bytes(2 * MIB)),
        ("8M", "0", b""),
        (str(8 * MIB - 1), "1", b"\0"),
        ("7", "3", pattern(5, 512)[7:10]),
    ],
)
def test_the_bytes(offset: str, length: str, content: bytes, looking: Programs) -> None:
    assert looking.inspect("read", "leaf.vhdx", offset, length, "--raw", binary=True).raw == content


def test_the_text_says_the_same(looking: Programs) -> None:
    shown = looking.inspect("read", "base.vhdx", "100", "4K").lines
    assert shown[-1] == f"{100 + 4096:#014x}"
    content = bytearray()
    for line, following in pairwise(shown):
        if line == "*":
            content += content[-16:] * ((int(following[:14], 16) - 100 - len(content)) // 16)
            continue
        assert int(line[:14], 16) == 100 + len(content)
        content += bytes.fromhex(line[16:64].replace(" ", ""))
    assert bytes(content) == pattern(5, 8192)[100 : 100 + 4096]


def test_a_disk_of_zeros_is_three_lines(looking: Programs) -> None:
    assert len(looking.inspect("read", "sibling.vhdx", "4M", "4M").lines) == 3


@pytest.mark.parametrize(("offset", "length"), [("8M", "1"), ("9M", "0"), ("0", "8388609"), ("1T", "1"), ("7M", "2M")])
def test_outside_of_the_disk(offset: str, length: str, looking: Programs) -> None:
    """Refused before anything is shown, and the range that was asked for is named."""
    ended = looking.inspect("read", "leaf.vhdx", offset, length, code=4)
    assert not ended.raw
    scale = {"M": MIB, "T": 1 << 40}
    plain = [int(text[:-1]) * scale[text[-1]] if text[-1] in scale else int(text) for text in (offset, length)]
    assert f"{plain[1]} byte" in ended.err
    assert f"{plain[0]} " in ended.err
    assert str(gallery.SIZE) in ended.err


@pytest.mark.parametrize("word", ["0x", "-1", "1Mb/s", "+1"])
def test_what_is_no_number(word: str, looking: Programs) -> None:
    assert "read --help" in looking.inspect("read", "leaf.vhdx", "0", word, code=64).err


def test_a_raw_disk(looking: Programs) -> None:
    assert "-f raw" in looking.inspect("read", gallery.RAW, "0", "16", code=2).err
    shown = looking.inspect("read", gallery.RAW, "0", "16", "-f", "raw", "--raw", binary=True)
    assert shown.raw == pattern(9, 16)
