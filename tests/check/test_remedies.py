"""What is said to be done about a finding: there is something for each, and what can be tried here is true."""

import re

import pytest

from tests.check.catalogue import CATALOGUE, Defect, good
from tests.check.test_catalogue import findings_of
from tests.image.forge import Forge
from tests.support.disks import counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.check import CODES, Severity
from vhdx.check.remedies import REMEDIES
from vhdx.engine import NativeEngine
from vhdx.image.base import CreateOptions, ImageFormat

COMMANDS = {
    "vhdx-img": {"create", "convert", "merge", "relink", "resize", "compact", "replay", "repair"},
    "vhdx-inspect": {"info", "chain", "map", "check", "dump", "hash", "compare", "read", "report"},
}
ALONE = [
    defect
    for defect in CATALOGUE
    if not defect.chain and all(CODES[code].severity is not Severity.ERROR for code in defect.implies)
]


def said_to(verb: str) -> list[Defect]:
    """Defects for which a remedy begins with this command, and nothing else is wrong."""
    return [defect for defect in ALONE if REMEDIES[defect.code].startswith(f"Run vhdx-img {verb}")]


def planted(defect: Defect) -> MemoryFileSystem:
    files = good(defect.start)
    defect.plant(Forge(files))
    return files


def is_found(defect: Defect, files: MemoryFileSystem) -> bool:
    return defect.code in [finding.code for finding in findings_of(defect, files)]


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_a_remedy(code: str) -> None:
    text = REMEDIES[code]
    assert text[0].isupper() or text.startswith("vhdx-img ")
    assert text.endswith(".")
    assert len(text) <= 280
    for program, command in re.findall(r"(vhdx-img|vhdx-inspect) ([a-z]+)", text):
        assert command in COMMANDS[program]


@pytest.mark.parametrize("code", [code for code, rule in CODES.items() if rule.severity is Severity.ERROR])
def test_damage_is_never_said_to_be_nothing(code: str) -> None:
    assert not REMEDIES[code].startswith("Nothing")


@pytest.mark.parametrize("defect", said_to("repair"), ids=lambda defect: defect.name)
def test_what_is_said_to_be_repaired_is(defect: Defect) -> None:
    files = planted(defect)
    assert NativeEngine(new_id=counting_ids(1000)).repair(files, "disk.vhdx", undo="undo")
    assert not is_found(defect, files)


@pytest.mark.parametrize("defect", said_to("replay"), ids=lambda defect: defect.name)
def test_what_is_said_to_be_replayed_is(defect: Defect) -> None:
    files = planted(defect)
    assert NativeEngine(new_id=counting_ids(1000)).replay(files, "disk.vhdx")
    assert not is_found(defect, files)


@pytest.mark.parametrize(
    "defect",
    [defect for defect in ALONE if "writes" in (text := REMEDIES[defect.code]) and "relink" in text],
    ids=lambda defect: defect.name,
)
def test_locators_are_written_anew(defect: Defect) -> None:
    files, engine = planted(defect), NativeEngine(new_id=counting_ids(1000))
    size = engine.info(files, "disk.vhdx").virtual_size
    engine.create(files, "parent.vhd", size, CreateOptions(format=ImageFormat.VHD))
    engine.relink(files, "disk.vhdx", "parent.vhd")
    assert not is_found(defect, files)


def test_enough_of_them_were_tried() -> None:
    assert len(said_to("repair")) >= 12
    assert said_to("replay")
