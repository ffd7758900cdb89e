"""What is said to be done about a finding: it is done here, and never leads to a dead end."""

import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.check.catalogue import CATALOGUE, Defect, check, checked_chain, codes, good
from tests.check.test_catalogue import findings_of
from tests.check.vhd_images import chained
from tests.image.forge import Forge
from tests.support.disks import MIB, counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.check import CODES, Finding, Severity, check_storage
from vhdx.check.remedies import REMEDIES
from vhdx.errors import Error
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

COMMANDS = {
    "vhdx-img": {"create", "convert", "merge", "relink", "resize", "compact", "replay", "repair"},
    "vhdx-inspect": {"info", "chain", "map", "check", "dump", "hash", "compare", "read", "report"},
}
NEW, FOUND = "new.vhdx", "found.vhdx"
ELSEWHERE = ("Open it with the program that wrote it", "Run vhd-util again", "Convert it with vhd-update")
"""Remedies that other programs carry out: what is not known here is not guessed at."""


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


@dataclass
class Patient:
    """A planted defect, and what is left to be tried of what is said about it."""

    defect: Defect
    files: MemoryFileSystem
    finding: Finding

    @property
    def path(self) -> str:
        """The image that is checked."""
        return self.defect.chain or "disk.vhdx"

    @property
    def child(self) -> str:
        """The file that the finding is about."""
        return posixpath.basename(self.finding.file)

    @property
    def engine(self) -> NativeEngine:
        return NativeEngine(new_id=counting_ids(1000))

    def found(self) -> list[Finding]:
        return findings_of(self.defect, self.files)

    def is_cured(self) -> bool:
        """Whether the image, or what was made of it, is without that finding."""
        if NEW in self.files.paths():
            return self.finding.code not in codes(check(self.files, NEW))
        return self.path not in self.files.paths() or self.finding.code not in codes(self.found())

    # One method for each thing that is said to be done.

    def repair(self) -> None:
        self.engine.repair(self.files, self.child, undo="undo")

    def replay(self) -> None:
        self.engine.replay(self.files, "base.vhdx" if "on the parent" in REMEDIES[self.finding.code] else self.child)

    def compact(self) -> None:
        self.engine.compact(self.files, self.child)

    def merge(self) -> None:
        assert self.engine.merge(self.files, self.path, "base.vhdx", remove=True) == "base.vhdx"
        assert not [found for found in checked_chain(self.files, "base.vhdx") if found.severity is Severity.ERROR]

    def convert(self) -> None:
        text = REMEDIES[self.finding.code]
        options = CreateOptions(
            format=ImageFormat.VHD if "--azure" in text else ImageFormat.VHDX,
            azure="--azure" in text,
            fixed="-t fixed" in text,
        )
        self.engine.convert(self.files, self.path, self.files, NEW, options=options)

    def told(self) -> None:
        """With the format named; what the guest wrote does no harm to an image of the other format."""
        options = CreateOptions(format=ImageFormat.VHD)
        self.engine.convert(
            self.files, self.path, self.files, NEW, source_format=ImageFormat.VHDX, options=options
        )

    def salvage(self) -> None:
        text = REMEDIES[self.finding.code]
        format = ImageFormat.VHDX if "-f vhdx" in text else ImageFormat.VHD if "-f vhd" in text else None
        without = "--without-parent" in text
        self.engine.salvage(self.files, self.path, self.files, NEW, source_format=format, without_parent=without)

    def relink(self) -> None:
        """To the parent that was found, which only whoever says so knows to be it; or back."""
        if "relink --undo" in REMEDIES[self.finding.code]:
            self.engine.undo_relink(self.files, self.child)
            return
        info = self.engine.info(self.files, self.child)
        options = CreateOptions(format=info.format, logical_sector_size=info.logical_sector_size)
        self.engine.create(self.files, FOUND, info.virtual_size, options)
        self.engine.relink(self.files, self.child, FOUND, force=True)


WAYS: dict[str, Callable[[Patient], None]] = {
    "vhdx-img repair": Patient.repair,
    "vhdx-img replay": Patient.replay,
    "vhdx-img compact": Patient.compact,
    "vhdx-img merge again": Patient.merge,
    "convert --salvage": Patient.salvage,
    "vhdx-img convert": Patient.convert,
    "vhdx-img relink": Patient.relink,
    "Specify the format with -f": Patient.told,
}


def ways(text: str) -> Iterator[Callable[[Patient], None]]:
    """What a remedy tells to do, in its order."""
    text = text.replace("vhdx-img convert --salvage", "convert --salvage")
    return iter([WAYS[words] for words in sorted((words for words in WAYS if words in text), key=text.index)])


def patient(defect: Defect, code: str) -> Patient:
    files = good(defect.start)
    if defect.start.__name__ == "differencing":
        files = MemoryFileSystem({**files.snapshot(), "base.vhd": good(chained).snapshot()["base.vhd"]})
    defect.plant(Forge(files))
    finding = next(found for found in findings_of(defect, files) if found.code == code)
    return Patient(defect, files, finding)


def cured_by(defect: Defect, code: str) -> bool:
    """Whether something that is said about the finding helps; it is tried on a fresh copy each time."""
    for way in ways(REMEDIES[code]):
        tried = patient(defect, code)
        try:
            way(tried)
        except (Error, FileNotFoundError) as error:
            assert str(error)
            continue
        if tried.is_cured():
            return True
    return False


def errors_of(defect: Defect) -> list[str]:
    return [code for code in codes(patient(defect, defect.code).found()) if CODES[code].severity is Severity.ERROR]


DAMAGED = [
    defect for defect in CATALOGUE
    if any(CODES[code].severity is Severity.ERROR for code in (defect.code, *defect.implies))
]


@pytest.mark.parametrize("defect", DAMAGED, ids=lambda defect: defect.name)
def test_damage_never_leads_to_a_dead_end(defect: Defect) -> None:
    """Something that is said helps; or it is said that only a backup does, and then nothing else would have."""
    said = list(dict.fromkeys(errors_of(defect)))
    assert said
    if any(cured_by(defect, code) for code in said):
        return
    texts = [REMEDIES[code] for code in said]
    if any(text.startswith("Check that file on its own") for text in texts):
        return
    honest = [text for text in texts if text.startswith(ELSEWHERE) or "nly a backup can help" in text]
    assert honest, texts
    for without in (False, True):
        tried = patient(defect, defect.code)
        with pytest.raises(Error):
            tried.engine.salvage(tried.files, tried.path, tried.files, NEW, without_parent=without)


@pytest.mark.parametrize(
    "code", [code for code in CODES if REMEDIES[code].startswith("Only a backup can help")]
)
def test_only_a_backup_is_said_where_nothing_else_helps(code: str) -> None:
    tried = [patient(defect, code) for defect in CATALOGUE if defect.code == code]
    assert tried
    for one in tried:
        with pytest.raises(Error):
            one.engine.salvage(one.files, one.path, one.files, NEW, without_parent=True)
        with pytest.raises(Error):
            one.engine.convert(one.files, one.path, one.files, NEW)


FLAWED = [
    defect for defect in CATALOGUE
    if defect not in DAMAGED and (list(ways(REMEDIES[defect.code])))
]


@pytest.mark.parametrize("defect", FLAWED, ids=lambda defect: defect.name)
def test_what_is_said_of_a_flaw_mends_it(defect: Defect) -> None:
    assert cured_by(defect, defect.code) or REMEDIES[defect.code].startswith("No action needed")


def test_enough_of_them_were_tried() -> None:
    by_way = [way for defect in (*DAMAGED, *FLAWED) for way in ways(REMEDIES[defect.code])]
    assert by_way.count(Patient.repair) >= 12
    assert by_way.count(Patient.salvage) >= 60
    assert set(by_way) == set(WAYS.values())


def footless() -> MemoryFileSystem:
    files = MemoryFileSystem()
    options = CreateOptions(format=ImageFormat.VHD, fixed=True)
    NativeEngine(new_id=counting_ids()).create(files, "disk.vhdx", 2 * MIB, options)
    Forge(files).truncate(2 * MIB)
    return files


def headless() -> MemoryFileSystem:
    files = good(CATALOGUE[0].start)
    Forge(files).write(0, b"overwrit")
    return files


@pytest.mark.parametrize(
    ("start", "format", "code"),
    [(footless, ImageFormat.VHD, "vhd-footer-none"), (headless, ImageFormat.VHDX, "file-identifier")],
)
def test_what_needs_its_format_named(start: Callable[[], MemoryFileSystem], format: ImageFormat, code: str) -> None:
    files = start()
    with closing(files.open("disk.vhdx", Access.READ)) as storage:
        assert code in codes(list(check_storage(storage, format=format)))
    assert f"--salvage -f {format.value}" in REMEDIES[code]
    NativeEngine(new_id=counting_ids(9)).salvage(files, "disk.vhdx", files, NEW, source_format=format)
    assert not [found for found in check(files, NEW) if found.severity is Severity.ERROR]
