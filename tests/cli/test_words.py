"""Sizes and offsets in words: what looks exact is exact, and what is printed can be typed."""

import re
from fractions import Fraction

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import vhdx.cli.img
import vhdx.cli.inspect
from tests.cli.running import Programs
from tests.support.disks import MIB, pattern
from vhdx.cli.kinds import NewSize, Size, parse_size, powers_note
from vhdx.cli.plain import exact_size, size_text

SCALE = {name: 1 << 10 * number for number, name in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}
SCALE["byte"] = 1
_TEXT = re.compile(r"(\d+)(?:\.(\d+))? (\w+)")


@given(st.integers(0, 1 << 64) | st.builds(lambda n, unit, d: n * unit + d, st.integers(1, 1023),
       st.sampled_from(sorted(set(SCALE.values()))), st.integers(-2, 2)))  # fmt: skip
@example(1048707072)
@example((1000 << 20) + 1)
@example((1 << 30) - 1)
@example((1 << 20) + 1)
@example(102395)
@example((3 << 30) // 2)
def test_a_size_without_a_fraction_is_exact(size: int) -> None:
    """And a fraction that is rounded has all its digits, so that 1.5 GiB is exact, too, and 1.500 GiB is not."""
    size = abs(size)
    found = _TEXT.fullmatch(size_text(size))
    assert found
    whole, fraction, unit = int(found[1]), found[2] or "", SCALE[found[3]]
    shown = whole * unit + (int(fraction) * unit / 10 ** len(fraction) if fraction else 0)
    full = len(fraction) >= max(4 - len(found[1]), 1)  # more where rounding made the number longer
    if not full:
        assert shown == size
    assert abs(shown - size) * 10 ** max(len(fraction), 1) <= unit
    assert str(size) in exact_size(size)


def test_rounded_sizes() -> None:
    shown = {
        1048707072: "1000.1 MiB",
        (1000 << 20) + 1: "1000.0 MiB",
        1000 << 20: "1000 MiB",
        (1 << 20) + 1: "1.000 MiB",
        (3 << 30) // 2: "1.5 GiB",
        1023: "1023 bytes",
        1: "1 byte",
        0: "0 bytes",
    }
    assert {size: size_text(size) for size in shown} == shown


@given(st.integers(0, (1 << 63) - 1))
def test_numbers_as_they_are_printed_can_be_typed(number: int) -> None:
    for text in (f"{number}", f"{number:#x}", f"{number:#016x}", f"0X{number:X}"):
        assert parse_size(text) == number


@pytest.mark.parametrize("wrong", ["0x", "x10", "0x1G", "0xg", "-0x1", "0x8000000000000000", "0x" + "f" * 40, "1x"])
def test_what_is_no_number(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"size|more than"):
        parse_size(wrong)


def written(whole: int, fraction: str, unit: str) -> str:
    return f"{whole}{'.' if fraction else ''}{fraction}{unit}"


@given(
    st.integers(0, 4000),
    st.sampled_from(["", "5", "25", "125", "50", "0", "3", "001"]),
    st.sampled_from(["", "B", "K", "k", "KiB", "kB", "M", "m", "MB", "mib", "G", "GiB", "gb", "T", "TB", "P", "PiB"]),
    st.sampled_from(["", " "]),
)
def test_numbers_with_units(whole: int, fraction: str, unit: str, space: str) -> None:
    """Exact, or refused; whatever the letters, a unit is a power of 1024, and where that needs a word it gets one."""
    text = written(whole, fraction, f"{space if unit else ''}{unit}")
    letter = unit[:1].lower() if unit.lower() not in {"", "b"} else ""
    exact = Fraction(written(whole, fraction, "")) * (1024 ** " kmgtp".index(letter) if letter else 1)
    if exact.denominator == 1:
        assert parse_size(text) == exact
        assert bool(powers_note(text)) == (len(unit) == 2)
    else:
        with pytest.raises(ValueError, match="whole number"):
            parse_size(text)


@given(st.integers(0, (1 << 63) - 1))
@example((1 << 20) + 1)
@example((1 << 40) - 1)
def test_sizes_as_they_are_printed_can_be_typed(size: int) -> None:
    """With the bytes behind them always; without them what is exact is taken as it is, and rounded it is refused."""
    assert parse_size(exact_size(size)) == size
    short = size_text(size)
    rounded = short.partition(".")[2].partition(" ")[0]
    if not rounded or len(rounded) < max(4 - len(short.partition(".")[0]), 1):
        assert parse_size(short) == size


GROUPS = (vhdx.cli.img.program, vhdx.cli.inspect.program)
PARAMETERS = [
    (group, name, parameter)
    for group in GROUPS
    for name in group.list_commands(click.Context(group))
    for parameter in group.get_command(click.Context(group), name).params  # type: ignore[union-attr]
]


def test_every_number_is_read_by_one_parser() -> None:
    sized = {name for _, name, one in PARAMETERS if isinstance(one.type, Size | NewSize)}
    assert sized == {"create", "convert", "read", "write", "resize"}
    kinds = {type(one.type) for _, _, one in PARAMETERS}
    assert kinds <= {Size, NewSize, click.Choice, click.types.StringParamType, click.types.BoolParamType}


TYPED: list[tuple[str, list[str]]] = [
    ("vhdx-img", ["create", "--force", "b.vhdx", "1MB"]),
    ("vhdx-img", ["create", "--force", "b.vhdx", "4M", "--block-size", "1mb"]),
    ("vhdx-img", ["create", "--force", "b.vhdx", "4M", "--sector-size", "4KB"]),
    ("vhdx-img", ["convert", "--force", "a.vhdx", "b.vhdx", "--block-size", "2MB"]),
    ("vhdx-img", ["resize", "a.vhdx", "+1MB"]),
    ("vhdx-img", ["write", "a.vhdx", "4kb"]),
    ("vhdx-inspect", ["read", "a.vhdx", "4KB", "512"]),
    ("vhdx-inspect", ["read", "a.vhdx", "0", "1KB"]),
]


@pytest.mark.parametrize(("program", "words"), TYPED, ids=[" ".join(words) for _, words in TYPED])
def test_what_powershell_calls_a_megabyte(program: str, words: list[str], programs: Programs) -> None:
    """Is taken for what it is there, and the user is told."""
    programs.bench.create("a.vhdx")
    ended = programs.run(program, *words, stdin=bytes(512), warns=True)
    said = r"note: \d[kKmM][bB] uses powers of 1024, as PowerShell does: \d [KM]iB \(\d+ bytes\)\n"
    assert re.fullmatch(said, ended.err)


def test_offsets_that_are_printed_are_read(programs: Programs) -> None:
    """Those of a map, of a comparison, and of what was read itself."""
    programs.bench.create("a.vhdx", block=MIB)
    programs.bench.create("b.vhdx", block=MIB)
    programs.bench.write("a.vhdx", 3 * MIB, pattern(1, 512))
    mapped = next(line for line in programs.inspect("map", "a.vhdx").lines if "file offset 0x" in line).split()
    compared = programs.inspect("compare", "a.vhdx", "b.vhdx", code=1).lines[-1]
    decimal, hexadecimal = re.findall(r"at (\d+) \((0x\w+)\)", compared)[0]
    read = programs.inspect("read", "a.vhdx", "3M", "512").lines[0].split()[0]
    shown = {
        programs.inspect("read", "a.vhdx", offset, "512").out for offset in (mapped[0], decimal, hexadecimal, read)
    }
    assert len(shown) == 1
    assert pattern(1, 16)[:8].hex(" ") in shown.pop()
