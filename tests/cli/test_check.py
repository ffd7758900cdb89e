"""``vhdx-inspect check``: exit codes 0 to 3, and findings with what to do about them."""

import pytest

from tests.check import catalogue, defects_disk, defects_front, defects_links  # noqa: F401  they fill the catalogue
from tests.check.catalogue import CATALOGUE, Defect, good
from tests.cli import gallery
from tests.cli.conftest import Golden, general
from tests.cli.running import Programs
from tests.image.forge import Forge
from vhdx.check.remedies import REMEDIES
from vhdx.check.rules import Severity

KEYS = ["code", "severity", "file", "structure", "offset", "message", "section", "remedy"]
SOME = {defect.code: defect for defect in CATALOGUE if not defect.chain and not defect.deep}
ONE_IN = 12
"""Each is tried without the script elsewhere; every so many-th is here."""


@pytest.mark.parametrize("name", ["leaf.vhdx", "fixed.vhdx", "sectors.vhdx", "child.vhd", "fixed.vhd"])
def test_a_sound_image(name: str, looking: Programs) -> None:
    ended = looking.inspect("check", name, "--chain", "--deep")
    assert ended.lines[-1].startswith(f"{looking.here / name}: clean")


def test_a_sound_image_as_json(looking: Programs) -> None:
    assert looking.inspect("check", "dynamic.vhd", "--json").json["result"] == "clean"


@pytest.mark.parametrize(
    ("name", "code"), [(gallery.DAMAGED, 2), (gallery.LEAKING, 0), ("dirty.vhdx", 0), (gallery.RUBBISH, 2)]
)
def test_a_flawed_image(name: str, code: int, looking: Programs, golden: Golden) -> None:
    ended = looking.inspect("check", name, code=code)
    golden(f"check-{name}", general(ended.out, looking.here))
    found = looking.inspect("check", name, "--json", code=code).json
    assert list(found) == ["path", "result", "findings"]
    assert found["result"] == {0: "clean", 2: "damaged", 3: "minor"}[code]
    for finding in found["findings"]:
        assert list(finding) == KEYS
        assert finding["remedy"] in ended.out


@pytest.mark.parametrize("name", gallery.BROKEN)
def test_a_broken_link_counts_only_for_the_chain(name: str, looking: Programs) -> None:
    looking.inspect("check", name)
    assert "relink" in looking.inspect("check", name, "--chain", code=2).out


def test_what_could_not_be_finished(looking: Programs) -> None:
    assert "No such file" in looking.inspect("check", "nowhere.vhdx", code=1).err
    assert "not a regular file" in looking.inspect("check", ".", code=1).err


def test_deep_reads_every_block(programs: Programs) -> None:
    programs.img("create", "disk.vhdx", "4M", "--block-size", "1M")
    programs.img("write", "disk.vhdx", "0", stdin=b"x")
    programs.img("write", "disk.vhdx", "0", stdin=bytes(1))
    assert programs.inspect("check", "disk.vhdx", "--json").json["findings"] == []
    (found,) = programs.inspect("check", "disk.vhdx", "--deep", "--json").json["findings"]
    assert found["code"] == "blocks-all-zero"


@pytest.mark.parametrize("defect", list(SOME.values())[::ONE_IN], ids=lambda defect: defect.code)
def test_defects_of_the_catalogue(defect: Defect, programs: Programs) -> None:
    """The script says which structure, where, and what to do, and its exit code is that of the worst finding."""
    files = good(defect.start)
    defect.plant(Forge(files))
    (programs.here / "disk.vhdx").write_bytes(Forge(files).everything)
    severe = defect.severity is Severity.ERROR or bool(defect.implies)
    expected = {Severity.ERROR: (2,), Severity.WARNING: (2, 3) if severe else (3,), Severity.INFO: (0, 2, 3)}
    ended = programs.inspect("check", "disk.vhdx", "--json", code=expected[defect.severity])
    code, found = ended.code, ended.json["findings"]
    (mine, *_) = [one for one in found if one["code"] == defect.code]
    assert (mine["structure"], mine["severity"]) == (defect.structure, defect.severity.value)
    assert mine["offset"] == defect.offset or defect.offset is None
    assert mine["remedy"] == REMEDIES[defect.code]
    shown = programs.inspect("check", "disk.vhdx", code=code).out
    assert defect.structure in shown
    assert REMEDIES[defect.code] in shown
    if defect.offset is not None:
        assert str(defect.offset) in shown
