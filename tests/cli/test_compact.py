"""``vhdx-img compact``: a smaller file for the same disk."""

import pytest

from tests.cli.running import Programs
from tests.support.disks import MIB, pattern


@pytest.mark.parametrize("extension", ["vhdx", "vhd"])
def test_blocks_of_zeros_go(extension: str, programs: Programs) -> None:
    name = f"a.{extension}"
    programs.bench.create(name, 16 * MIB, block=MIB)
    programs.bench.write(name, 0, pattern(1, 8 * MIB))
    programs.bench.write(name, MIB, bytes(4 * MIB))
    wanted = programs.bench.digest(name)
    before = (programs.here / name).stat().st_size
    done = programs.img("compact", name, "--json").json
    after = (programs.here / name).stat().st_size
    assert done == {"path": str(programs.here / name), "file_size_before": before, "file_size": after}
    assert before - after >= 4 * MIB
    assert programs.bench.digest(name) == wanted
    programs.inspect("check", name, "--deep")
    assert "compacted from" in programs.img("compact", name).out


def test_no_scan(programs: Programs) -> None:
    programs.bench.create("a.vhdx", 16 * MIB, block=MIB)
    programs.bench.write("a.vhdx", 0, pattern(1, 2 * MIB))
    programs.bench.write("a.vhdx", 0, bytes(2 * MIB))
    before = (programs.here / "a.vhdx").stat().st_size
    programs.img("compact", "a.vhdx", "--no-scan")
    assert (programs.here / "a.vhdx").stat().st_size == before
    programs.img("compact", "a.vhdx")
    assert (programs.here / "a.vhdx").stat().st_size <= before - 2 * MIB


def test_children_are_not_hurt(programs: Programs) -> None:
    programs.bench.create("base.vhdx", block=MIB)
    programs.bench.write("base.vhdx", 0, bytes(2 * MIB) + b"x")
    programs.bench.child("child.vhdx", "base.vhdx")
    wanted = programs.bench.digest("child.vhdx")
    programs.img("compact", "base.vhdx")
    assert programs.bench.digest("child.vhdx") == wanted


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fixed.vhdx"], 4),
        (["fixed.vhd"], 4),
        (["a.raw", "-f", "raw"], 4),
        (["a.raw"], 2),
        (["nowhere.vhdx"], 1),
        (["."], 4),
        ([], 64),
    ],
    ids=str,
)
def test_refusals(words: list[str], code: int, programs: Programs) -> None:
    for name in ("fixed.vhdx", "fixed.vhd"):
        programs.bench.create(name, 4 * MIB, fixed=True)
    (programs.here / "a.raw").write_bytes(bytes(MIB))
    programs.refused("compact", *words, code=code)


def test_a_refusal_does_not_hurt_children(programs: Programs) -> None:
    programs.bench.create("base.vhdx", 4 * MIB, fixed=True)
    programs.bench.child("child.vhdx", "base.vhdx")
    programs.refused("compact", "base.vhdx")
    assert programs.bench.digest("child.vhdx")
