"""Every lie of the catalogue is found, for what it is and where it is, and nothing else is made of it."""

import pytest

from tests.check import catalogue, defects_disk, defects_front, defects_links, defects_vhd, defects_vhd_more, vhd_images
from tests.check.catalogue import CATALOGUE, Defect, check, checked_chain, codes, good
from tests.image.forge import Forge
from tests.support.memory import MemoryFileSystem
from vhdx.check import CODES, Finding, Severity

NOT_IN_THE_CATALOGUE = {
    "file-changing": "needs a file that changes while it is read: test_check",
    "file-identifier": "needs the format to be named by the caller: test_check",
    "vhd-footer-none": "needs the format to be named by the caller: test_check",
    "block-unreadable": "needs a storage that fails: test_check",
    "findings-left-out": "needs more than a hundred lies: test_check",
    "check-given-up": "needs a hundred thousand lies: test_check",
    "chain-link": "every good link has it: test_check",
    "chain-too-long": "needs a policy: test_check",
}


def findings_of(defect: Defect, files: MemoryFileSystem) -> list[Finding]:
    if defect.chain:
        return checked_chain(files, defect.chain)
    return check(files, deep=defect.deep)


@pytest.mark.parametrize("defect", CATALOGUE, ids=[defect.name for defect in CATALOGUE])
def test_what_is_found_of_a_defect(defect: Defect) -> None:
    files = good(defect.start)
    before = codes(findings_of(defect, files))
    defect.plant(Forge(files))
    findings = findings_of(defect, files)
    told = [str(finding) for finding in findings]
    named = [finding for finding in findings if finding.code == defect.code]
    assert [(found.severity, found.structure, found.offset) for found in named] == [
        (defect.severity, defect.structure, offset) for offset in (defect.offset, *defect.also)
    ], told
    allowed = {defect.code, *defect.implies}
    assert not [finding for finding in findings if finding.code not in (*before, *allowed)], told
    assert not [found for found in findings if found.severity is Severity.ERROR and found.code not in allowed], told
    assert set(defect.implies) <= {*codes(findings), *before}, f"less follows than is said: {told}"


def test_a_finding_says_what_and_where() -> None:
    for defect in CATALOGUE:
        files = good(defect.start)
        defect.plant(Forge(files))
        for finding in findings_of(defect, files):
            assert finding.message
            assert finding.message[-1] != "."
            assert finding.file.startswith("memory:/")
            assert "\n" not in str(finding)


def test_every_code_is_in_the_catalogue_or_said_not_to_be() -> None:
    planted = {defect.code for defect in CATALOGUE}
    assert planted | set(NOT_IN_THE_CATALOGUE) == set(CODES)
    assert not planted & set(NOT_IN_THE_CATALOGUE)


def test_the_catalogue_is_large_and_its_names_are_its_own() -> None:
    names = [defect.name for defect in CATALOGUE]
    assert len(names) == len(set(names)) >= 180
    modules = (catalogue, defects_front, defects_disk, defects_links, defects_vhd, defects_vhd_more)
    assert all(module.__doc__ for module in modules)


def test_what_is_found_in_a_vhd_cites_the_specification_of_vhd() -> None:
    """And what is found in a VHDX cites MS-VHDX."""
    counts = [0, 0]
    for defect in CATALOGUE:
        files = good(defect.start)
        defect.plant(Forge(files))
        is_vhd = defect.start.__module__ == vhd_images.__name__
        for finding in findings_of(defect, files):
            if finding.section:
                counts[is_vhd] += 1
                assert finding.section[0].isdigit() is not is_vhd, finding
    assert min(counts) > 50
    for change in (lambda image: None, lambda image: vhd_images.change_header(image, 40, b"another parent!!")):
        files = good(vhd_images.chained)
        change(Forge(files))
        findings = checked_chain(files)
        assert {"chain-link", "chain-parent-mismatch"} & set(codes(findings))
        assert not [finding for finding in findings if finding.section[:1].isdigit()]
