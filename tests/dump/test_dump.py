"""What a dump shows: every field where it is, every finding once, something for any bytes."""

import struct
import tracemalloc
from contextlib import closing
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.check import vhd_images
from tests.check.catalogue import BAT, DATA, LOG, METADATA, Defect, Start, check, child, dirty, fixed, good, plain
from tests.check.test_catalogue import CATALOGUE
from tests.format.raw import MIB, PAGE
from tests.image.forge import HEADERS, Forge
from tests.support.choice import examples, few
from tests.support.disks import counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.check import check_storage
from vhdx.dump import DumpPart, Field, Structure, dump_storage
from vhdx.dump.ledger import part_of
from vhdx.format.metadata import LARGEST_DISK
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

PATH = "disk.vhdx"
VHDX_STARTS = (plain, child, fixed, dirty)
VHD_STARTS = (vhd_images.dynamic, vhd_images.differencing, vhd_images.mapped, vhd_images.fixed)
STARTS: dict[str, Start] = {
    **{start.__name__: start for start in VHDX_STARTS},
    **{f"vhd {start.__name__}": start for start in VHD_STARTS},
}
ALONE = [defect for defect in CATALOGUE if not defect.chain]
MODES = pytest.mark.parametrize("start", STARTS.values(), ids=list(STARTS))
DEFECTS = pytest.mark.parametrize("defect", few(ALONE, 50, ids=[defect.name for defect in ALONE]))


def dumped(
    files: MemoryFileSystem, *parts: DumpPart, path: str = PATH, format: ImageFormat | None = None
) -> list[Structure]:
    with closing(files.open(path, Access.INSPECT)) as storage:
        return list(dump_storage(storage, parts or list(DumpPart), format=format))


def planted(defect: Defect) -> MemoryFileSystem:
    files = good(defect.start)
    defect.plant(Forge(files))
    return files


def fields(structures: list[Structure], name: str) -> dict[str, Field]:
    """The fields of the structures of that name."""
    return {field.name: field for structure in structures if structure.name == name for field in structure.fields}


def texts(structures: list[Structure], name: str) -> dict[str, tuple[object, str]]:
    return {name: (field.value, field.meaning) for name, field in fields(structures, name).items()}


def note(structures: list[Structure], name: str) -> str:
    return next(structure.note for structure in structures if structure.name == name)


def assert_true_to(files: MemoryFileSystem, structures: list[Structure]) -> None:
    image = Forge(files)
    for structure in structures:
        for field in structure.fields:
            length = min(len(field.raw), max(image.size - field.offset, 0))
            assert length == len(field.raw), (structure.name, field.name)
            assert image.read(field.offset, length) == field.raw, (structure.name, field.name)


@MODES
def test_fields_are_where_they_are_said_to_be(start: Start) -> None:
    files = good(start)
    structures = dumped(files)
    assert {structure.part for structure in structures} == set(DumpPart)
    assert sum(len(structure.fields) for structure in structures) > 15
    assert not [structure for structure in structures if structure.lost]
    assert_true_to(files, structures)
    undecoded = {field.name for structure in structures for field in structure.fields if field.value is None}
    assert undecoded <= {"reserved", "reserved2", "padding", "locators", "parent_name"}


@MODES
def test_within_each_part_structures_come_as_in_the_file(start: Start) -> None:
    structures = dumped(good(start))
    for part in DumpPart:
        # The log begins where its first entry does.
        offsets = [one.offset for one in structures if one.part is part and one.offset is not None]
        assert offsets == sorted(offsets)


@DEFECTS
def test_every_finding_is_there_once(defect: Defect) -> None:
    files = planted(defect)
    structures = dumped(files)
    told = [finding for structure in structures for finding in structure.findings]
    assert sorted(map(str, told)) == sorted(map(str, check(files)))
    assert_true_to(files, structures)


@DEFECTS
def test_a_finding_is_on_the_structure_that_it_names(defect: Defect) -> None:
    for structure in dumped(planted(defect)):
        for finding in structure.findings:
            named = finding.structure.removesuffix(" entry")
            near = structure.name.startswith(named) or named == "file" or named in ("footer", "payload block")
            assert near, (structure.name, str(finding))
            if structure.fields and structure.offset is not None and finding.offset is not None:
                inside = structure.offset <= finding.offset < structure.offset + structure.length
                assert inside or structure.name in ("log", "footer"), (structure.name, str(finding))


@DEFECTS
def test_no_field_of_the_good_image_is_missing(defect: Defect) -> None:
    """Of headers and tables that lie at a fixed place; what lies elsewhere may be out of reach, and then is `lost`."""
    at_fixed_places = {"file identifier", "header 1", "header 2", "region table 1", "region table 2"}
    files = planted(defect)
    if Forge(files).size < MIB or defect.start in VHD_STARTS:
        return
    before, after = dumped(good(defect.start)), dumped(files)
    if defect.code != "file-unrecognised":
        assert {one.part for one in after} == set(DumpPart)
    for name in at_fixed_places:
        names = {field for field in fields(before, name) if not field.startswith("entry ")}
        assert names <= set(fields(after, name)), name


@DEFECTS
def test_a_part_alone_has_what_belongs_to_it(defect: Defect) -> None:
    files = planted(defect)
    whole = dumped(files)
    findings = check(files)
    for part in DumpPart:
        alone = dumped(files, part)
        assert {structure.part for structure in alone} == {part}
        shown = [(one.name, one.offset, one.fields) for one in alone if one.fields]
        assert shown == [(one.name, one.offset, one.fields) for one in whole if one.part is part and one.fields]
        told = [str(finding) for structure in alone for finding in structure.findings]
        assert len(told) == len(set(told))
        assert {str(finding) for finding in findings if part_of(finding) in (part, None)} <= set(told)


@DEFECTS
def test_what_cannot_be_read_says_why(defect: Defect) -> None:
    for structure in dumped(planted(defect)):
        assert structure.fields or structure.note or structure.findings
        assert not structure.lost or structure.note


def test_what_is_lost_shows_the_damage_that_hides_it() -> None:
    files = good(plain)
    Forge(files).write(METADATA, bytes(65536))
    (lost,) = dumped(files, DumpPart.BITMAP)
    assert lost.lost
    assert [finding.code for finding in lost.findings] == ["metadata-signature"]
    (table,) = dumped(files, DumpPart.BAT)
    assert "raw entries are listed" in table.note
    assert fields([table], "BAT")["entries 0..2"].value == "state 6"


def test_a_vhdx_in_words() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, "base.vhdx", 64 * MIB)
    engine.create_child(files, PATH, "base.vhdx")
    with engine.open_chain(files, PATH, writable=1) as chain:
        chain.write(0, b"x" * 4 * MIB)
        chain.write(6 * MIB + 4096, b"y" * 512)
    structures = dumped(files)
    assert texts(structures, "file parameters")["block_size"] == (2 * MIB, "2 MiB")
    assert texts(structures, "file parameters")["flags"] == (2, "differencing: HasParent")
    assert texts(structures, "virtual disk size")["virtual_size"] == (64 * MIB, "64 MiB")
    locator = texts(structures, "parent locator")
    assert locator["pair 2 key"][0] == "relative_path"
    assert locator["pair 2 value"] == (".\\base.vhdx", "")
    table = texts(structures, "BAT")
    assert table["blocks 0..1"][0] == "fully present"
    assert table["blocks 0..1"][1].startswith("4 MiB at file offsets ")
    assert table["block 2"] == ("not present", "2 MiB, read from the parent")
    assert table["block 3"][0] == "partially present"
    assert table["sector bitmap of chunk 0"][0] == "present"
    assert texts(structures, "sector bitmap of chunk 0") == {"block 3": (1, "of 4096 sectors, present: 8")}
    notes = [structure.note for structure in structures if structure.name.startswith("header")]
    assert sorted(notes) == ["current header", "older header"]
    assert texts(structures, "region table 1")["entry 1 guid"][1].endswith(" region")


def test_checksums_are_stored_and_computed() -> None:
    files = good(plain)
    Forge(files).write(HEADERS[0] + 4, b"\1\0\0\0")
    structures = dumped(files, DumpPart.HEADERS)
    value, meaning = texts(structures, "header 1")["checksum"]
    assert value == 1
    assert meaning.startswith("wrong: must be 0x")
    assert texts(structures, "header 2")["checksum"][1] == "correct"
    assert note(structures, "header 1") == "not valid: ignored"


def test_tables_are_followed_though_no_copy_is_valid() -> None:
    files = good(plain)
    image = Forge(files)
    for offset in (*HEADERS, 192 << 10, 256 << 10):
        image.write(offset + 4, bytes(4))
    structures = dumped(files)
    assert "although its checksum is wrong" in note(structures, "region table 1")
    assert texts(structures, "virtual disk size")["virtual_size"][0] == 8 * MIB
    assert fields(structures, "BAT")["blocks 0..2"].value == "fully present"
    assert "the location may be wrong" in note(structures, "BAT")


def test_a_log_that_is_to_be_replayed() -> None:
    structures = dumped(good(dirty))
    assert "in use: entry 3" in note(structures, "log")
    entry = texts(structures, "log entry 3")
    assert entry["descriptor 1 (data)"] == (BAT, f"a page for file offset {BAT}, in the BAT")
    assert entry["descriptor 2 (data)"][1].endswith("in the sector bitmap of chunk 0")
    assert note(structures, "log entry 3") == "number 1 of 1 to be replayed"
    assert note(structures, "log entry 1") == "valid, but older than the active sequence"
    assert "will change 1 page" in note(structures, "BAT")
    assert [finding.code for one in structures if one.name == "log" for finding in one.findings] == ["log-dirty"]


def test_entries_that_are_torn_are_shown_too() -> None:
    files = good(dirty)
    Forge(files).write(LOG + PAGE + 100, b"torn")
    structures = dumped(files, DumpPart.LOG)
    assert note(structures, "log entry 1").startswith("not valid")
    assert "descriptor 2 (data)" in fields(structures, "log entry 1")


def test_a_vhd_in_words() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, PATH, 20 * MIB, CreateOptions(format=ImageFormat.VHD))
    with engine.open_chain(files, PATH, writable=1) as chain:
        chain.write(4 * MIB, b"x" * 4 * MIB)
    structures = dumped(files)
    for name in ("footer", "copy of the footer"):
        footer = texts(structures, name)
        assert footer["disk_type"] == (3, "dynamic")
        assert footer["current_size"] == (20 * MIB, "20 MiB")
        assert footer["checksum"][1] == "correct"
        assert datetime.fromisoformat(str(footer["timestamp"][0])).utcoffset() is not None
    table = texts(structures, "block table")
    assert table["blocks 0..1"] == ("not present", "read as zeros")
    assert table["blocks 2..3"][0] == "present"
    assert {one.note for one in structures if one.part is DumpPart.METADATA} == {"a VHD has none"}


def test_a_vhd_names_its_parent() -> None:
    structures = dumped(good(vhd_images.differencing), DumpPart.LOCATOR)
    assert texts(structures, "parent name")["parent_name"][0] == "base.vhd"
    assert texts(structures, "parent locator 1")["path"][0] == ".\\base.vhd"
    assert texts(structures, "parent locator 2")["path"][0] == "C:\\vm\\base.vhd"


def test_a_map_of_full_blocks() -> None:
    structures = dumped(good(vhd_images.mapped), DumpPart.BITMAP)
    assert texts(structures, "batmap")["offset"][0] == 2560
    assert texts(structures, "batmap bits")["bits"] == (2, "2 blocks marked full")


def test_a_footer_without_its_cookie_is_recognised() -> None:
    files = good(vhd_images.dynamic)
    image = Forge(files)
    image.write(image.size - 512, b"CONECTIX")
    footer = texts(dumped(files, DumpPart.FOOTER), "footer")
    assert footer["cookie"] == ("CONECTIX", "wrong: must be conectix")
    assert footer["current_size"][0] == vhd_images.SIZE


def test_a_vhd_without_footers_is_read_by_its_header() -> None:
    files = good(vhd_images.dynamic)
    image = Forge(files)
    for offset in (0, image.size - 512):
        image.write(offset, bytes(512))
    structures = dumped(files)
    assert texts(structures, "dynamic header")["block_size"] == (2 * MIB, "2 MiB")
    assert texts(structures, "block table")["block 0"][0] == "present"
    assert "file-unrecognised" in [finding.code for one in structures for finding in one.findings]


def test_a_vhdx_whose_identifier_is_gone() -> None:
    files = good(plain)
    Forge(files).write(0, b"PK\3\4")
    structures = dumped(files)
    assert texts(structures, "file identifier")["signature"][1] == "wrong: must be vhdxfile"
    assert "blocks 0..2" in fields(structures, "BAT")
    assert structures[0].findings[0].code == "file-unrecognised"


def test_a_file_of_two_formats_shows_both() -> None:
    files = good(plain)
    image = Forge(files)
    image.write(image.size - 512, vhd_images.footer(3))
    structures = dumped(files)
    assert texts(structures, "footer")["disk_type"] == (3, "dynamic")
    assert "blocks 0..2" in fields(structures, "BAT")


def test_raw_bytes_have_no_structures() -> None:
    files = MemoryFileSystem()
    with closing(files.create(PATH)) as storage:
        storage.write([(0, b"x" * 4096)])
    assert all(structure.lost or structure.findings for structure in dumped(files, DumpPart.BAT, DumpPart.REGIONS))
    raw = dumped(files, format=ImageFormat.RAW)
    assert not any(structure.lost or structure.findings for structure in raw)
    assert {structure.part for structure in raw} == set(DumpPart)


def test_nothing_asked_nothing_shown() -> None:
    with closing(good(plain).open(PATH, Access.INSPECT)) as storage:
        assert list(dump_storage(storage, [])) == []


def test_the_largest_table_takes_little_room() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, "base.vhdx", LARGEST_DISK, CreateOptions(block_size=MIB))
    engine.create_child(files, PATH, "base.vhdx")
    tracemalloc.start()
    parts = DumpPart.BAT, DumpPart.BITMAP
    structures = dumped(files, *parts, path="base.vhdx") + dumped(files, *parts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * MIB
    assert sum(len(structure.fields) for structure in structures) < 10
    (name,) = [field.name for field in structures[0].fields if field.name.startswith("blocks 0")]
    assert name == f"blocks 0..{LARGEST_DISK // MIB - 1} and sector bitmap of chunks 0..16382"


def test_a_long_table_comes_in_pieces() -> None:
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, PATH, 8192 * MIB, CreateOptions(block_size=MIB))
    entries = b"".join(struct.pack("<Q", (DATA + 2 * number * MIB) | 6) for number in range(2500))
    Forge(files).write(BAT, entries)
    tables = [structure for structure in dumped(files, DumpPart.BAT) if structure.name == "BAT" and structure.fields]
    assert [len(table.fields) for table in tables] == [1000, 1000, 502]
    for before, after in pairwise(tables):
        assert before.offset is not None
        assert before.offset + before.length == after.offset
    assert_true_to(files, tables)


@pytest.mark.parametrize("optional", [True, False])
def test_a_dump_changes_nothing(optional: bool) -> None:
    for start in STARTS.values():
        files = MemoryFileSystem(good(start).snapshot(), optional=optional)
        before = files.snapshot()[PATH].fingerprint()
        assert dumped(files) == dumped(files)
        assert files.snapshot()[PATH].fingerprint() == before


SPOTS = [
    *(0, 512, 576, 1088, 1536, 2048),
    *HEADERS,
    *(192 << 10, 256 << 10),
    *(LOG, LOG + PAGE, METADATA, METADATA + 32, METADATA + 65536, BAT, BAT + 2048 * 8, 6 * MIB, -512),
]
NUMBERS = [0, 1, 5, 6, 7, MIB, 3 * MIB, 4 * MIB | 6, 1 << 31, 1 << 40, 1 << 62, (1 << 64) - MIB, (1 << 64) - 1]
numbers = st.sampled_from(NUMBERS)
orders = st.sampled_from(["little", "big"])
contents = st.one_of(st.binary(min_size=1, max_size=40), st.builds(lambda n, o: n.to_bytes(8, o), numbers, orders))
places = st.one_of(st.integers(0, 60).map(lambda field: field * 4), st.integers(0, 4000))
lies = st.lists(st.tuples(st.sampled_from(SPOTS), places, contents), min_size=1, max_size=4)


@MODES
@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lies, st.booleans(), st.one_of(st.none(), st.integers(0, 12 * MIB)), st.sampled_from([None, *ImageFormat]))
def test_any_bytes_are_dumped(
    start: Start, told: list[tuple[int, int, bytes]], seal: bool, cut: int | None, format: ImageFormat | None
) -> None:
    files = good(start)
    image = Forge(files)
    for spot, place, data in told:
        image.write((image.size if spot < 0 else 0) + spot + place, data)
    if seal and start in VHD_STARTS:
        vhd_images.change_footers(image, 0, b"")
        vhd_images.change_header(image, 0, b"")
    elif seal:
        image.change_header(0, b"head")
        for table in (192 << 10, 256 << 10):
            image.change_sealed(table, 65536, 0, b"regi")
    if cut is not None and cut < image.size:
        image.truncate(cut)
    structures = dumped(files, format=format)
    assert {structure.part for structure in structures} == set(DumpPart)
    assert_true_to(files, structures)
    with closing(files.open(PATH, Access.INSPECT)) as storage:
        findings = list(check_storage(storage, format=format))
    told_of = [finding for structure in structures for finding in structure.findings]
    assert sorted(map(str, told_of)) == sorted(map(str, findings))


def test_every_finding_belongs_to_a_part_or_to_the_whole_file() -> None:
    whole = {"file", "chain"}
    for start in STARTS.values():
        for finding in check(good(start)):
            assert part_of(finding) is not None or finding.structure in whole


@pytest.mark.parametrize("defect", ALONE[::12], ids=[defect.name for defect in ALONE[::12]])
def test_a_check_of_the_caller_serves_for_every_part(defect: Defect) -> None:
    """A page on a file checks it once, not again for each part."""
    files = planted(defect)
    with closing(files.open(PATH, Access.INSPECT)) as storage:
        findings = list(check_storage(storage))
        for part in DumpPart:
            told = list(dump_storage(storage, [part], findings=findings))
            assert told == list(dump_storage(storage, [part]))
        assert not [one for one in dump_storage(storage, list(DumpPart), findings=[]) if one.findings]
