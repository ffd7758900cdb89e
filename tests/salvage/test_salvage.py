"""What a salvage takes, what it calls lost, and what it refuses, case by case."""

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.check import vhd_images
from tests.check.catalogue import BAT, CHILD_CHUNK, child, dirty, grandchild, plain
from tests.fuzz.laws import Budget
from tests.image import forge
from tests.image.forge import HEADERS, REGION_TABLES, Forge
from tests.salvage.disks import (
    TARGET,
    Good,
    engine,
    good,
    hold,
    read,
    salvage,
    vhd_chain,
    vhd_dynamic,
    vhd_fixed,
    without_log,
)
from tests.salvage.failing import Failing, FailingFileSystem
from tests.support.disks import MIB, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import WatchedFileSystem
from vhdx.errors import Cancelled, Error, HasChildren, ParentMismatch, ParentNotFound
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.salvage.report import Ledger, Salvaged
from vhdx.storage.base import FileSystem
from vhdx.storage.local import LocalFileSystem

Start = Callable[[], MemoryFileSystem]
PATH = "disk.vhdx"


def hurt(start: Start, damage: Callable[[Forge], object]) -> tuple[Good, MemoryFileSystem]:
    case = good(start)
    files = case.files()
    damage(Forge(files))
    return case, files


def taken(case: Good, files: MemoryFileSystem, **options: object) -> Salvaged:
    """The report of a salvage that goes through, after what always has to hold."""
    report = salvage(files, PATH, **options)
    assert report is not None
    hold(files, report, case.content)
    return report


def ranges(report: Salvaged) -> list[tuple[int, int]]:
    return [(lost.offset, lost.length) for lost in report.lost]


# --- what is lost ----------------------------------------------------------------------------------------------------


def test_of_a_block_that_is_cut_the_part_in_the_file_is_read() -> None:
    case, files = hurt(plain, lambda image: image.truncate(6 * MIB + 1000))
    report = taken(case, files)
    assert ranges(report) == [(2 * MIB + 512, MIB - 512)]
    assert report.lost[0].reason == "beyond end of file"
    assert report.notes == ()


def test_of_blocks_on_one_place_none_is_believed() -> None:
    case, files = hurt(plain, lambda image: image.set_entry(5, image.entry(1)))
    report = taken(case, files)
    assert ranges(report) == [(MIB, MIB), (5 * MIB, MIB)]
    assert all("overlaps another one" in lost.reason for lost in report.lost)


def test_without_its_bitmap_a_block_is_lost_and_the_parent_does_not_show() -> None:
    case, files = hurt(child, lambda image: image.set_entry(CHILD_CHUNK, 0))
    report = taken(case, files)
    assert ranges(report) == [(0, 2 * MIB)]
    assert any(read(files, "base.vhdx")[: 2 * MIB])


def test_what_is_lost_in_the_child_is_not_taken_from_the_parent() -> None:
    case, files = hurt(child, lambda image: image.set_entry(2, 5))
    assert ranges(taken(case, files)) == [(4 * MIB, 2 * MIB)]


def test_a_cut_block_table_loses_what_its_entries_named() -> None:
    case, files = hurt(vhd_dynamic, lambda image: image.truncate(1536 + 12))
    report = taken(case, files)
    assert not report.read
    # Entries 1 and 2 still name a place, all others may have.
    assert {lost.reason for lost in report.lost} <= {
        "beyond end of file",
        "its entry in the block table cannot be read",
    }
    assert report.lost_bytes == 5 * MIB - MIB // 2


# --- structures on trust ---------------------------------------------------------------------------------------------


def break_checksums(image: Forge, offsets: tuple[int, ...]) -> None:
    for offset in offsets:
        image.write(offset + 4, b"\xff\xfe\xfd\xfc")


@pytest.mark.parametrize("start", [plain, child, dirty])
def test_headers_with_wrong_checksums_are_used_when_their_fields_are_sound(start: Start) -> None:
    case, files = hurt(start, lambda image: break_checksums(image, HEADERS))
    report = taken(case, files)
    assert not report.lost
    assert not without_log(report), "the log is replayed: its own checksums are right"
    assert [note.structure for note in report.notes if note.on_trust] == ["header"]


def test_region_tables_with_wrong_checksums_are_used_when_they_agree() -> None:
    case, files = hurt(child, lambda image: break_checksums(image, REGION_TABLES))
    report = taken(case, files)
    assert not report.lost
    assert not report.complete


def test_a_table_that_is_a_guess_has_to_fit() -> None:
    """One damaged copy is left, and it names the place of something else."""

    def damage(image: Forge) -> None:
        image.write(REGION_TABLES[1], bytes(65536))
        image.write(REGION_TABLES[0] + 16 + 16, struct.pack("<Q", 5 * MIB))

    _, files = hurt(plain, damage)
    with pytest.raises(Error, match="does not fit"):
        engine().salvage(files, PATH, files, TARGET)
    case, files = hurt(plain, lambda image: (image.write(REGION_TABLES[1], bytes(65536)), break_checksums(
        image, REGION_TABLES[:1])))
    assert not taken(case, files).lost


@pytest.mark.parametrize("damage", [
    lambda image: [image.write(offset, bytes(4096)) for offset in HEADERS],
    lambda image: image.write(MIB, bytes(MIB)),
], ids=["no headers", "no log"])
def test_a_log_that_is_missing_is_told_loudly(damage: Callable[[Forge], object]) -> None:
    _, files = hurt(dirty, damage)
    report = salvage(files, PATH)
    assert report is not None
    assert without_log(report)
    assert not report.complete


def test_vhd_footers_and_header_with_wrong_checksums() -> None:
    def damage(image: Forge) -> None:
        for offset in (24, image.size - 512 + 24, 512 + 36):
            image.write(offset, b"xxxx")

    case, files = hurt(vhd_chain, damage)
    report = taken(case, files)
    assert not report.lost
    assert [note.structure for note in report.notes if note.on_trust] == ["footer", "dynamic header"]


def test_a_vhd_without_its_footer_has_the_copy() -> None:
    case, files = hurt(vhd_chain, lambda image: image.truncate(image.size - 700))
    report = taken(case, files)
    assert report.complete
    assert [note.on_trust for note in report.notes] == [False]


def test_a_vhd_without_any_footer_has_to_be_called_one() -> None:
    def damage(image: Forge) -> None:
        image.write(0, bytes(512))
        image.truncate(image.size - 512)

    case, files = hurt(vhd_dynamic, damage)
    assert salvage(files, PATH) is None
    report = taken(case, files, source_format=ImageFormat.VHD)
    assert report.size == 5 * MIB
    assert not report.complete


@pytest.mark.parametrize(("cut", "size"), [(512, 5 * MIB), (300, 5 * MIB), (512 + 5000, 5 * MIB - 5120)])
def test_a_fixed_vhd_that_was_cut(cut: int, size: int) -> None:
    """The disk before the cut; whether it was longer nobody knows, and that is said."""
    case, files = hurt(vhd_fixed, lambda image: image.truncate(image.size - cut))
    assert salvage(files, PATH) is None
    report = taken(case, files, source_format=ImageFormat.VHD)
    assert report.size == size
    assert not report.complete


def test_a_parent_is_never_guessed_to_be_a_fixed_disk() -> None:
    """Else any file of the right name would do."""
    _, files = hurt(vhd_images.chained, lambda image: None)
    base = Forge(files, "base.vhd")
    base.truncate(base.size - 512)
    vhd_images.change_header(Forge(files), 40, bytes(16))
    with pytest.raises(ParentNotFound):
        engine().salvage(files, PATH, files, TARGET)


# --- parents ---------------------------------------------------------------------------------------------------------


def lose(files: MemoryFileSystem) -> None:
    files.remove("base.vhdx")


def change(files: MemoryFileSystem) -> None:
    base = forge.writer(files, "base.vhdx", start=900)
    base.zero(0, MIB)
    base.close()


def behead(files: MemoryFileSystem) -> None:
    for offset in HEADERS:
        Forge(files, "base.vhdx").write(offset, bytes(4096))


@pytest.mark.parametrize(
    ("damage", "error"), [(lose, ParentNotFound), (change, ParentMismatch), (behead, ParentNotFound)]
)
def test_without_its_parent_a_child_is_refused_unless_that_is_said(
    damage: Callable[[MemoryFileSystem], None], error: type[Error]
) -> None:
    case = good(child)
    files = case.files()
    damage(files)
    with pytest.raises(error):
        engine().salvage(files, PATH, files, TARGET)
    report = taken(case, files, without_parent=True)
    assert {lost.reason for lost in report.lost} == {"the data is in the missing parent"}
    # The child has the few sectors that were written to it, a block, and one of zeros.
    assert report.lost_bytes == 4 * MIB - 3072
    assert report.read == 2 * MIB + 3072


def test_without_the_parent_of_the_parent() -> None:
    case = good(grandchild)
    files = case.files()
    lose(files)
    report = engine().salvage(files, "leaf.vhdx", files, TARGET, without_parent=True)
    hold(files, report, case.content)
    assert (report.lost_bytes, report.read) == (4 * MIB - 3072, 2 * MIB + 3072)


def test_a_link_leads_to_no_parent_elsewhere(tmp_path: Path) -> None:
    """What may not be opened as a parent is not read by a salvage either."""
    out, home = tmp_path / "out", tmp_path / "home"
    out.mkdir()
    home.mkdir()
    there, here = LocalFileSystem(out), LocalFileSystem(home)
    engine().create(there, "base.vhdx", 4 * MIB, CreateOptions(block_size=MIB))
    with engine().open_chain(there, "base.vhdx", writable=1) as chain:
        chain.write(0, pattern(7, MIB))
    engine().create_child(there, PATH, "base.vhdx")
    (out / PATH).rename(home / PATH)
    (home / "base.vhdx").symlink_to("../out/base.vhdx")
    with pytest.raises(ParentNotFound):
        engine().salvage(here, PATH, here, TARGET)
    report = engine().salvage(here, PATH, here, TARGET, without_parent=True)
    assert (report.read, report.lost_bytes) == (0, 4 * MIB)


def test_damage_to_the_parent_is_lost_and_named() -> None:
    case = good(child)
    files = case.files()
    Forge(files, "base.vhdx").truncate(4 * MIB)
    report = taken(case, files)
    wanted = "in the parent base.vhdx: beyond end of file"
    assert {lost.reason for lost in report.lost} == {wanted}
    assert not report.complete


# --- the medium ------------------------------------------------------------------------------------------------------


def test_what_the_medium_cannot_read_is_lost_by_the_page() -> None:
    case = good(plain)
    inner = case.files()
    broken = [Range(5 * MIB + 4096, 4096), Range(6 * MIB + 100, 1)]
    failing = Failing(PATH, broken, OSError(errno.EIO, "a bad sector"))
    report = engine().salvage(FailingFileSystem(inner, failing), PATH, inner, TARGET)
    hold(inner, report, case.content)
    assert ranges(report) == [(MIB + 4096, 4096), (2 * MIB, 4096)]
    assert failing.asked.count(4096) <= 3 * len(broken), "each page is asked for a few times, not for ever"
    assert len(failing.asked) < 60


@pytest.mark.parametrize("offset", [HEADERS[0], REGION_TABLES[0], BAT])
def test_structures_that_the_medium_cannot_read(offset: int) -> None:
    case = good(plain)
    inner = case.files()
    failing = Failing(PATH, [Range(offset, 512)], OSError(errno.EIO, "a bad sector"))
    report = engine().salvage(FailingFileSystem(inner, failing), PATH, inner, TARGET)
    hold(inner, report, case.content)
    assert bool(report.lost) == (offset == BAT)


@pytest.mark.parametrize(
    "error", [ConnectionError(errno.ECONNRESET, "the server is gone"), TimeoutError(errno.ETIMEDOUT, "no answer")]
)
def test_a_lost_connection_is_no_lost_range(error: OSError) -> None:
    inner = good(plain).files()
    failing = Failing(PATH, [Range(5 * MIB, 512)], error)
    with pytest.raises(type(error)):
        engine().salvage(FailingFileSystem(inner, failing), PATH, inner, TARGET)
    assert inner.paths() == [PATH]


def test_a_raw_disk_with_bad_sectors() -> None:
    files = MemoryFileSystem()
    storage = files.create(PATH)
    storage.write([(0, pattern(5, MIB + 100))])
    storage.close()
    failing = Failing(PATH, [Range(8192, 10)], OSError(errno.EIO, "a bad sector"))
    report = engine().salvage(FailingFileSystem(files, failing), PATH, files, TARGET, source_format=ImageFormat.RAW)
    hold(files, report, pattern(5, MIB + 100).ljust(MIB + 512, b"\0"))
    assert ranges(report) == [(8192, 4096)]


# --- the target ------------------------------------------------------------------------------------------------------


def test_an_existing_file_is_not_replaced_unless_that_is_said() -> None:
    files = good(plain).files()
    forge.create(files, MIB, TARGET)
    before = files.snapshot()[TARGET].fingerprint()
    with pytest.raises(FileExistsError):
        engine().salvage(files, PATH, files, TARGET)
    assert files.snapshot()[TARGET].fingerprint() == before
    assert engine().salvage(files, PATH, files, TARGET, replace=True).complete


@pytest.mark.parametrize("target", ["disk.vhdx", "base.vhdx"])
def test_a_layer_of_the_source_is_never_replaced(target: str) -> None:
    files = good(child).files()
    with pytest.raises(Error, match="is a layer of the disk"):
        engine().salvage(files, PATH, files, target, replace=True)


def test_a_file_with_children_is_never_replaced() -> None:
    files = good(child).files()
    forge.create(files, MIB, "other.vhdx")
    with pytest.raises(HasChildren):
        engine().salvage(files, "other.vhdx", files, "base.vhdx", replace=True)


def test_a_guest_may_write_what_it_likes_at_the_start_of_a_fixed_disk() -> None:
    """A footer there, or the mark of one that is being changed, is the guest's."""
    case = good(vhd_fixed)
    for mark in (b"v_poison", good(vhd_dynamic).files().snapshot()[PATH].read(0, 512)):
        files = case.files()
        Forge(files).write(0, mark)
        report = salvage(files, PATH)
        assert report is not None
        assert report.complete
        assert read(files, TARGET) == mark + case.content[len(mark) :]


def test_a_long_way_without_payload_can_be_stopped() -> None:
    files = MemoryFileSystem()
    crowd_vhdx(files)
    told: list[int] = []
    engine().salvage(files, PATH, files, TARGET, on_progress=lambda done, size: told.append(done))
    assert told[0] < told[-1] == 32 << 30


def test_stopped_nothing_is_left() -> None:
    files = good(plain).files()

    def stop(done: int, size: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        engine().salvage(files, PATH, files, TARGET, on_progress=stop)
    assert files.paths() == [PATH]


@pytest.mark.parametrize("options", [
    CreateOptions(fixed=True), CreateOptions(format=ImageFormat.VHD), CreateOptions(format=ImageFormat.RAW),
    CreateOptions(format=ImageFormat.VHD, azure=True),
], ids=lambda options: f"{options.format} fixed={options.fixed or options.azure}")
def test_into_every_kind(options: CreateOptions) -> None:
    case, files = hurt(plain, lambda image: image.truncate(6 * MIB))
    engine().salvage(files, PATH, files, TARGET, options=options)
    with engine().open_chain(files, TARGET, format=options.format) as chain:
        made = chain.read(0, chain.size)
    kept = case.content[: 2 * MIB] + bytes(MIB) + case.content[3 * MIB :]
    assert made == kept.ljust(len(made), b"\0"), "Azure takes 20 MiB at least"


# --- bounds ----------------------------------------------------------------------------------------------------------


def crowd_vhdx(files: MemoryFileSystem) -> None:
    """Every block of a disk of 32 GiB on one place."""
    image = forge.create(files, 32 << 30)
    image.truncate(8 * MIB)
    image.write(image.bat, struct.pack("<Q", 6 * MIB | 6) * (32 << 10))


def crowd_vhd(files: MemoryFileSystem) -> None:
    options = CreateOptions(format=ImageFormat.VHD, block_size=MIB)
    engine().create(files, PATH, 32 << 30, options)
    image = Forge(files)
    image.write(1536, struct.pack(">I", 2048) * (32 << 10))
    image.truncate(4 * MIB)


@pytest.mark.parametrize("crowd", [crowd_vhdx, crowd_vhd])
def test_blocks_on_one_place_do_not_multiply_the_work(crowd: Callable[[MemoryFileSystem], None]) -> None:
    files = MemoryFileSystem()
    crowd(files)
    watched: FileSystem = WatchedFileSystem(files, Budget.of(files))
    report = engine().salvage(watched, PATH, files, TARGET)
    assert not report.read
    assert report.lost_bytes >= (32 << 30) - 100 * MIB
    assert len(report.lost) < 10


def test_the_list_of_lost_ranges_is_bounded_and_says_so() -> None:
    ledger = Ledger()
    count = (1 << 17) + 5
    for number in range(count):
        ledger.lose(number * 1024, 512, "gone")
    report = ledger.report(count * 1024)
    assert (len(report.lost), report.unlisted, report.lost_bytes) == (1 << 17, 5, count * 512)


def test_ranges_that_continue_each_other_are_one() -> None:
    ledger = Ledger()
    for offset in (1024, 512, 0, 2048):
        ledger.lose(offset, 512, "gone")
    ledger.lose(1536, 512, "other")
    assert [tuple(lost) for lost in ledger.report(4096).lost] == [
        (0, 1536, "gone"), (1536, 512, "other"), (2048, 512, "gone"),
    ]
